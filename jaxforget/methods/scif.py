"""SCIF: move to where the forgotten labels would be the user's average, on the rows concerned."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.gradient.influence import problem, region, steps
from jaxforget.gradient.influence.curvature import margins_of
from jaxforget.gradient.vectors import norm
from jaxforget.metrics import claims
from jaxforget.sparse.arithmetic import ratio
from jaxforget.sparse.degrees import degrees
from jaxforget.types import Factors, ForgetSet, Interactions, MarginLoss, Method, Model

SIGNS = {"none": 0.0, "minus": -1.0, "plus": 1.0}

TRACED = ("damping", "damping_power", "tol")  # may be arguments of a compiled program


@checked
def build(
    model: Model,
    *,
    sign: Literal["none", "minus", "plus"] = "none",
    nodes: Literal["both", "users"] = "both",
    damping: float | Literal["auto"] = "auto",
    damping_power: float = 0.5,
    hessian: Literal["gauss_newton", "full"] = "gauss_newton",
    propagated: bool = True,
    n_steps: int = 100,
    tol: float = 1e-2,
    precondition: Literal["diagonal", "rows", "none"] = "diagonal",
) -> Method:
    """Builds SCIF: a step towards the loss in which each forgotten label is an average.

    ``pull = sum_forgotten [grad l(y) - grad l(y_mean)]  (+ or -)  grad L(before)``, solved on the
    users and items of the request with the curvature of everything learnt. ``y_mean`` is the mean
    label of the user's retained rows, else the item's, else of all, else 1/2: never NaN.

    Args:
      sign: of the last term. It vanishes at a minimum; after early stopping ``"minus"`` makes
        the pull a Newton step on the relabelled loss, ``"plus"`` is what the release of IFRU
        computes (away from the minimum), ``"none"`` leaves it out: an empty request then changes
        nothing.
      nodes: ``"users"`` updates the users alone, as the abstract of SCIF puts it.
      propagated: False ignores LightGCN's graph in gradient and curvature, as released; changes
        nothing for a model without a graph.
      damping, damping_power, hessian, n_steps, tol, precondition: as in ``ifru``.

    Raises:
      ValueError: a setting is out of range, or the model's loss cannot serve it. BPR reads of a
        label only whether it is positive, so that an average of likes is the like itself.

    Source: arXiv 2304.10199, in the form of the baseline of arXiv 2307.02147.
    """
    loss = margins_of(model, "scif: relabelled losses")
    if loss.draws_items:
        raise ValueError(
            "scif: a loss against drawn items (bpr) reads of a label only whether it is positive, "
            'and an average label says nothing to it: use loss="bce", or another method such as '
            "ifru"
        )
    loss = loss if propagated else loss.replace(n_layers=0)
    seen = model._replace(loss=loss, margins=loss)
    step = steps.newton(
        "scif",
        seen,
        damping=damping,
        damping_power=damping_power,
        hessian=hessian,
        n_steps=n_steps,
        tol=tol,
        precondition=precondition,
    )

    def unlearn(
        key: Array, params: Factors, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        del key
        rows = region.of_request(train, forget)
        if nodes == "users":
            rows = rows._replace(items=jnp.zeros_like(rows.items))
        inside = rows.down(_pull(loss, params, train, forget, SIGNS[sign]))
        stated = problem.state(seen, params, train, forget, region=rows, curved="old")
        change, info = step(stated._replace(pull=inside))
        new, guarded = problem.move(stated, change)
        return new, {"pull_norm": norm(inside)} | info | guarded

    return Method(model.fit, unlearn, model.factors)


def _pull(
    loss: MarginLoss, params: Factors, train: Interactions, forget: ForgetSet, sign: float
) -> Factors:
    """What the average labels change in the gradient, and ``sign`` times the old gradient."""
    labels = dataclasses.replace(train, values=mean_labels(train, forget))

    def pulled(p: Factors) -> Array:
        margins = loss.margins(p, train, forget.before)
        gone = forget.before - forget.after
        old, new = (jnp.sum(loss.outcomes(margins, t, gone)) for t in (train, labels))
        return old - new + sign * loss(p, train, forget.before, forget.before)

    return _varying.grad(pulled)(params)


def mean_labels(train: Interactions, forget: ForgetSet) -> Array:
    """``[N]`` mean retained label of the user, else of the item, else of all, else 1/2."""
    counts = degrees(train, forget.after)
    sums = degrees(train, forget.after * train.values)
    total = jnp.sum(forget.after)
    overall = ratio(jnp.sum(forget.after * train.values), total, otherwise=0.5)
    by_user, by_item = (ratio(s, n) for s, n in zip(sums, counts))
    of_item = jnp.where(counts[1] > 0, by_item, overall)[train.items]
    return jnp.where(counts[0][train.users] > 0, by_user[train.users], of_item)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"damping": 1.0}
