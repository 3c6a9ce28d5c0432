"""Gathers the cells of a config into three tables; the same cells give the same bytes.

cells.csv and metrics.csv hold what the config decides; timings.csv holds whatever depends on
the machine or the moment. All cells of the folder are checked first: that each is whole, in its
place, of this version, and that those of one data set were computed on the same data.

Exit code: 0 all cells of the config were collected, 1 some have no result yet, 2 refused.
"""

import sys
from collections import Counter
from pathlib import Path

from .. import files
from ..errors import Refused
from ..lab import store, tables
from . import _selection

LAST = "metrics.csv"


def main(argv: list[str]) -> int:
    arguments = _selection.parser("collect", __doc__, select=False).parse_intermixed_args(argv)
    config, cells = _selection.load(arguments)
    folder = files.folder(arguments.results, config.name)
    there = store.everything(folder / "cells")
    rows = {cell.id: there[cell.id] for cell in cells if cell.id in there}
    if not rows:
        raise Refused(f"{config.name}: no cells to collect; first: run {arguments.config}")
    _write(folder, tables.tables(cells, rows))
    print(f"{folder}: {len(rows)} of {len(cells)} cells collected")
    states = Counter(row["status"] for row in rows.values())
    if without := [f"{n} {state}" for state, n in sorted(states.items()) if state != "ok"]:
        print(f"without numbers: {', '.join(without)}")
    commits = {str(row["provenance"].get("git_sha"))[:12] for row in rows.values()}
    if len(commits) > 1:
        print(f"of {len(commits)} commits: {', '.join(sorted(commits))}")
    if other := len(there) - len(rows):
        print(f"{other} cells of other settings left out")
    if missing := len(cells) - len(rows):
        print(f"{missing} cells have no result yet; run {arguments.config}", file=sys.stderr)
        return 1
    return 0


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    """Writes the tables, that of the metrics last; a folder without it is refused by every reader.

    A kill on the way so leaves no new table beside an old one.
    """
    (folder / LAST).unlink(missing_ok=True)
    for name in sorted(contents, key=lambda name: name == LAST):
        files.write_atomically(folder / name, contents[name])
