"""Computes the cells of a config that have no result yet, one file each.

Stop it at any moment, in any way, and run it again: finished cells are not repeated.
"""

import argparse
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from .. import files
from ..config.grid import Cell
from ..config.reading import Config
from ..errors import PROGRAM, Refused
from ..lab import provenance, setup, store
from ..lab.progress import Progress
from ..lab.setup import Laboratory
from . import _selection


def _row(lab: Laboratory, cell: Cell, facts: dict[str, Any]) -> dict[str, Any]:
    """One cell's file. A failure is stored with its traceback and stops nothing."""
    from ..lab.programs import Skipped

    row = {"id": cell.id, "spec": cell.spec, "status": "ok", "reason": None, "traceback": None}
    row |= {"info": {}, "metrics": [], "timings": {}}
    row["provenance"] = facts | {"started": provenance.now()}
    try:
        row["data_hash"] = lab.materials.prepared(cell).hash
        row |= lab.judging.row(cell)
    except Refused:
        raise
    except Skipped as error:
        row |= {"status": "skipped", "reason": str(error)}
    except Exception as error:  # whatever a plug-in raises, the sweep goes on
        row |= {"status": store.FAILED, "reason": f"{type(error).__name__}: {error}".strip()}
        home = str(Path(__file__).parents[2]) + os.sep
        row["traceback"] = traceback.format_exc().replace(home, "").replace(str(Path.home()), "~")
    return row


def _same_data(lab: Laboratory, cell: Cell, cells: list[Cell], rows: dict[str, dict]) -> None:
    """Refuses to put results on other data beside those already stored."""
    now = lab.materials.prepared(cell).hash
    for other in cells:
        was = rows.get(other.id, {}).get("data_hash", now)
        same = other.key("data", "split") == cell.key("data", "split")
        if same and was != now:
            raise Refused(
                f"data {cell.spec['data']['use']}: cell {other.id} was computed on other data "
                f"(sha256 {was[:12]}, now {now[:12]}); restore the files, or run with --force"
            )


def _ready(lab: Laboratory, todo: list[Cell]) -> None:
    """Makes every data set, model and amount once, before the first cell is written."""
    from ..lab.programs import reference_spec

    for cell in {c.key("data"): c for c in reversed(todo)}.values():
        lab.materials.frame(cell.spec["data"])
    for cell in {c.key("model", "reference"): c for c in todo}.values():
        lab.programs.model(cell.spec["model"])
        lab.programs.model(reference_spec(cell))
    axes = ("kind", "ratio", "count")
    amounts = {(c.key("data"), *(c.axes[a] for a in axes)): c for c in reversed(todo)}
    for cell in amounts.values():  # a count that is too large, a pair that is not there
        lab.materials.request(cell)


def run(config: Config, cells: list[Cell], arguments: argparse.Namespace) -> list[Cell]:
    """Computes what is missing; returns the cells that failed."""
    folder = files.folder(arguments.results, config.name) / "cells"
    rows = {} if arguments.force else store.stored(folder, [cell.id for cell in cells])
    again = (store.FAILED,) if arguments.retry else ()
    todo = [c for c in cells if c.id not in rows or rows[c.id]["status"] in again]
    failed = [c for c in cells if c not in todo and rows[c.id]["status"] == store.FAILED]
    if not arguments.quiet:
        print(f"{len(cells)} cells, {len(cells) - len(todo)} already there", flush=True)
    if not todo:
        return failed

    lab = setup.laboratory(config.experiment, arguments.device, arguments.root)
    _ready(lab, todo)
    choices = {"config_sha256": config.sha256, "repeats": config.experiment.repeats}
    facts = provenance.lasting() | choices
    progress = Progress(len(todo), arguments.quiet)
    try:
        for cell in todo:
            _same_data(lab, cell, cells, rows)
            row = store.write(folder, _row(lab, cell, facts))
            progress.tell(cell, row)
            if row["status"] == store.FAILED:
                failed.append(cell)
    finally:
        progress.close()
    return failed


def main(argv: list[str]) -> int:
    parser = _selection.parser("run", __doc__, select=True)
    parser.add_argument("--retry", action="store_true", help="run failed cells again")
    parser.add_argument("--force", action="store_true", help="run every cell again")
    _selection.add_laboratory(parser)
    parser.add_argument("--quiet", action="store_true", help="say nothing unless a cell fails")
    arguments = parser.parse_intermixed_args(argv)
    config, cells = _selection.load(arguments)
    failed = run(config, cells, arguments)
    if failed:
        print(f"{len(failed)} cells failed:", file=sys.stderr)
        for cell in failed:
            print(
                f"  cell={cell.id}  {cell.axes['method']} seed={cell.axes['seed']}", file=sys.stderr
            )
        words = [w for w in argv if w not in ("--retry", "--force")]
        print(f"again: {PROGRAM} run {' '.join(words)} --retry", file=sys.stderr)
        return 1
    if not arguments.quiet:
        print(f"next: {PROGRAM} collect {arguments.config}")
    return 0
