"""What a bank of models says of each method: distances to a distribution, attacks, a verdict.

Everything is measured between halves: one half of the retrained models against as many of the
method's, and against the other half of the retrained ones. That is the floor, which no method can
be asked to be below; the undeleted models are the other end of the scale.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxforget.data import _oracles
from jaxforget.data._oracles import RETRAINED, Bank
from jaxforget.metrics import ensembles, labels

from . import statistics
from .statistics import Estimate

HALVES = 40  # random halves of the models
LEAST = 8  # models of each kind for anything about their distribution
PERCENTILES = (50, 95, 99)
FPRS = (0.01, 0.001)


class Row(NamedTuple):
    """One number of a kind of models."""

    kind: str  # a method, "undeleted", or "retrained" for the floor
    measure: str
    part: str
    found: Estimate
    n_models: int
    n_pairs: int


def rows(bank: Bank) -> Iterator[Row]:
    """Every measure of every kind of models of a bank."""
    n_models = len(bank.scores[RETRAINED])
    if not bank.about["draws"]:
        yield from _single(bank)
        return
    yield from _of_each(bank)
    if n_models < LEAST:
        return
    pieces = list(halves(n_models))
    for part in _oracles.PARTS:
        n_pairs = int(np.sum(bank.part == part))
        if not n_pairs:
            continue
        for kind in bank.scores:
            values: dict[str, list[float]] = {}
            for some in pieces:
                for name, value in _between(bank, kind, part, some).items():
                    values.setdefault(name, []).append(value)
            for name, found in values.items():
                estimate = statistics.replicated(found)
                yield Row(kind, name, part, estimate, n_models // 2, n_pairs)
    rest = n_models - n_models // 2
    for kind in (kind for kind in bank.scores if kind != RETRAINED):
        for name, told in faithfulness(bank, kind).items():
            yield Row(kind, f"told_by_{name}", "all", told, rest, len(bank.part))


def _of_each(bank: Bank) -> Iterator[Row]:
    """What is measured of each model alone."""
    pairs = int(np.sum((bank.part != "retained") & (bank.values > 0)))
    for kind, found in memberships(bank).items():
        estimate = statistics.mean(found, bounds=(0.0, 1.0))
        yield Row(kind, "membership", "forgotten", estimate, len(found), pairs)


def halves(n: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
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
    for name, per_pair in divergences(goal, own).items():
        found[name] = float(np.mean(per_pair))
        for percent in PERCENTILES:
            found[f"{name}_p{percent}"] = float(np.percentile(per_pair, percent))
    return found | attack(goal, own)


def divergences(goal: np.ndarray, own: np.ndarray) -> dict[str, np.ndarray]:
    """Per pair, in nats: of normal distributions, and of histograms."""
    gaussian, binned = klom()
    return {"kl": np.asarray(gaussian(goal, own)), "klom": np.asarray(binned(goal, own))}


@functools.cache
def klom() -> tuple[Callable, Callable]:
    return jax.jit(ensembles.gaussian_klom), jax.jit(ensembles.klom)


def attack(goal: np.ndarray, own: np.ndarray) -> dict[str, float]:
    """U-LiRA: can an unlearnt model be told from a retrained one, pair by pair?"""
    ratio, unlearnt = (np.asarray(x) for x in _ratios()(goal, own))
    truth = np.broadcast_to(unlearnt[:, None].astype(ratio.dtype), ratio.shape).ravel()
    flat = ratio.ravel()
    area, share = _roc()
    found = {"lira": float(area(flat, truth, np.ones(len(flat), bool)))}
    for fpr in FPRS:
        found[f"lira_tpr@{fpr:g}"] = float(share(flat, truth, fpr=fpr))
    return found


@functools.cache
def _ratios() -> Callable:
    return jax.jit(ensembles.likelihood_ratios)


@functools.cache
def _roc() -> tuple[Callable, Callable]:
    return jax.jit(labels.auc), jax.jit(labels.tpr_at_fpr, static_argnames="fpr")


def memberships(bank: Bank) -> dict[str, np.ndarray]:
    """Of each model, the chance that it scores a forgotten pair above a test pair, ``[M]``.

    Positive pairs only. The mark is what the retrained models reach: one half where both are drawn
    from the same pairs, and another number where the split or the request sets them apart.
    """
    positive = bank.values > 0
    used = positive & (bank.part != "retained")
    truth = (bank.part[used] == "forgotten").astype(np.float32)
    area = _roc()[0]
    ones = np.ones(len(truth), bool)
    return {
        kind: np.array([float(area(x, truth, ones)) for x in scores[:, used].astype(np.float32)])
        for kind, scores in bank.scores.items()
    }


def faithfulness(bank: Bank, kind: str) -> dict[str, Estimate]:
    """How well each measure of one model tells a kind from retrained models: AUC over models.

    A measure that cannot tell even the undeleted ones says nothing of any method. One half of the
    retrained models is what the measures may know (``distance``: the first of them alone), the
    other half is to be told from. The interval is DeLong's, normal.
    """
    half = len(bank.scores[RETRAINED]) // 2
    known = bank.scores[RETRAINED][:half].astype(float)
    forgotten = bank.part == judged_by(bank)
    liked = forgotten & (bank.values > 0) if (bank.values[forgotten] > 0).any() else forgotten
    mean, spread = known.mean(axis=0), np.maximum(known.std(axis=0, ddof=1), 1e-12)
    member = dict(zip((kind, RETRAINED), (memberships(bank)[k] for k in (kind, RETRAINED))))

    def measures(name: str) -> dict[str, np.ndarray]:
        scores = bank.scores[name][half:].astype(float)
        apart, away = scores - known[0], (scores - mean) / spread
        return {
            "score": scores[:, liked].mean(axis=1),
            "membership": member[name][half:],
            "distance": np.linalg.norm(apart, axis=1),
            "distance_forgotten": np.linalg.norm(apart[:, forgotten], axis=1),
            "likelihood": np.mean(away[:, forgotten] ** 2, axis=1),
        }

    own, others = measures(kind), measures(RETRAINED)
    return {name: statistics.area(own[name], others[name]) for name in own}


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
