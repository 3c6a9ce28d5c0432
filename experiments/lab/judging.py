"""Judges what an unlearning achieved: metrics, info and times of one cell. No mathematics."""

import functools
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxforget import metrics
from jaxforget.sparse import serving
from jaxforget.sparse.serving import Served
from jaxforget.types import Factors, ForgetSet, Interactions, Split

from ..config.grid import Cell, canonical
from . import attack, provenance, soundness
from .clock import Program, Recent
from .jobs import Job, Outcome
from .materials import Materials
from .programs import (
    Programs,
    forgotten_loss,
    method_plug,
    model_plug,
    program,
    reference_key,
    reference_spec,
)

_largest = jax.jit(serving.largest)

COMPARED = ("distance", "overlap")  # metrics that need the reference
SPLITS = ("test", "valid", "forgotten", "retained")  # how a metric's name may end
CELLS = {  # on which cells, where the name does not say
    "distance": "all",
    "overlap": "all",
    "membership": "forgotten",
    "exposure": "all",
    "rank_exposure": "forgotten",
}


class Case(NamedTuple):
    """What the stages of one cell are judged on."""

    parts: Split  # its train part is the one that was learnt from
    request: ForgetSet
    spam: attack.Injected | None
    loss: Program  # the model's objective
    forgotten: Program | None  # the loss of what was forgotten; None where it is not defined


class Stage(NamedTuple):
    """A state that is judged: before or after the request, or the reference."""

    state: Any
    weights: jax.Array  # of the graph along which it serves
    factors: Program
    is_params: bool  # the state is the model's own parameters: the objective is defined
    name: tuple | None  # what decides the stage, where cells share it


class Verdict(NamedTuple):
    """What was measured of a stage, and what is wrong with the factors it serves, if anything."""

    values: dict[str, Any]  # by name
    fault: str | None


@functools.cache  # one function object, hence one compilation per shape
def _judge(ks: tuple[int, ...]) -> Callable[..., dict[str, jax.Array]]:
    """A function that measures a model that is served beside a reference."""

    def judge(factors: Served, parts: Split, request: ForgetSet, reference: Served):
        return metrics.evaluate(factors, parts, request, ks=ks, reference=reference)

    return judge


class Judging:
    """Computes the row of a cell; cells share the stages that do not depend on the method."""

    def __init__(self, materials: Materials, programs: Programs, ks: list[int]):
        self.materials, self.programs = materials, programs
        self._faults = Recent(16)  # of stages that cells share
        self._judge, self._expose = _judge(tuple(ks)), attack.exposure(tuple(ks))

    def row(self, cell: Cell) -> Generator[list[Job], list[Outcome], dict[str, Any]]:
        """Metrics, info, timings, the data hash and what is wrong with the factors of one cell.

        Yields the jobs whose outcomes it needs next, and returns the row.
        """
        source = self.materials.attacked(cell)
        train, request = self.materials.request(cell)
        plain = self.programs.trains_plainly(cell)
        reference, fit = yield [
            self.programs.reference(cell, train, request),
            self.programs.fit(cell, source.hash, train, request),
        ]
        (unlearn,) = yield [self.programs.unlearn(cell, fit.output[0], train, request)]

        model, method = model_plug(cell.spec["model"]), method_plug(cell.spec["method"])
        ideal = program("factors", model_plug(reference_spec(cell)))
        serve = program("factors", model, method)
        shared, own = reference_key(cell), None if plain else canonical(cell.spec["method"])
        stages = {
            "before": Stage(fit.output[0], request.before, serve, plain, ("before", shared, own)),
            "after": Stage(unlearn.output[0], request.after, serve, plain, None),
            "reference": Stage(
                reference.output[0], request.after, ideal, True, ("reference", shared)
            ),
        }
        has_outcomes = self.programs.model(cell.spec["model"]).margins is not None
        forgotten = forgotten_loss(model) if has_outcomes else None
        parts = source.split._replace(train=train)
        case = Case(parts, request, source.spam, program("loss", model), forgotten)
        verdicts = yield from self._verdicts(case, stages)
        found = recorded({"fit": fit, "unlearn": unlearn, "reference": reference})
        if source.listed is not None:
            found["info"]["request"] = source.listed.counts
        return found | {
            "data_hash": self.materials.prepared(cell).hash,
            "metrics": [row for name, v in verdicts.items() for row in tidy(name, v.values)],
            "faults": [f"{name} {v.fault}" for name, v in verdicts.items() if v.fault],
        }

    def _verdicts(
        self, case: Case, stages: dict[str, Stage]
    ) -> Generator[list[Job], list[Outcome], dict[str, Verdict]]:
        """Every metric of every stage, and whether its factors are sound."""
        train = case.parts.train
        served = yield [
            Job(s.factors, (s.state, train, s.weights), named("factors", s.name))
            for s in stages.values()
        ]
        factors = dict(zip(stages, (outcome.output for outcome in served), strict=True))
        goal, jobs = factors["reference"], {}
        for name, stage in stages.items():
            asked = {"measures": (self._judge, factors[name], case.parts, case.request, goal)}
            if case.spam is not None:
                asked["exposure"] = (self._expose, factors[name], case.spam, case.request)
            asked |= losses(case, stage)
            for what, (function, *args) in asked.items():
                part = named("measures", stage.name, what)
                jobs[name, what] = Job(function, tuple(args), part)
        outcomes = yield list(jobs.values())
        found = {name: {} for name in stages}
        for (name, what), outcome in zip(jobs, outcomes, strict=True):
            found[name][what] = jax.device_get(outcome.output)
        return {
            name: Verdict(measured(found[name]), self._fault(stage, factors[name], train))
            for name, stage in stages.items()
        }

    def _fault(self, stage: Stage, factors: Served, train: Interactions) -> str | None:
        """What is wrong with the factors that a stage serves, if anything."""

        def look():
            if isinstance(factors, Factors):
                return soundness.of_factors(*jax.device_get((factors, train.values)))
            return soundness.of_largest(float(_largest(factors)), train.values)

        return look() if stage.name is None else self._faults.get(stage.name, look)


def named(kind: str, name: tuple | None, *more: str) -> tuple[str, tuple] | None:
    """What cells that share a stage call one of its jobs; None for a stage of the cell's own."""
    return None if name is None else (kind, (*name, *more))


def losses(case: Case, stage: Stage) -> dict[str, tuple]:
    """The losses of a stage, as functions and their arguments."""
    if not stage.is_params:
        return {}
    train, request = case.parts.train, case.request
    asked = {"loss_retained": (case.loss, stage.state, train, request.after, request.after)}
    if case.forgotten is not None:
        asked["loss_forgotten"] = (case.forgotten, stage.state, train, request, stage.weights)
    return asked


def measured(found: dict[str, Any]) -> dict[str, Any]:
    """The outcomes of a stage's jobs as one dict of values by name."""
    values = found["measures"] | found.get("exposure", {})
    values |= {name: found[name] for name in ("loss_retained", "loss_forgotten") if name in found}
    return dict(sorted(values.items()))


def recorded(outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """Info, seconds and memory of the runs of one cell; no seconds where cells shared a run."""
    alone = all(outcome.timing.run is not None for outcome in outcomes.values())
    memory = provenance.peak_memory()
    return {
        "info": {name: scalars(outcome.output[1]) for name, outcome in outcomes.items()},
        "timings": {f"{n}_seconds": o.timing.run for n, o in outcomes.items()}
        | {f"{n}_compile_seconds": o.timing.compile for n, o in outcomes.items()}
        | (memory if alone else dict.fromkeys(memory)),
    }


def scalars(info: dict[str, Any]) -> dict[str, Any]:
    """``info`` as plain numbers."""
    return {name: np.asarray(value).item() for name, value in jax.device_get(info).items()}


def tidy(stage: str, values: dict[str, Any]) -> list[list[Any]]:
    """Rows [stage, split, metric, k, value].

    A name such as ``distance_test`` or ``ndcg@10`` says on which cells and at which k. How far the
    reference is from itself is left out.
    """
    rows = []
    for name, value in values.items():
        metric, _, k = name.partition("@")
        stem, _, cells = metric.rpartition("_")
        metric, cells = (stem, cells) if cells in SPLITS else (metric, CELLS.get(metric, "test"))
        if stage == "reference" and metric in COMPARED:
            continue
        rows.append([stage, cells, metric, int(k) if k else None, np.asarray(value).item()])
    return rows
