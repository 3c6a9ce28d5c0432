"""The models of a bank, some seeds of them: trained, made to forget, and asked what they say."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxforget.data import _oracles
from jaxforget.sparse import serving
from jaxforget.types import ForgetSet, Interactions

from ..config.grid import canonical
from ..errors import Refused
from . import known, measured
from .jobs import Job
from .plans import Plan
from .programs import Plug, Skipped, keys, method_plug, model_plug, program
from .setup import Laboratory

Kept = dict[str, np.ndarray]  # by name, the models as the first axis; "scores" is always there


class Task(NamedTuple):
    """The models to make: of one bank, under some seeds."""

    lab: Laboratory
    plan: Plan
    train: Interactions
    cells: Interactions  # the pairs that are asked for
    wanted: measured.Asked | None  # what else, in a bank for trying measures
    seeds: range
    requests: list[ForgetSet]  # one for each seed

    @property
    def model(self) -> Plug:
        return model_plug(self.plan.cell.spec["model"])

    def run(self, jobs: list[Job]) -> list[Any]:
        return (self.lab.batches or self.lab.singly).run(jobs)

    @property
    def before(self) -> list[Any]:
        return [request.before for request in self.requests]

    @property
    def after(self) -> list[Any]:
        return [request.after for request in self.requests]

    def states(self, learn: Any, draws: list[jax.Array], weights: list[Any]) -> list[Any]:
        """Trained states, one of each key."""
        each = zip(draws, weights, strict=True)
        outcomes = self.run([Job(learn, (key, self.train, own)) for key, own in each])
        return [outcome.output[0] for outcome in outcomes]

    def unlearnt(
        self, method: Plug, draws: list[jax.Array], states: list[Any], requests: list[ForgetSet]
    ) -> list[Any]:
        """The states after a method met a request, each its own."""
        forget, each = program("unlearn", self.model, method), zip(draws, states, requests)
        outcomes = self.run([Job(forget, (key, x, self.train, own)) for key, x, own in each])
        return [outcome.output[0] for outcome in outcomes]

    def scored(self, states: list[Any], weights: list[Any], method: Plug | None = None) -> Kept:
        """Their scores ``[M, P]``, each served by its weights."""
        owner = program("factors", self.model, method)
        served = served_by(self.run, owner, states, self.train, weights)
        return {"scores": scores_of(self.run, served, self.cells)}

    def judged(self, states: list[Any], weights: list[Any]) -> Kept:
        """Their scores; in a bank for trying measures also what else these read of a model."""
        if self.wanted is None:
            return self.scored(states, weights)
        served = served_by(self.run, program("factors", self.model), states, self.train, weights)
        rest = (program("loss", self.model), states, served, self.train, self.requests)
        more = measured.of_models(self.run, self.wanted, *rest)
        return {"scores": scores_of(self.run, served, self.cells)} | more


def kept(task: Task, missing: set[str]) -> Iterator[tuple[str, Kept]]:
    """What a bank keeps of each kind of models that is missing."""
    methods = task.plan.methods
    learn = program("fit", task.model)
    draws = {n: [keys(seed)[n] for seed in task.seeds] for n in ("fit", "reference", "unlearn")}
    if _oracles.RETRAINED in missing:
        states = task.states(learn, draws["reference"], task.after)
        yield _oracles.RETRAINED, task.judged(states, task.after)
    before = {}  # the request, by the method that trains in its own way
    if missing & {_oracles.UNDELETED, *methods}:
        before[None] = task.states(learn, draws["fit"], task.before)
    if _oracles.UNDELETED in missing:
        yield _oracles.UNDELETED, task.judged(before[None], task.before)
    for kind in (kind for kind in task.plan.known if kind in missing):
        yield kind, _of_known_truth(task, kind)
    for name in (kind for kind in methods if kind in missing):
        cell = methods[name]
        method = method_plug(cell.spec["method"])
        try:
            plainly = task.lab.programs.trains_plainly(cell)
        except Skipped as reason:
            raise Refused(f"{name} cannot serve {cell.axes['model']}: {reason}") from None
        own = None if plainly else canonical(cell.spec["method"])
        if own not in before:
            learn_so = program("fit", task.model, method)
            before[own] = task.states(learn_so, draws["fit"], task.before)
        after = task.unlearnt(method, draws["unlearn"], before[own], task.requests)
        yield name, task.scored(after, task.after, method)


def _of_known_truth(task: Task, kind: str) -> Kept:
    """Models to try measures on, with keys that no other kind has."""
    spec = task.plan.known[kind]
    draws = [known.keys_of(seed, kind) for seed in task.seeds]
    learn, first = program("fit", task.model), [key[0] for key in draws]
    if kind == _oracles.HALF:
        weights = [known.half(request, task.plan.id, spec["share"]) for request in task.requests]
        return task.judged(task.states(learn, first, weights), weights)
    states = task.states(learn, first, task.after)
    put_back = [ForgetSet(request.after, request.before) for request in task.requests]
    states = task.unlearnt(method_plug(spec), [key[1] for key in draws], states, put_back)
    return task.judged(states, task.before)


def served_by(
    run: Callable[[list[Job]], list[Any]],
    owner: Any,
    states: list[Any],
    train: Interactions,
    weights: list[Any],
) -> list[Any]:
    """What M trained states serve, each by its weights."""
    pairs = zip(states, weights, strict=True)
    outcomes = run([Job(owner, (state, train, own)) for state, own in pairs])
    return [outcome.output for outcome in outcomes]


def scores_of(
    run: Callable[[list[Job]], list[Any]], served: list[Any], cells: Interactions
) -> np.ndarray:
    """The scores ``[M, P]`` of M models."""
    outcomes = run([Job(serving.scores_of, (one, cells)) for one in served])
    return np.stack([np.asarray(outcome.output) for outcome in outcomes])
