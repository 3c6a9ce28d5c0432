"""Cells from the tables that were collected of them: what ``tables.tables`` does, back again.

Numbers are as the tables spell them, to nine digits, which is all of a float32. Collecting the
cells again gives the same bytes.
"""

import math
from pathlib import Path
from typing import Any

from .. import whole
from ..config.grid import Cell
from . import tables


def rows(folder: Path, wanted: list[Cell]) -> dict[str, dict[str, Any]]:
    """The stored form of those of the wanted cells that the tables of a folder hold.

    Raises:
      Refused: a table is missing or cut, is no such table, or is not of one collection with others.
    """
    needed = ["cell", "status", "reason", "data_hash"]
    cells, columns = whole.read(folder / "cells.csv", needed)
    metrics, _ = whole.read(folder / "metrics.csv", list(tables.METRICS))
    moments, _ = whole.read(folder / "timings.csv", ["cell"])
    whole.refuse_torn(folder, cells, metrics, moments)
    info = columns[columns.index(needed[-1]) + 1 :]
    lines: dict[str, list[list[Any]]] = {row["cell"]: [] for row in cells}
    for row in metrics:
        where = [row["stage"], row["split"], row["metric"]]
        lines[row["cell"]].append([*where, _value(row["k"]), _value(row["value"])])
    specs, when = {cell.id: cell.spec for cell in wanted}, {row["cell"]: row for row in moments}
    return {
        row["cell"]: _row(row, info, lines[row["cell"]], when[row["cell"]])
        | {"spec": specs[row["cell"]]}
        for row in cells
        if row["cell"] in specs
    }


def _row(
    ours: dict[str, str], info: list[str], metrics: list[list[Any]], moment: dict[str, str]
) -> dict[str, Any]:
    """One cell, but for its spec."""
    told: dict[str, dict[str, Any]] = {}
    for name in info:
        stage, _, what = name.partition(".")
        if ours[name]:
            told.setdefault(stage, {})[what] = _value(ours[name])
    names = list(moment)[1:]
    # seconds and memory stand first, then the facts of the machine, each by the alphabet
    first = next((n for n in range(1, len(names)) if names[n] < names[n - 1]), 0)
    values = {name: _value(moment[name]) for name in names}
    return {
        "id": ours["cell"],
        "status": ours["status"],
        "reason": ours["reason"] or None,
        "traceback": None,
        "info": told,
        "metrics": metrics,
        "timings": {name: values[name] for name in names[:first]},
        "provenance": {name: values[name] for name in names[first:]},
        "data_hash": ours["data_hash"] or None,
    }


def _value(text: str) -> Any:
    """A field as it was, if that is written the same again; else its text."""
    if text in ("", "True", "False"):
        return text == "True" if text else None
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if math.isfinite(number) and tables.text(number) == text:
            return number
    return text
