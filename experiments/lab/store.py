"""One JSON file per cell, written whole or not at all; a finished cell is a file that exists."""

import json
import math
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..files import write_atomically

FAILED = "failed"  # the one status that --retry runs again


def _null(value: Any) -> Any:
    """JSON knows no NaN: numbers that are not finite become null."""
    if isinstance(value, dict):
        return {k: _null(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_null(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def diverged(row: dict[str, Any]) -> list[str]:
    """Names the numbers that are not finite and should be.

    A metric that is NaN at every stage is not defined on these data (no negatives, an empty
    request); one that is finite for another model of the same cell has diverged.
    """
    bad = [
        f"{stage} {name}"
        for stage, info in row["info"].items()
        for name, value in info.items()
        if isinstance(value, float) and not math.isfinite(value)
    ]
    defined = {tuple(rest) for _, *rest, value in row["metrics"] if not math.isnan(value)}
    for stage, *rest, value in row["metrics"]:
        if not math.isfinite(value) and tuple(rest) in defined:
            bad.append(" ".join([stage, *(str(word) for word in rest if word is not None)]))
    return bad


def write(cells: Path, row: dict[str, Any]) -> dict[str, Any]:
    """Stores one cell; a number that should be finite and is not makes it ``diverged``."""
    bad = diverged(row)
    if bad and row["status"] == "ok":
        row = row | {"status": "diverged", "reason": f"not finite: {', '.join(bad)}"}
    text = json.dumps(_null(row), allow_nan=False, indent=1, sort_keys=True) + "\n"
    write_atomically(cells / f"{row['id']}.json", text.encode())
    return row


def read(cells: Path, identity: str) -> dict[str, Any] | None:
    """One stored cell, or None."""
    path = cells / f"{identity}.json"
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise Refused(f"{path} is not JSON; delete it and run again") from None


def stored(cells: Path, identities: list[str]) -> dict[str, dict[str, Any]]:
    """Those of the wanted cells that exist."""
    rows = {identity: read(cells, identity) for identity in identities}
    return {identity: row for identity, row in rows.items() if row is not None}
