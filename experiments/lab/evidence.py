"""What a bank of models says of each method: distances to a distribution, attacks, a verdict.

Everything is measured between halves: one half of the retrained models against as many of the
method's, and against the other half of the retrained ones. That is the floor, which no method can
be asked to be below; the undeleted models are the other end of the scale.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxforget.data import _oracles
from jaxforget.data._oracles import LISTS, RETRAINED, Bank
from jaxforget.metrics import ensembles, labels

from .. import statistics
from ..statistics import Estimate
from . import measured

HALVES = 40  # random halves of the models
LEAST = 8  # models of each kind for anything about their distribution
PERCENTILES = (95, 99)  # beside the median
FPRS = (0.01, 0.001)
SHARES = ("lira", *(f"lira_tpr@{fpr:g}" for fpr in FPRS))  # of the measures of halves
_gaussian, _binned = jax.jit(ensembles.gaussian_klom), jax.jit(ensembles.klom)
_ratios, _area = jax.jit(ensembles.likelihood_ratios), jax.jit(labels.auc)
_areas = jax.jit(jax.vmap(labels.auc, in_axes=(0, None, None)))  # of several models
_found_at = jax.jit(labels.tpr_at_fpr, static_argnames="fpr")


class Row(NamedTuple):
    """One number of a kind of models."""

    kind: str  # a method, "undeleted", or "retrained" for the floor
    measure: str
    part: str
    found: Estimate
    n_models: int
    n_pairs: int


class Measures(NamedTuple):
    """What rows and verdicts are made of; nothing of models that draw nothing."""

    members: dict[str, np.ndarray]  # of each kind, ``memberships``
    utilities: dict[str, np.ndarray]  # of each kind, ``_utilities``
    # of each kind and part, what ``_between`` measures, over the halves; empty for few models
    halves: dict[tuple[str, str], dict[str, np.ndarray]]


def measure(bank: Bank) -> Measures:
    """Measures every kind of models of a bank, and every pair of halves."""
    if not bank.about["draws"]:
        return Measures({}, {}, {})
    n_models, between = len(bank.scores[RETRAINED]), {}
    pieces = list(_halves(n_models)) if n_models >= LEAST else []
    for part in [part for part in _oracles.PARTS if pieces and np.any(bank.part == part)]:
        for kind in bank.scores:
            found = [_between(bank, kind, part, some) for some in pieces]
            between[kind, part] = {name: np.array([x[name] for x in found]) for name in found[0]}
    return Measures(memberships(bank), _utilities(bank), between)


def rows(bank: Bank, measures: Measures) -> Iterator[Row]:
    """Every measure of every kind of models of a bank."""
    if not bank.about["draws"]:
        yield from _single(bank)
        return
    positive = int(np.sum((bank.part != "retained") & (bank.values > 0)))
    for kind, found in measures.members.items():
        estimate = statistics.mean(found, bounds=(0.0, 1.0))
        yield Row(kind, "membership", "forgotten", estimate, len(found), positive)
    for kind, found in measures.utilities.items():
        estimate = statistics.mean(found, bounds=(0.0, 1.0))
        yield Row(kind, "auc", "test", estimate, len(found), int(np.sum(bank.part == "test")))
    n_models = len(bank.scores[RETRAINED])
    for (kind, part), found in measures.halves.items():
        n_pairs = int(np.sum(bank.part == part))
        for name, values in found.items():
            bounds = (0.0, 1.0) if name in SHARES else (-math.inf, math.inf)
            estimate = statistics.replicated(values, n_models, bounds=bounds)
            yield Row(kind, name, part, estimate, n_models // 2, n_pairs)
    rest = n_models - n_models // 2
    for kind in [kind for kind in bank.scores if kind != RETRAINED and measures.halves]:
        for name, told in faithfulness(bank, kind, measures.members).items():
            yield Row(kind, f"told_by_{name}", "all", told, rest, len(bank.part))


def _halves(n: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Two halves of the retrained models, and one of another kind's."""
    draw, half = np.random.default_rng(0), n // 2
    for _ in range(HALVES):
        order = draw.permutation(n)
        yield order[:half], order[half : 2 * half], draw.permutation(n)[:half]


def _between(bank: Bank, kind: str, part: str, some: tuple[np.ndarray, ...]) -> dict[str, float]:
    """Distances and attacks between a half of the retrained models and one of some kind."""
    retrained, scores = bank.of(RETRAINED, part), bank.of(kind, part)
    goal = retrained[some[0]]
    own = retrained[some[1]] if kind == RETRAINED else scores[some[2]]
    found = {}
    for name, divergence in (("kl", _gaussian), ("klom", _binned)):  # per pair, in nats
        per_pair = np.asarray(divergence(goal, own))
        found[name], found[f"{name}_p50"] = float(np.mean(per_pair)), float(np.median(per_pair))
        with np.errstate(invalid="ignore"):  # between two infinite ones: NaN
            for percent in PERCENTILES:
                found[f"{name}_p{percent}"] = float(np.percentile(per_pair, percent))
    return found | attack(goal, own)


def attack(goal: np.ndarray, own: np.ndarray) -> dict[str, float]:
    """U-LiRA: can an unlearnt model be told from a retrained one, pair by pair?

    Half of the models of either kind, ``[M, P]`` scores each, are known to the attacker.
    """
    ratio, unlearnt = (np.asarray(x) for x in _ratios(goal, own))
    truth = np.broadcast_to(unlearnt[:, None].astype(ratio.dtype), ratio.shape).ravel()
    flat = ratio.ravel()
    found = {"lira": float(_area(flat, truth, np.ones(len(flat), bool)))}
    return found | {f"lira_tpr@{fpr:g}": float(_found_at(flat, truth, fpr=fpr)) for fpr in FPRS}


def memberships(bank: Bank) -> dict[str, np.ndarray]:
    """Of each model, the chance that it scores a forgotten pair above a test pair, ``[M]``.

    Positive pairs only. The mark is what the retrained models reach: one half where both are drawn
    from the same pairs, and another number where the split or the request sets them apart.
    """
    used = (bank.values > 0) & (bank.part != "retained")
    return _areas_of(bank, used, bank.part == "forgotten")


def _utilities(bank: Bank) -> dict[str, np.ndarray]:
    """Of each model, the AUC of the labels of the test pairs, ``[M]``.

    Empty where these have one label only, as in data of likes alone.
    """
    used, truth = bank.part == "test", bank.values > 0
    return _areas_of(bank, used, truth) if len(np.unique(truth[used])) == 2 else {}


def _areas_of(bank: Bank, used: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """AUC of each model of each kind, over some pairs."""
    labelled, ones = truth[used].astype(np.float32), np.ones(int(used.sum()), bool)
    return {
        kind: np.asarray(_areas(scores[:, used].astype(np.float32), labelled, ones), float)
        for kind, scores in bank.scores.items()
    }


def faithfulness(bank: Bank, kind: str, members: dict[str, np.ndarray]) -> dict[str, Estimate]:
    """How well each measure of one model tells a kind from retrained models: AUC over models.

    A measure that cannot tell even the undeleted ones says nothing of any method. The interval is
    DeLong's, normal; where nearly all models are told, it is by counting.
    """
    own, others = (of_models(bank, name, members) for name in (kind, RETRAINED))
    return {name: statistics.area(own[name], others[name]) for name in own}


def of_models(bank: Bank, kind: str, members: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each measure of one model, of the second half of the models of a kind, ``[M - M // 2]``.

    The first half of the retrained models is what the measures may know (``distance`` and
    ``lists``: the first of them alone), the other half is to be told from.
    """
    half = len(bank.scores[RETRAINED]) // 2
    known = bank.scores[RETRAINED][:half].astype(float)
    forgotten = bank.part == judged_by(bank)
    liked = forgotten & (bank.values > 0) if (bank.values[forgotten] > 0).any() else forgotten
    mean, spread = known.mean(axis=0), np.maximum(known.std(axis=0, ddof=1), 1e-12)
    scores = bank.scores[kind][half:].astype(float)
    apart, away = scores - known[0], (scores - mean) / spread
    more = {name: array[half:] for name, array in bank.measured.get(kind, {}).items()}
    if LISTS in more:
        more[LISTS] = measured.apart(more[LISTS], bank.measured[RETRAINED][LISTS][0])
    return more | {
        "score": scores[:, liked].mean(axis=1),
        "membership": members[kind][half:],
        "distance": np.linalg.norm(apart, axis=1),
        "distance_forgotten": np.linalg.norm(apart[:, forgotten], axis=1),
        "likelihood": np.mean(away[:, forgotten] ** 2, axis=1),
    }


def of_known_truth(bank: Bank) -> list[str]:
    """The kinds of a bank that were made to try measures on; no method made them."""
    return [kind for kind in bank.about.get("known", ()) if kind in bank.scores]


def judged_by(bank: Bank) -> str:
    """The forgotten pairs; the retained ones where whole users went, so that none is left."""
    return "forgotten" if np.any(bank.part == "forgotten") else "retained"


def _single(bank: Bank) -> Iterator[Row]:
    """Of models that draw nothing there is one of each kind: how far is it from retraining?"""
    for part in _oracles.PARTS:
        goal = bank.of(RETRAINED, part)[0].astype(float)
        if not len(goal):
            continue
        for kind in bank.scores:
            own = bank.of(kind, part)[0].astype(float)
            size = float(np.linalg.norm(goal))
            apart = float(np.linalg.norm(own - goal)) / size if size else math.nan
            found = Estimate(apart, math.nan, math.nan, 1)
            yield Row(kind, "distance", part, found, 1, len(goal))


def axes(bank: Bank) -> dict[str, Any]:
    """What a table says of a bank in front of each row."""
    return {"model": bank.about["model_name"]} | dict(bank.about["axes"])
