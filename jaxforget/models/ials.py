"""Implicit alternating least squares: every unobserved pair is a weak negative."""

import dataclasses
from typing import Literal

from jaxforget import _checks, als
from jaxforget.als import confidence
from jaxforget.models import _als
from jaxforget.types import Model

TRACED = (
    "reg",
    "alpha",
    "bm25_b",
    "bm25_k1",
    "max_sweeps",
    "tol",
    "init_scale",
)  # may be arguments of a compiled program


def build(
    *,
    dim: int,
    reg: float,
    alpha: float,
    nu: float = 0.0,
    unobserved: float = 0.0,
    weighting: Literal["constant", "bm25"] = "constant",
    bm25_b: float = 0.9,
    bm25_k1: float = 100.0,
    max_sweeps: int = 15,
    tol: float = 0.0,
    cg_steps: int = 0,
    init_scale: float = 0.01,
    solver: Literal["als", "proximal"] = "als",
) -> Model:
    """Builds implicit ALS with the conventions of the library ``implicit``.

    ``min sum_all c (p - x.y)^2 + sum ridge |row|^2``; ``c = alpha * value`` on observed pairs
    (times its BM25 weight with ``weighting="bm25"``), 1 elsewhere. Every statistic behind a
    weight is computed from the remembered interactions, each time.

    Args:
      dim: factor dimension.
      reg: ridge penalty, > 0; see ``als.implicit`` for ``nu`` and ``unobserved``.
      alpha: confidence per unit of value, > 0.
      max_sweeps, tol: passes stop at the first of the two; ``tol`` bounds ``als.optimality``.
      cg_steps: 0 solves rows exactly; otherwise CG steps from the old row (``implicit``'s
        default is 3), which keeps a memory of whatever the old row was trained on.
      init_scale: factors start uniform in ``[0, init_scale)``.
      solver: ``"proximal"`` replaces the passes by steps of ``proximal``, which reach the one
        optimum of large ``reg`` and ``dim`` far sooner; ``tol`` then bounds their relative change.

    Raises:
      ValueError: a setting is out of range.

    Source: Hu, Koren, Volinsky, ICDM 2008; settings of Unlearn-ALS, arXiv 2302.06676.
    """
    _checks.positive("ials", dim=dim, reg=reg, alpha=alpha, init_scale=init_scale)

    def terms(train, weights, *, statistics=None):
        if weighting == "bm25":
            counted = weights if statistics is None else statistics
            values = confidence.bm25(train, counted, b=bm25_b, k1=bm25_k1)
            train = dataclasses.replace(train, values=values)
        return als.implicit(train, weights, reg=reg, alpha=alpha, nu=nu, unobserved=unobserved)

    return _als.build(
        terms,
        dim=dim,
        init_scale=init_scale,
        max_sweeps=max_sweeps,
        tol=tol,
        cg_steps=cg_steps,
        implicit=True,
        solver=solver,
    )


TOY = {"dim": 4, "reg": 1.0, "alpha": 3.0}
