"""What a cell asks to be computed, and the plain way to do it: one program after another.

A cell is a generator that yields lists of jobs and is sent their outcomes; so one description of
a cell serves both for cells that are computed alone and for those that are computed together.
"""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from .clock import Program, Recent, Timing, timed

# How many outcomes of a kind are kept for the cells to come: states are as large as a model, the
# measures of a stage are a few numbers.
KEPT = {"fit": 8, "reference": 4, "factors": 8, "measures": 64}


class Job(NamedTuple):
    """A program and its arguments."""

    function: Callable | Program
    args: tuple
    name: tuple[str, Hashable] | None = None  # (kind, what decides it): equal names, equal outcome
    repeats: int = 1  # timed runs, of which the median counts


class Outcome(NamedTuple):
    """What a job returned, and its time."""

    output: Any
    timing: Timing


class Shelf:
    """Outcomes of named jobs, the last few of each kind."""

    def __init__(self):
        self._kinds = {kind: Recent(size) for kind, size in KEPT.items()}

    def find(self, name: tuple[str, Hashable] | None) -> Outcome | None:
        """The outcome of that name, if it is still here."""
        return None if name is None else self._kinds[name[0]].entries.get(name[1])

    def keep(self, name: tuple[str, Hashable] | None, outcome: Outcome) -> Outcome:
        """Puts an outcome under its name; returns it."""
        return outcome if name is None else self._kinds[name[0]].get(name[1], lambda: outcome)


class Singly:
    """Runs jobs one by one, and measures the seconds of each."""

    def __init__(self, shelf: Shelf):
        self.shelf = shelf

    def run(self, jobs: list[Job]) -> list[Outcome]:
        """The outcomes of the jobs, in their order."""
        return [self._outcome(job) for job in jobs]

    def _outcome(self, job: Job) -> Outcome:
        found = self.shelf.find(job.name)
        if found is None:
            found = Outcome(*timed(job.function, *job.args, repeats=job.repeats))
        return self.shelf.keep(job.name, found)
