"""Whether the three tables that ``collect`` writes are whole and of one collection.

A table may be cut short by a full disk, be of another commit than its neighbours, or hold what was
appended twice: numbers of such a folder are those of other cells, or of none.
"""

import csv
import io
from collections import Counter, defaultdict
from pathlib import Path

from .errors import PROGRAM, Refused

Table = list[dict[str, str]]

KEYS = {
    "cells": ["cell"],
    "metrics": ["cell", "stage", "split", "metric", "k"],
    "timings": ["cell"],
}
STAGES = ("before", "after", "reference")
OF_SOME = ("distance", "overlap", "loss")  # metrics that not every stage has
WAY_OUT = f"take all three of one commit, or make them anew: {PROGRAM} collect"


def read(path: Path, needed: list[str]) -> tuple[Table, list[str]]:
    """The rows of a table as texts, and its columns.

    Raises:
      Refused: it is not there, has other columns or ragged rows, or ends within a line.
    """
    try:
        text = path.read_text()
        head, *body = list(csv.reader(io.StringIO(text))) or [[]]
    except FileNotFoundError as fault:
        raise Refused(f"{path}: no such table: nothing to restore") from fault
    except (ValueError, csv.Error):  # no text, or no fields
        text, head, body = "", [], []
    if set(needed) <= set(head) and not text.endswith("\n"):
        raise Refused(f"{path}: ends within a line: it was cut; {WAY_OUT}")
    if not set(needed) <= set(head) or any(len(row) != len(head) for row in body):
        raise Refused(f"{path}: is not a table that collect writes")
    return [dict(zip(head, row, strict=True)) for row in body], head


def refuse_torn(folder: Path, cells: Table, metrics: Table, timings: Table) -> None:
    """Refuses tables that are not those of one collection, each row once.

    Of a finished cell all stages are measured, after the request as the reference is.

    Raises:
      Refused: rows are there twice, or are missing, or are of cells that another table lacks.
    """
    for (name, columns), table in zip(KEYS.items(), (cells, metrics, timings), strict=True):
        rows = Counter(tuple(row[column] for column in columns) for row in table)
        if twice := next((key for key, n in rows.items() if n > 1), None):
            words = " ".join(filter(None, twice))
            raise Refused(f"{folder}/{name}.csv: has the row of {words} twice; {WAY_OUT}")
    named = {row["cell"] for row in cells}
    if named != {row["cell"] for row in timings}:
        raise Refused(f"{folder}: its tables are not of the same cells; {WAY_OUT}")
    found: dict[str, dict[str, set]] = defaultdict(lambda: defaultdict(set))
    for row in metrics:
        if row["cell"] not in named:
            raise Refused(
                f"{folder}/metrics.csv: cell {row['cell']} is in no other table; {WAY_OUT}"
            )
        if row["metric"] not in OF_SOME:
            found[row["cell"]][row["stage"]].add((row["split"], row["metric"], row["k"]))
    for row in cells:
        stages = found[row["cell"]]
        whole = all(stages[name] for name in STAGES) and stages["after"] == stages["reference"]
        if row["status"] == "ok" and not whole:
            raise Refused(
                f"{folder}/metrics.csv: lacks numbers of cell {row['cell']}, which is finished; "
                f"{WAY_OUT}"
            )


def refuse(folder: Path) -> None:
    """Refuses a folder whose tables are cut, doubled or not of one collection."""
    refuse_torn(folder, *(read(folder / f"{name}.csv", KEYS[name])[0] for name in KEYS))
