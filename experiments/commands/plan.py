"""Shows the grid of a config and which of its cells exist; computes nothing."""

from collections import Counter

from .. import files
from ..config import grid
from ..lab import store
from . import _selection


def main(argv: list[str]) -> int:
    parser = _selection.parser("plan", __doc__, select=True)
    arguments = parser.parse_intermixed_args(argv)
    config, cells = _selection.load(arguments)
    folder = files.folder(arguments.results, config.name) / "cells"
    rows = store.stored(folder, [cell.id for cell in cells])
    states = [rows[cell.id]["status"] if cell.id in rows else "to run" for cell in cells]
    for cell, state in zip(cells, states, strict=True):
        print(f"{cell.id}  {state:<8}  {cell.axes['data']} {grid.label(cell)}")
    fits = len({cell.key("data", "split", "model", "seed") for cell in cells})
    counts = ", ".join(f"{n} {state}" for state, n in sorted(Counter(states).items()))
    print(f"{len(cells)} cells ({counts or 'none'}) on {fits} trained models")
    return 0
