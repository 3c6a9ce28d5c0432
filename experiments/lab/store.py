"""One JSON file per cell, written whole or not at all; a finished cell is a file that exists.

A file says what it is: its id, the spec that the id is a hash of, the version and the format that
wrote it, the hashes of its data, and a checksum of all that. Nothing is read that does not fit.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config import grid
from ..config.grid import Cell
from ..errors import PROGRAM, Refused
from ..files import write_atomically
from . import provenance, soundness

FAILED = "failed"  # the one status that --retry runs again
FORMAT = 2  # of these files; 1 had no checksum
DIGITS = 16  # of a hash of data that tables show, and cells made from them know
FIELDS = {"id", "spec", "status", "reason", "info", "metrics", "timings", "provenance"}
FIELDS |= {"format", "version", "checksum"}


def _null(value: Any) -> Any:
    """JSON knows no NaN: numbers that are not finite become null."""
    if isinstance(value, dict):
        return {k: _null(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_null(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def checksum(row: dict[str, Any]) -> str:
    """sha256 of everything a file holds but the checksum itself."""
    content = {name: value for name, value in row.items() if name != "checksum"}
    return hashlib.sha256(grid.canonical(content).encode()).hexdigest()


def version() -> str:
    """Of this package; a checkout that was never installed has none."""
    return provenance.version("jaxforget") or "unknown"


def write(cells: Path, row: dict[str, Any]) -> dict[str, Any]:
    """Stores one cell, without numbers if it diverged; returns what was stored."""
    return keep(cells, _null(soundness.judged(row)))


def keep(cells: Path, row: dict[str, Any]) -> dict[str, Any]:
    """Stores one cell that was judged before; returns what was stored."""
    row = row | {"format": FORMAT, "version": version()}
    row["checksum"] = checksum(row)
    text = json.dumps(row, allow_nan=False, indent=1, sort_keys=True) + "\n"
    write_atomically(cells / f"{row['id']}.json", text.encode())
    return row


def _fault(row: Any, name: str) -> str | None:
    """Why the content of a file is not the cell of that name; None where it is."""
    if not isinstance(row, dict):
        return "is no cell"
    if row.get("format", 1) != FORMAT:
        return f"has format {str(row.get('format', 1))[:20]}, not {FORMAT}"
    if not FIELDS <= row.keys():
        return f"lacks {', '.join(sorted(FIELDS - row.keys()))}"
    if row["checksum"] != checksum(row):
        return "was changed after it was written: its checksum does not fit"
    if row["id"] != name:
        return f"holds the cell {row['id']}: it was copied or renamed"
    if row["spec"].get("schema") != grid.SCHEMA or grid.identity(row["spec"]) != name:
        return "is of another schema: its id is not the hash of its spec"
    if row["version"] != version():
        return f"was computed by jaxforget {row['version']}, and this is {version()}"
    return None


def read(cells: Path, identity: str) -> dict[str, Any] | None:
    """One stored cell, or None.

    Raises:
      Refused: the file is no whole cell of this name, version and format.
    """
    path, row = cells / f"{identity}.json", {}
    try:
        row = json.loads(path.read_bytes())
        fault = _fault(row, identity)
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        fault = "is a folder"
    except (ValueError, RecursionError):
        fault = "is not JSON"
    if fault:
        raise Refused(f"{path} {fault}; delete it and run again, or run with --force")
    return row


def stored(cells: Path, identities: list[str]) -> dict[str, dict[str, Any]]:
    """Those of the wanted cells that exist."""
    rows = {identity: read(cells, identity) for identity in identities}
    return {identity: row for identity, row in rows.items() if row is not None}


def everything(cells: Path) -> dict[str, dict[str, Any]]:
    """All cells of a folder, of whatever settings, each checked; that all are of the same data.

    Raises:
      Refused: a file is no whole cell, or cells of one data set or split are of different data.
    """
    try:
        names = sorted(os.listdir(cells))
    except FileNotFoundError:
        return {}
    files = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    rows = stored(cells, files)
    refuse_mixed(cells, rows)
    return rows


def refuse_mixed(cells: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Refuses cells of one data set or split that are of different data.

    Args:
      cells: where they lie, for the error.
      rows: all that stand side by side.
    """
    seen: dict[tuple, tuple[str, str]] = {}
    for identity, row in rows.items():
        for name, parts in (("table_hash", ["data"]), ("data_hash", ["data", "split", "dtype"])):
            if row.get(name) is None:  # it failed before it had data
                continue
            key = name, grid.canonical({part: row["spec"][part] for part in parts})
            found = row[name][:DIGITS]
            other, was = seen.setdefault(key, (identity, found))
            if was != found:
                raise Refused(
                    f"{cells}: cells {other} and {identity} are of different data (sha256 "
                    f"{was[:12]} and {found[:12]}); {WAY_OUT}"
                )


WAY_OUT = (
    f"restore the data and delete the cells of others, or compute all again: {PROGRAM} run --force"
)


def refuse_other_data(
    rows: dict[str, dict[str, Any]],
    cell: Cell,
    table: str,
    split_hash: Callable[[Cell], str | None],
) -> None:
    """Refuses to put results on other data beside those already stored.

    Args:
      rows: the cells that stay.
      cell: one that is to be computed.
      table: the hash of its data now.
      split_hash: the hash of the split of a cell now, if it can be made. It is asked of the first
        cell that was made from tables: these know the hash of their split alone.
    """
    asked = False
    for identity, row in rows.items():
        if row["spec"]["data"] != cell.spec["data"]:
            continue
        if row.get("table_hash") is not None:
            was, now = row["table_hash"], table
        elif row.get("data_hash") is not None and not asked:
            asked, was = True, row["data_hash"]
            now = (split_hash(Cell(identity, {}, row["spec"])) or was)[:DIGITS]
        else:  # it failed before it had data, or is like the one that was asked
            continue
        if was != now:
            raise Refused(
                f"data {cell.spec['data']['use']}: cell {identity} was computed on other data "
                f"(sha256 {was[:12]}, now {now[:12]}); {WAY_OUT}"
            )
