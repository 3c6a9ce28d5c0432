"""Was this pair ever there? Models that learnt and unlearnt a pair, told from those that never did.

Model number m of a game holds a random half of the pairs of a request, model m + 1 the other half,
so that every pair was learnt by one half of the models and never seen by the other. All are then
made to forget the pairs that they hold. Whoever sees a model asks, pair by pair, which it was.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxforget.data._oracles import RETRAINED, UNDELETED
from jaxforget.sparse import layout
from jaxforget.types import ForgetSet, Interactions

from .. import statistics
from ..config.grid import identity
from ..errors import Refused
from ..files import archive, write_atomically
from . import bank_models, evidence, provenance
from .jobs import Job
from .plans import Plan
from .programs import Skipped, keys, method_plug, model_plug, program
from .setup import Laboratory

AT_ONCE = 8  # models of a file; an even number
LEAST = 16  # models: of half of them, half are known to the attacker, and hold a pair or do not


class Played(NamedTuple):
    """The scores of a game."""

    scores: dict[str, np.ndarray]  # [M, P] by kind of models
    held: np.ndarray  # [M, P] bool, whether the pair was learnt
    commits: list[str]


def play(lab: Laboratory, folder: Path, plan: Plan, told: Callable[[str], None]) -> Played:
    """Trains and unlearns the models of a game, or reads those that were kept."""
    train, request = lab.materials.request(plan.cell)
    rows = _targets(train, request, plan)
    cells = layout.build(
        *(np.asarray(x)[rows] for x in (train.users, train.items, train.values)),
        n_users=train.n_users,
        n_items=train.n_items,
    )
    halves = np.stack([_half(plan, m, len(train.users)) for m in range(plan.n_models)])
    specs = {name: cell.spec["method"] for name, cell in plan.methods.items()}
    data, found = lab.materials.attacked(plan.cell).hash, []
    name = identity([plan.id, specs, data])
    for first in range(0, plan.n_models, AT_ONCE):
        path = folder / f"{name}-{first:05d}.npz"
        if not path.is_file():
            seeds = range(first, min(first + AT_ONCE, plan.n_models))
            asked = [_request(request, halves[m]) for m in seeds]
            scores = dict(_scores(lab, plan, train, asked, cells, seeds))
            write_atomically(path, archive(scores | {"commit": provenance.commit()}))
            told(f"{name}: models {first} to {seeds[-1]} of {plan.n_models}")
        found.append(_read(path))
    kinds = [kind for kind in found[0] if kind != "commit"]
    scores = {kind: np.concatenate([part[kind] for part in found]) for kind in kinds}
    commits = sorted({str(part["commit"]) for part in found})
    return Played(scores, halves[:, rows], commits)


def measures(played: Played) -> Iterator[tuple[str, str, statistics.Estimate]]:
    """(kind, measure, estimate) of the attack on every kind of models, over halves of them."""
    couples, draw = len(played.held) // 2, np.random.default_rng(0)
    chosen = [draw.permutation(couples)[: couples // 2] for _ in range(evidence.HALVES)]
    for kind, scores in played.scores.items():
        found = []
        for some in chosen:
            models = np.sort(np.concatenate([2 * some, 2 * some + 1]))
            found.append(evidence.attack(*sides(scores[models], played.held[models])))
        for name in found[0]:
            yield kind, name, statistics.replicated([one[name] for one in found])


def sides(scores: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every pair, the scores of the models that never held it, and of those that did."""
    order = np.argsort(held, axis=0, kind="stable")
    sorted_, half = np.take_along_axis(scores, order, axis=0), len(held) // 2
    return sorted_[:half], sorted_[half:]


def _targets(train: Interactions, request: ForgetSet, plan: Plan) -> np.ndarray:
    """The rows of at most ``n_pairs`` pairs of the request, in the order of a layout.

    Of users and items that keep an interaction: of others a model may say nothing.
    """
    before, after = (np.asarray(weights) for weights in request)
    known = [np.unique(np.asarray(ids)[after > 0]) for ids in (train.users, train.items)]
    there = np.isin(train.users, known[0]) & np.isin(train.items, known[1])
    rows = np.flatnonzero((before > after) & there)
    if not len(rows):
        raise Refused(
            "games: no pair of the request is of a user and an item that keep an interaction; "
            "ask for pairs and not for whole users or items: request.kind=random"
        )
    rows = np.random.default_rng(int(plan.id, 16)).permutation(rows)[: plan.n_pairs]
    return rows[np.lexsort((np.asarray(train.items)[rows], np.asarray(train.users)[rows]))]


def _half(plan: Plan, model: int, n_rows: int) -> np.ndarray:
    """Which rows a model holds if they are of the request; a couple of models shares them out."""
    first = np.random.default_rng([int(plan.id, 16), model // 2]).random(n_rows) < 0.5
    return first if model % 2 == 0 else ~first


def _request(request: ForgetSet, held: np.ndarray) -> ForgetSet:
    """The request of a model: to forget those pairs that it holds."""
    before = np.where(held, np.asarray(request.before), np.asarray(request.after))
    return ForgetSet(before.astype(np.asarray(request.before).dtype), request.after)


def _scores(
    lab: Laboratory,
    plan: Plan,
    train: Interactions,
    asked: list[ForgetSet],
    cells: Interactions,
    seeds: range,
) -> Iterator[tuple[str, np.ndarray]]:
    """The scores ``[M, P]`` of every kind of models."""
    run, model = (lab.batches or lab.singly).run, model_plug(plan.cell.spec["model"])
    plain = program("factors", model)
    after = [request.after for request in asked]

    def learnt(weights: list[Any], stage: str, method: Any = None) -> list[Any]:
        fit = program("fit", model, method)
        jobs = [Job(fit, (keys(m)[stage], train, w)) for m, w in zip(seeds, weights, strict=True)]
        return [outcome.output[0] for outcome in run(jobs)]

    def scored(states: list[Any], owner: Any, weights: list[Any]) -> np.ndarray:
        return bank_models.scores_of(run, owner, states, train, weights, cells)

    before = [request.before for request in asked]
    yield RETRAINED, scored(learnt(after, "reference"), plain, after)
    states = learnt(before, "fit")
    yield UNDELETED, scored(states, plain, before)
    for name, cell in plan.methods.items():
        method = method_plug(cell.spec["method"])
        try:
            own = states if lab.programs.trains_plainly(cell) else learnt(before, "fit", method)
        except Skipped as reason:
            raise Refused(f"games: {name} cannot serve {cell.axes['model']}: {reason}") from None
        forget = program("unlearn", model, method)
        each = zip(seeds, own, asked, strict=True)
        jobs = [Job(forget, (keys(m)["unlearn"], s, train, request)) for m, s, request in each]
        unlearnt = [outcome.output[0] for outcome in run(jobs)]
        yield name, scored(unlearnt, program("factors", model, method), after)


def _read(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return dict(content)
    except Exception as fault:
        raise Refused(f"{path}: cannot be read: {fault}: remove it and run again") from None
