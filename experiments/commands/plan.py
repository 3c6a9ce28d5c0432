"""Shows the grid of a config and which of its cells exist; computes nothing.

With --memory it reads the data and compiles the programs of the cells to run, and says what they
will take of the device's memory; `run` then finds them compiled.
"""

import sys
from collections import Counter

from .. import files
from ..config import grid
from ..config.grid import Cell
from ..config.reading import Config
from ..errors import Refused
from ..lab import setup, store
from . import _selection

MIB = 2**20


def _memory(config: Config, cells: list[Cell], device: str | None, root: str | None) -> None:
    """Prints what the programs of every model and method take on each data set."""
    lab = setup.laboratory(config.experiment, device, root)
    import jax

    from ..lab import memory
    from ..lab.programs import Skipped

    here = jax.devices()[0]
    alike = {cell.key("data", "split", "model", "reference", "method"): cell for cell in cells}
    print(f"MiB of {here.device_kind} that the largest program of a stage takes:")
    print("  ".join(f"{stage:>10}" for stage in memory.STAGES))
    most = 0
    for cell in alike.values():
        name = f"{cell.axes['data']} {grid.label(cell)}"
        try:
            needed = memory.of_cell(lab, cell)
        except (Skipped, Refused) as error:
            print(f"{name}: {error}")
            continue
        most = max(most, *needed.values())
        print("  ".join(f"{needed[stage] / MIB:10.1f}" for stage in memory.STAGES), f" {name}")
    free = memory.free_memory(here)
    free = memory.host_memory() if free is None else free
    print(f"at most {most / MIB:.0f} MiB; free: {free / MIB:.0f} MiB")
    if most > free:
        print("the largest program does not fit", file=sys.stderr)


def main(argv: list[str]) -> int:
    parser = _selection.parser("plan", __doc__, select=True)
    parser.add_argument("--memory", action="store_true", help="say what the cells to run will take")
    _selection.add_laboratory(parser)
    arguments = parser.parse_intermixed_args(argv)
    arguments.allow_code |= not arguments.memory  # only then any code of a config is imported
    config, cells = _selection.load(arguments)
    folder = files.folder(arguments.results, config.name) / "cells"
    rows = store.stored(folder, [cell.id for cell in cells])
    states = [rows[cell.id]["status"] if cell.id in rows else "to run" for cell in cells]
    for cell, state in zip(cells, states, strict=True):
        print(f"{cell.id}  {state:<8}  {cell.axes['data']} {grid.label(cell)}")
    fits = len({cell.key("data", "split", "model", "seed") for cell in cells})
    counts = ", ".join(f"{n} {state}" for state, n in sorted(Counter(states).items()))
    print(f"{len(cells)} cells ({counts or 'none'}) on {fits} trained models")
    todo = [cell for cell in cells if cell.id not in rows]
    if arguments.memory and todo:
        _memory(config, todo, arguments.device, arguments.root)
    return 0
