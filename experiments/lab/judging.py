"""Judges what an unlearning achieved: metrics, info and times of one cell. No mathematics."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxforget import metrics
from jaxforget.types import Factors, ForgetSet, Interactions, Split

from ..config.grid import Cell, canonical
from . import attack, provenance, soundness
from .clock import Program, Recent, timed
from .materials import Materials
from .programs import (
    Outcome,
    Programs,
    method_plug,
    model_plug,
    program,
    reference_key,
    reference_spec,
)

COMPARED = ("distance", "overlap")  # metrics that need the reference
SPLITS = ("test", "valid", "forgotten", "retained")  # how a metric's name may end
CELLS = {  # on which cells, where the name does not say
    "distance": "all",
    "overlap": "all",
    "membership": "forgotten",
    "exposure": "all",
}


class Case(NamedTuple):
    """What the stages of one cell are judged on."""

    parts: Split  # its train part is the one that was learnt from
    request: ForgetSet
    goal: Factors  # of the retrained reference
    spam: attack.Attack | None
    loss: Program  # the model's objective
    has_outcomes: bool  # whether the loss of single interactions is defined


class Stage(NamedTuple):
    """A state that is judged: before or after the request, or the reference."""

    state: Any
    weights: jax.Array  # of the graph along which it serves
    factors: Program
    is_params: bool  # the state is the model's own parameters: the objective is defined


class Verdict(NamedTuple):
    """What was measured of a stage, and what is wrong with the factors it serves, if anything."""

    values: dict[str, Any]  # by name
    fault: str | None


class Judging:
    """Computes the row of a cell; cells share the stages that do not depend on the method."""

    def __init__(self, materials: Materials, programs: Programs, ks: list[int]):
        self.materials, self.programs = materials, programs
        self._judged = Recent(16)

        def judge(factors: Factors, parts: Split, request: ForgetSet, reference: Factors):
            return metrics.evaluate(factors, parts, request, ks=tuple(ks), reference=reference)

        self._judge = judge  # one function object, hence one compilation per shape
        self._expose = attack.exposure(ks)

    def row(self, cell: Cell) -> dict[str, Any]:
        """Metrics, info, timings, the data hash and what is wrong with the factors of one cell."""
        source = self.materials.attacked(cell)
        train, request = self.materials.request(cell)
        plain = self.programs.trains_plainly(cell)
        model, method = model_plug(cell.spec["model"]), method_plug(cell.spec["method"])
        reference = self.programs.reference(cell, train, request)
        fit = self.programs.fit(cell, source.hash, train, request)
        unlearn = self.programs.unlearn(cell, fit.state, train, request)

        ideal = program("factors", model_plug(reference_spec(cell)))
        goal, _ = timed(ideal, reference.state, train, request.after)
        has_outcomes = self.programs.model(cell.spec["model"]).margins is not None
        parts = source.split._replace(train=train)
        case = Case(parts, request, goal, source.spam, program("loss", model), has_outcomes)
        serve = program("factors", model, method)
        shared, own = reference_key(cell), None if plain else canonical(cell.spec["method"])
        first = Stage(fit.state, request.before, serve, plain)
        last = Stage(reference.state, request.after, ideal, True)
        judged = {
            "before": self._judged.get(("before", shared, own), lambda: self._stage(case, first)),
            "after": self._stage(case, Stage(unlearn.state, request.after, serve, plain)),
            "reference": self._judged.get(("reference", shared), lambda: self._stage(case, last)),
        }
        found = recorded({"fit": fit, "unlearn": unlearn, "reference": reference})
        if source.listed is not None:
            found["info"]["request"] = source.listed.counts
        return found | {
            "data_hash": self.materials.prepared(cell).hash,
            "metrics": [row for name, stage in judged.items() for row in tidy(name, stage.values)],
            "faults": [f"{name} {stage.fault}" for name, stage in judged.items() if stage.fault],
        }

    def _stage(self, case: Case, stage: Stage) -> Verdict:
        """Every metric of one stage."""
        train, request = case.parts.train, case.request
        factors, _ = timed(stage.factors, stage.state, train, stage.weights)
        values, _ = timed(self._judge, factors, case.parts, request, case.goal)
        if case.spam is not None:
            values = values | timed(self._expose, factors, case.spam, request)[0]
        if stage.is_params:
            loss, _ = timed(case.loss, stage.state, train, request.after, request.after)
            values = values | {"loss_retained": loss}
            if case.has_outcomes:
                values["loss_forgotten"] = forgotten_loss(case, stage)
        fault = soundness.of_factors(jax.device_get(factors), jax.device_get(train.values))
        return Verdict(jax.device_get(values), fault)


def forgotten_loss(case: Case, stage: Stage) -> Any:
    """Mean loss of the forgotten interactions, labels as learnt, along the served graph."""
    gone = case.request.before - case.request.after
    train: Interactions = case.parts.train
    with_, without = (
        timed(case.loss, stage.state, train, weights, stage.weights)[0]
        for weights in (gone, 0 * gone)
    )
    return (with_ - without) / gone.sum()  # the penalty cancels; NaN for an empty request


def recorded(outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """Info, seconds and memory of the runs of one cell."""
    return {
        "info": {name: scalars(outcome.info) for name, outcome in outcomes.items()},
        "timings": {f"{n}_seconds": o.timing.run for n, o in outcomes.items()}
        | {f"{n}_compile_seconds": o.timing.compile for n, o in outcomes.items()}
        | provenance.peak_memory(),
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
