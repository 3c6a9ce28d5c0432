"""Computes the cells of a config that have no result yet, one file each.

Stop it at any moment, in any way, and run it again: finished cells are not repeated.

An error of one cell is stored as its status `failed`, and the run goes on. A cell whose factors,
measures or losses are not finite, or whose scores are absurd, has the status `diverged` and no
number. Exit code: 0 all cells have numbers (or were skipped), 1 some failed or diverged, 2 what
was given cannot be used, and nothing was computed.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .. import files
from ..config import grid
from ..config.grid import Cell
from ..config.reading import Config
from ..errors import PROGRAM, Refused
from ..lab import cells as together
from ..lab import provenance, setup, soundness, store
from ..lab.progress import Progress, short
from ..lab.setup import Laboratory
from . import _selection


def _ready(lab: Laboratory, todo: list[Cell], kept: dict[str, dict[str, Any]]) -> None:
    """Makes every data set, model, method and amount once, before the first cell is written.

    What the user gave and cannot be used is refused here. Any other error is one of the cell that
    meets it, where it is met again.
    """
    from ..lab.programs import reference_spec

    def split_hash(cell: Cell) -> str | None:
        prepared = _made(lab.materials.prepared, cell)
        return prepared and prepared.hash

    for cell in {c.key("data"): c for c in reversed(todo)}.values():
        if prepared := _made(lab.materials.prepared, cell):
            store.refuse_other_data(kept, cell, prepared.table, split_hash)
    for cell in {c.key("model", "reference"): c for c in todo}.values():
        _made(lab.programs.model, cell.spec["model"])
        _made(lab.programs.model, reference_spec(cell))
    for cell in {c.key("model", "method"): c for c in todo}.values():
        _made(lab.programs.method, cell)
    axes = ("kind", "ratio", "count")
    amounts = {(c.key("data"), *(c.axes[a] for a in axes)): c for c in reversed(todo)}
    for cell in amounts.values():  # a count that is too large, a pair that is not there
        _made(lab.materials.request, cell)


def _made(make: Callable, part: Any) -> Any:
    """What a cell needs; None where making it fails in a way that is the cell's own to tell."""
    try:
        return make(part)
    except Refused:
        raise
    except Exception:
        return None


def _place(folder: Path, todo: list[Cell]) -> None:
    """Makes sure that every result can be written, before the first one is computed."""
    try:
        files.writable(folder)
    except OSError as error:
        why = files.reason(error)
        raise Refused(f"{folder}: results cannot be written: {why}; see --results") from error
    for cell in todo:
        if (folder / f"{cell.id}.json").is_dir():
            raise Refused(f"{folder / cell.id}.json is a folder; move it away")
    for path in (folder, folder.parent):
        files.clean(path)


def _groups(lab: Laboratory, todo: list[Cell]) -> Iterator[list[Cell]]:
    """The cells that are computed together: of one data set and model but for traced numbers.

    Of one split, or of splits that differ in their seed and are of the same sizes.
    """
    if lab.batches is None:
        yield from ([cell] for cell in todo)
        return
    from ..lab import memory

    alike: dict[tuple, dict[str, list[Cell]]] = {}
    for cell in todo:
        recipe = _made(lab.programs.recipe, cell.spec["model"])
        how = {name: value for name, value in cell.spec["split"].items() if name != "seed"}
        data = (cell.key("data", "dtype"), grid.canonical(how), recipe)
        alike.setdefault(data, {}).setdefault(cell.key("split"), []).append(cell)
    for splits in alike.values():
        groups = list(splits.values())
        every = [cell for group in groups for cell in group]
        lab.batches.own_data = bool(_made(lab.materials.align, every))
        for group in [every] if lab.batches.own_data else groups:
            prepared = _made(lab.materials.prepared, group[0])
            most = lab.batches.most if prepared else 1
            if most is None:
                states = memory.of_states(lab, group)
                most = lab.batches.cells_at_once(prepared.split.train, states)
            yield from (group[first : first + most] for first in range(0, len(group), most))


def run(config: Config, cells: list[Cell], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Computes what is missing; returns what is stored of all cells, in their order."""
    setup.check_batch(config.experiment, arguments.batch, arguments.devices)
    folder = files.folder(arguments.results, config.name) / "cells"
    kept = {} if arguments.force else store.everything(folder)
    again = (store.FAILED,) if arguments.retry else ()
    todo = [c for c in cells if c.id not in kept or kept[c.id]["status"] in again]
    if not arguments.quiet:
        print(f"{len(cells)} cells, {len(cells) - len(todo)} already there", flush=True)
    rows = {cell.id: kept[cell.id] for cell in cells if cell.id in kept}
    if not todo:
        return list(rows.values())

    lab = setup.laboratory(
        config.experiment, arguments.device, arguments.root, arguments.batch, arguments.devices
    )
    for cell in todo:
        kept.pop(cell.id, None)
    _ready(lab, todo, kept)
    _place(folder, todo)
    choices = {"config_sha256": config.sha256, "repeats": config.experiment.repeats}
    facts = provenance.lasting() | choices
    progress = Progress(len(todo), arguments.quiet)
    try:
        for group in _groups(lab, todo):
            for cell, row in zip(group, together.rows(lab, group, facts), strict=True):
                rows[cell.id] = store.write(folder, row)
                progress.tell(cell, rows[cell.id])
    finally:
        progress.close()
    return [rows[cell.id] for cell in cells]


def _without_numbers(cells: list[Cell], rows: list[dict[str, Any]]) -> int:
    """Lists the cells that failed and those that diverged; returns how many there are."""
    axes, found = {cell.id: cell for cell in cells}, 0
    for status in (store.FAILED, soundness.DIVERGED):
        bad = [row for row in rows if row["status"] == status]
        if not bad:
            continue
        found += len(bad)
        print(f"{len(bad)} cells {status}:", file=sys.stderr)
        for row in bad:
            print(f"  cell={row['id']}  {grid.label(axes[row['id']])}", file=sys.stderr)
            print(f"    {short(row['reason'])}", file=sys.stderr)
    return found


def main(argv: list[str]) -> int:
    parser = _selection.parser("run", __doc__, select=True)
    parser.add_argument("--retry", action="store_true", help="run failed cells again")
    parser.add_argument("--force", action="store_true", help="run every cell again")
    _selection.add_laboratory(parser)
    parser.add_argument(
        "--batch",
        default="auto",
        metavar="auto|off|n",
        help="compute n cells together; auto: on accelerators, where no figure draws seconds",
    )
    parser.add_argument(
        "--devices",
        type=int,
        metavar="n",
        help="deal a batch to n devices (default: all; on a CPU one for each core)",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing unless a cell fails")
    arguments = parser.parse_intermixed_args(argv)
    config, cells = _selection.load(arguments)
    rows = run(config, cells, arguments)
    words = " ".join(word for word in argv if word not in ("--retry", "--force"))
    methods = {cell.id: cell.axes["method"] for cell in cells}
    far = Counter(methods[row["id"]] for row in rows if soundness.further(row))
    if far and not arguments.quiet:
        names = ", ".join(f"{n} of {name}" for name, n in far.items())
        print(f"{far.total()} cells end further from the reference than they began: {names}")
    if _without_numbers(cells, rows):
        if any(row["status"] == store.FAILED for row in rows):
            print(f"failed cells again: {PROGRAM} run {words} --retry", file=sys.stderr)
        return 1
    if not arguments.quiet:
        print(f"next: {PROGRAM} collect {arguments.config}")
    return 0
