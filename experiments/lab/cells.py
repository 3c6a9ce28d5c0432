"""Computes cells, alone or together, and states what is stored of each."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..config.grid import Cell
from ..errors import Refused
from . import provenance, store
from .jobs import Job, Outcome
from .programs import Skipped
from .setup import Laboratory

Run = Callable[[list[Job]], list[Outcome]]


class Broken(NamedTuple):
    """An error that ended a cell, with its traceback."""

    error: Exception
    traceback: str


def rows(lab: Laboratory, cells: list[Cell], facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is stored of each cell, in their order; a failure is stored and stops nothing.

    Several cells are computed together. Where that fails, each is computed alone, so that an error
    is told by the cell it belongs to and the others are finished.
    """
    started, found = provenance.now(), {}
    if len(cells) > 1 and lab.batches is not None:
        try:
            found = _together(lab, cells)
        except Exception as error:  # a program that cannot be batched, memory
            why = f"{type(error).__name__}: {error}"[:160].splitlines()[0]
            print(f"{len(cells)} cells together: {why}; computed one by one", file=sys.stderr)
    for cell in cells:
        if cell.id not in found:
            started = provenance.now()
            found |= _run(lab, [cell], lab.singly.run)
        yield _stored(lab, cell, found.pop(cell.id), facts | {"started": started})


def _together(lab: Laboratory, cells: list[Cell]) -> dict[str, dict[str, Any] | Broken]:
    """Computes cells as one batch. The seconds are those of the batch, in every row."""
    before = lab.batches.seconds, lab.batches.compiling
    found = _run(lab, cells, lab.batches.run, alone=False)
    times = {
        "batch": len(cells),
        "batch_seconds": lab.batches.seconds - before[0],
        "batch_compile_seconds": lab.batches.compiling - before[1],
    }
    for row in found.values():
        if not isinstance(row, Broken):
            row["timings"] |= times
    return found


def _run(
    lab: Laboratory, cells: list[Cell], run: Run, *, alone: bool = True
) -> dict[str, dict[str, Any] | Broken]:
    """Leads the cells from one list of jobs to the next, all of them together.

    An error of a cell ends it alone. An error of a job is that of the cell if it is ``alone``;
    else it is raised, as nobody knows whose it is.
    """
    done: dict[str, dict[str, Any] | Broken] = {}
    going = {cell.id: lab.judging.row(cell) for cell in cells}
    answers: dict[str, list[Outcome] | None] = dict.fromkeys(going)
    while going:
        asked: dict[str, list[Job]] = {}
        for name, cell in list(going.items()):
            try:
                asked[name] = cell.send(answers[name])
            except StopIteration as end:
                done[name] = end.value
            except Exception as error:  # whatever a plug-in raises, the sweep goes on
                done[name] = Broken(error, traceback.format_exc())
        going = {name: cell for name, cell in going.items() if name in asked}
        try:
            outcomes = iter(run([job for jobs in asked.values() for job in jobs]))
        except Exception as error:
            if not alone:
                raise
            return {cells[0].id: Broken(error, traceback.format_exc())}
        answers = {name: [next(outcomes) for _ in jobs] for name, jobs in asked.items()}
    return done


def _stored(
    lab: Laboratory, cell: Cell, result: dict[str, Any] | Broken, facts: dict[str, Any]
) -> dict[str, Any]:
    """One cell's file."""
    row = {"id": cell.id, "spec": cell.spec, "status": "ok", "reason": None, "traceback": None}
    row |= {"info": {}, "metrics": [], "timings": {}, "provenance": facts}
    try:
        prepared = lab.materials.prepared(cell)
        row |= {"table_hash": prepared.table, "data_hash": prepared.hash}
    except Exception:  # then the result is that same error
        pass
    if not isinstance(result, Broken):
        return row | result
    error = result.error
    if isinstance(error, Skipped):
        return row | {"status": "skipped", "reason": str(error)}
    if isinstance(error, Refused):  # this split or this request alone: the others were well
        return row | {"status": store.FAILED, "reason": str(error)}
    home = str(Path(__file__).parents[2]) + os.sep
    return row | {
        "status": store.FAILED,
        "reason": f"{type(error).__name__}: {error}".strip(),
        "traceback": result.traceback.replace(home, "").replace(str(Path.home()), "~"),
    }
