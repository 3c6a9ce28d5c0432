"""Implicit alternating least squares: every unobserved pair is a weak negative."""

import dataclasses
from typing import Literal

from jax import Array

from jaxforget import _checks, als
from jaxforget._settings import checked
from jaxforget.als import confidence
from jaxforget.models import _als
from jaxforget.types import Interactions, Model, Terms

TRACED = (
    "reg",
    "alpha",
    "bm25_b",
    "bm25_k1",
    "max_sweeps",
    "tol",
    "init_scale",
)  # may be arguments of a compiled program


@checked
def build(
    *,
    dim: int,
    reg: float,
    alpha: float,
    nu: float = 0.0,
    unobserved: float | None = None,
    weighting: Literal["constant", "bm25"] = "constant",
    bm25_b: float | None = None,
    bm25_k1: float | None = None,
    max_sweeps: int = 15,
    tol: float = 0.0,
    cg_steps: int | None = None,
    init_scale: float = 0.01,
    solver: Literal["als", "proximal"] = "als",
) -> Model:
    """Builds implicit ALS with the conventions of the library ``implicit``.

    ``min sum_all c (p - x.y)^2 + sum ridge |row|^2``; ``c = |alpha * value|`` on observed pairs
    (times its BM25 weight with ``weighting="bm25"``), 1 elsewhere; ``p = 1`` where a value is
    positive, 0 elsewhere; the weight is never negative, and 0 for a user who has all items, or all
    but one. Every statistic behind a weight is computed from the remembered
    interactions, each time.

    Args:
      dim: factor dimension.
      reg: ridge penalty, > 0.
      alpha: confidence per unit of value, > 0.
      nu: power of a row's count in its ridge, see ``als.implicit``.
      unobserved: what an unobserved pair adds to a count, where ``nu`` is not 0; 0 if None.
      weighting: ``"bm25"`` multiplies confidences by their BM25 weight.
      bm25_b, bm25_k1: of ``confidence.bm25``; 0.9 and 100 if None.
      max_sweeps, tol: passes stop at the first of the two; ``tol`` bounds ``als.optimality``.
      cg_steps: 0 (if None) solves rows exactly; otherwise CG steps from the old row (the default
        of ``implicit`` is 3), which keeps a memory of whatever the old row was trained on.
      init_scale: factors start uniform in ``[0, init_scale)``.
      solver: ``"proximal"`` replaces the passes by steps of ``proximal``, which reach the one
        optimum of large ``reg`` and ``dim`` far sooner; ``tol`` then bounds their relative change.

    Raises:
      ValueError: a setting is out of range, or would not be read.

    Source: Hu, Koren, Volinsky, ICDM 2008; settings of Unlearn-ALS, arXiv 2302.06676.
    """
    _checks.finite("ials", nu=nu)
    _als.check("ials", dim=dim, max_sweeps=max_sweeps, tol=tol, cg_steps=cg_steps or 0)
    if weighting == "constant":
        _checks.unread("ials", 'weighting="constant"', bm25_b=bm25_b, bm25_k1=bm25_k1)
    if nu == 0:
        _checks.unread("ials", "nu=0", unobserved=unobserved)
    if solver == "proximal":
        _checks.unread("ials", 'solver="proximal"', cg_steps=cg_steps)
    b, k1 = 0.9 if bm25_b is None else bm25_b, 100.0 if bm25_k1 is None else bm25_k1
    others = 0.0 if unobserved is None else unobserved

    def terms(train: Interactions, weights: Array, *, statistics: Array | None = None) -> Terms:
        if weighting == "bm25":
            counted = weights if statistics is None else statistics
            values = confidence.bm25(train, counted, b=b, k1=k1)
            train = dataclasses.replace(train, values=values)
        return als.implicit(train, weights, reg=reg, alpha=alpha, nu=nu, unobserved=others)

    def prepare(train: Interactions) -> Interactions:
        if weighting == "bm25":
            confidence.require_counts(train)
        return train

    return _als.build(
        terms,
        dim=dim,
        init_scale=init_scale,
        max_sweeps=max_sweeps,
        tol=tol,
        cg_steps=cg_steps or 0,
        implicit=True,
        solver=solver,
        prepare=prepare,
    )


TOY = {"dim": 4, "reg": 1.0, "alpha": 3.0}
