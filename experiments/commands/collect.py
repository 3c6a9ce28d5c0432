"""Gathers the cells of a config into three tables; the same cells give the same bytes.

cells.csv and metrics.csv hold what the config decides; timings.csv holds whatever depends on
the machine or the moment.
"""

import sys

from .. import files
from ..errors import Refused
from ..lab import store, tables
from . import _selection


def main(argv: list[str]) -> int:
    arguments = _selection.parser("collect", __doc__, select=False).parse_intermixed_args(argv)
    config, cells = _selection.load(arguments)
    folder = files.folder(arguments.results, config.name)
    rows = store.stored(folder / "cells", [cell.id for cell in cells])
    if not rows:
        raise Refused(f"{config.name}: no cells to collect; first: run {arguments.config}")
    for name, content in tables.tables(cells, rows).items():
        files.write_atomically(folder / name, content)
    print(f"{folder}: {len(rows)} of {len(cells)} cells collected")
    if len(rows) < len(cells):
        missing = len(cells) - len(rows)
        print(f"{missing} cells have no result yet; run {arguments.config}", file=sys.stderr)
    return 0
