"""Was this pair ever there? Models that learnt and unlearnt a pair, told from those that never did.

Model number m of a game holds a random half of the pairs of a request, model m + 1 the other half,
so that every pair was learnt by one half of the models and never seen by the other. All are then
made to forget the pairs that they hold. Whoever sees a model asks, pair by pair, which it was.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxforget.data import _oracles
from jaxforget.sparse import layout
from jaxforget.types import ForgetSet, Interactions

from .. import statistics
from ..errors import Refused
from . import evidence, oracles
from .plans import Plan
from .setup import Laboratory

# Models: of half of them one half held a pair, and of these the attacker knows one half. Fewer say
# nothing: he does not find a thing in undeleted models.
LEAST = 32
WHOLE = 10  # orders of all models, which decide whom the attacker knows


class Played(NamedTuple):
    """The scores of a game."""

    scores: dict[str, np.ndarray]  # [M, P] by kind of models
    held: np.ndarray  # [M, P] bool, whether the pair was learnt
    commits: list[str]


def play(lab: Laboratory, folder: Path, plan: Plan, told: Callable[[str], None]) -> Played:
    """Trains and unlearns the models of a game; those that were kept are read."""
    train, request = lab.materials.request(plan.cell)
    source, rows, n = (
        lab.materials.attacked(plan.cell),
        _targets(train, request, plan),
        plan.n_models,
    )
    users, items, values = (np.asarray(x)[rows] for x in (train.users, train.items, train.values))
    cells = layout.build(users, items, values, n_users=train.n_users, n_items=train.n_items)
    part = np.full(len(rows), _oracles.PARTS[0])
    pairs = oracles.Sample(cells, part, source.users[users], source.items[items])
    halves = np.stack([_half(plan, model, len(train.users)) for model in range(n)])

    def asked(model: int) -> ForgetSet:
        return _request(request, halves[model])

    everything = {"part": (0, 1), "wanted": {*plan.methods}}
    oracles.make(lab, folder, plan, pairs, told, **everything, asked=asked)
    bank = oracles.gather(lab, folder, plan, pairs)
    assert bank is not None  # all of it has just been made
    return Played(bank.scores, halves[:, rows], bank.about["commits"])


def measures(played: Played) -> Iterator[tuple[str, str, statistics.Estimate]]:
    """(kind, measure, estimate) of the attack on every kind of models.

    The interval is from random halves of them. Which models the attacker knows is drawn once for
    all kinds: of a kind the same is found whichever others stand beside it.
    """
    couples, draw = len(played.held) // 2, np.random.default_rng(0)
    chosen = [draw.permutation(couples)[: couples // 2] for _ in range(evidence.HALVES)]
    orders = [draw.permutation(couples) for _ in range(WHOLE)]
    for kind, scores in played.scores.items():
        whole = [_attacked(scores, played.held, order) for order in orders]
        found = [_attacked(scores, played.held, some) for some in chosen]
        for name in found[0]:
            value = float(np.mean([one[name] for one in whole]))
            halves = [one[name] for one in found]
            yield kind, name, statistics.replicated(halves, couples, value, bounds=(0.0, 1.0))


def _attacked(scores: np.ndarray, held: np.ndarray, couples: np.ndarray) -> dict[str, float]:
    """The attack on some couples of models: it knows the first half of them."""
    models = np.stack([2 * couples, 2 * couples + 1], axis=1).ravel()
    return evidence.attack(*sides(scores[models], held[models]))


def sides(scores: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every pair, the scores of the models that never held it, and of those that did.

    In the order of the models.
    """
    order = np.argsort(held, axis=0, kind="stable")
    sorted_, half = np.take_along_axis(scores, order, axis=0), len(held) // 2
    return sorted_[:half], sorted_[half:]


def _targets(train: Interactions, request: ForgetSet, plan: Plan) -> np.ndarray:
    """The rows of at most ``n_pairs`` pairs of the request, in the order of a layout.

    Of users and items that keep an interaction: of others a model may say nothing.
    """
    before, after = (np.asarray(weights) for weights in request)
    rows = np.flatnonzero((before > after) & oracles.known(train, after, train))
    if not len(rows):
        raise Refused(
            "games: no pair of the request is of a user and an item that keep an interaction; "
            "ask for pairs and not for whole users or items: request.kind=random"
        )
    rows = np.random.default_rng([3, int(plan.id, 16)]).permutation(rows)[: plan.n_pairs]
    return rows[np.lexsort((np.asarray(train.items)[rows], np.asarray(train.users)[rows]))]


def _half(plan: Plan, model: int, n_rows: int) -> np.ndarray:
    """Which rows a model holds if they are of the request; a couple of models shares them out."""
    first = np.random.default_rng([2, int(plan.id, 16), model // 2]).random(n_rows) < 0.5
    return first if model % 2 == 0 else ~first


def _request(request: ForgetSet, held: np.ndarray) -> ForgetSet:
    """The request of a model: to forget those pairs that it holds."""
    before = np.where(held, np.asarray(request.before), np.asarray(request.after))
    return ForgetSet(before.astype(np.asarray(request.before).dtype), request.after)
