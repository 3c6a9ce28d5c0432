"""The three tables of an experiment, from its stored cells: the same cells give the same bytes.

cells.csv and metrics.csv hold what the config decides; timings.csv holds whatever depends on
the machine or the moment. ``further`` says that a cell ends further from the reference than it
began; it is empty where a cell has no distances.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import files, frames
from ..config import grid
from ..config.grid import Cell
from ..errors import Refused
from . import soundness, store

AXES = ("data", "model", "method", "kind", "ratio", "count", "seed")
METRICS = ("cell", "stage", "split", "metric", "k", "value")


def text(value: Any) -> str:
    """One field: %.9g keeps every float32; quotes only where a comma or quote asks for them."""
    if value is None:
        return ""
    field = f"{value:.9g}" if isinstance(value, float) else " ".join(str(value).split())
    return '"' + field.replace('"', '""') + '"' if "," in field or '"' in field else field


def csv(columns: list[str], rows: list[list[Any]]) -> bytes:
    """A table with one spelling."""
    lines = [columns, *rows]
    return "".join(",".join(map(text, line)) + "\n" for line in lines).encode()


def there(path: Path, columns: list[str]) -> list[dict[str, Any]]:
    """The rows of a table that an earlier run wrote; none where there is no such file."""
    if not path.is_file():
        return []
    table = _exactly(path, columns)
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _exactly(path: Path, columns: list[str], **how: Any) -> pd.DataFrame:
    """A table of these columns and no others."""
    table = frames.read(path, **how)
    if list(table) != columns:
        raise Refused(f"{path}: has other columns: move it away")
    return table


def add(
    path: Path,
    columns: list[str],
    key: Sequence[str],
    rows: Sequence[dict[str, Any]],
    check: Callable[[list[dict[str, str]]], None] = lambda rows: None,
) -> None:
    """Puts rows into such a table, in the place of all those of the same ``key``.

    The table is read again and replaced while no other process does so: what others have added
    since stays, if ``check`` refuses none of it, and every row that is not replaced stays as it is
    spelled.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(path.parent):
        held: dict[tuple, list[dict[str, Any]]] = {}
        check(there_now := spelled(path, columns))
        for row in there_now:
            held.setdefault(keyed(row, key), []).append(row)
        held |= {keyed(row, key): [] for row in rows}
        for row in rows:
            held[keyed(row, key)].append(row)
        lines = [[row.get(name) for name in columns] for some in held.values() for row in some]
        files.write_atomically(path, csv(columns, lines))


def spelled(path: Path, columns: list[str]) -> list[dict[str, str]]:
    """The rows of such a table as their texts."""
    if not path.is_file():
        return []
    return _exactly(path, columns, dtype=str, keep_default_na=False).to_dict("records")


def keyed(row: dict[str, Any], key: Sequence[str]) -> tuple:
    """What tells a row apart, by one spelling."""
    return tuple(text(row[name]) for name in key)


def _order(cell: Cell, swept: list[str]) -> list[tuple]:
    """Sorts axes of mixed kinds: absent first, numbers by size, words by letter."""
    values = [cell.axes.get(name) for name in (*AXES, *swept)]
    return [
        (value is not None, isinstance(value, str), value if value is not None else 0)
        for value in values
    ]


def tables(cells: list[Cell], rows: dict[str, dict[str, Any]]) -> dict[str, bytes]:
    """The three tables of the cells that exist."""
    swept = grid.swept(cells)
    cells = sorted((c for c in cells if c.id in rows), key=lambda c: _order(c, swept))
    stored = [rows[cell.id] for cell in cells]
    info = sorted({(s, n) for row in stored for s, info in row["info"].items() for n in info})
    facts = sorted({name for row in stored for name in row["provenance"]})
    times = sorted({name for row in stored for name in row["timings"]})

    ours = [
        [cell.id, *(cell.axes.get(name) for name in (*AXES, *swept)), row["status"], row["reason"]]
        + [soundness.further(row), (row.get("data_hash") or "")[: store.DIGITS]]
        + [row["info"].get(stage, {}).get(name) for stage, name in info]
        for cell, row in zip(cells, stored, strict=True)
    ]
    long = [[row["id"], *line] for row in stored for line in row["metrics"]]
    moment = [
        [row["id"], *(row["timings"].get(n) for n in times)]
        + [row["provenance"].get(n) for n in facts]
        for row in stored
    ]
    head = ["cell", *AXES, *swept, "status", "reason", "further", "data_hash"]
    return {
        "cells.csv": csv([*head, *(f"{stage}.{name}" for stage, name in info)], ours),
        "metrics.csv": csv(list(METRICS), long),
        "timings.csv": csv(["cell", *times, *facts], moment),
    }
