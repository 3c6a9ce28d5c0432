"""What the released code of IFRU computes where it departs from its paper, for comparison."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget._settings import checked
from jaxforget.gradient import guard
from jaxforget.gradient.influence import region, released
from jaxforget.gradient.influence.curvature import curvature, margins_of
from jaxforget.gradient.influence.pull import forget_gradient
from jaxforget.gradient.vectors import add, norm
from jaxforget.metrics import claims
from jaxforget.types import Factors, ForgetSet, Interactions, Method, Model


class Served(NamedTuple):
    """A state that remembers its graph, for ``served_graph="old"`` alone."""

    params: Any
    edges: Array  # [N]


TRACED = ("lr",)  # may be arguments of a compiled program


@checked
def build(
    model: Model,
    *,
    lr: float,
    n_steps: int = 5000,
    patience: int | None = None,
    spillover: bool | Literal["truncated"] = "truncated",
    hessian_data: Literal["retained", "old"] = "old",
    hessian_graph: bool = False,
    served_graph: Literal["new", "old"] = "old",
    hops: int = 1,
    keep: float = 1.0,
    keep_request: bool = False,
) -> Method:
    """Builds the released IFRU: Adam on the quadratic of the old loss, without damping.

    Every departure from the paper is a setting; the defaults are the release.

    Args:
      lr: of Adam, divided by the number of remembered interactions.
      n_steps: of Adam, at most.
      patience: stop on the validation AUC once so many iterations brought nothing better (the
        release: 10; needs ``types.watch``); None: the last iterate.
      spillover: ``"truncated"``: only interactions at nodes that lost over 1 % of their degree
        pull through the changed graph; True: all; False: none. For a graph alone.
      hessian_data: whose curvature; the release keeps the deleted rows in it.
      hessian_graph: whether the curvature is seen through the graph. For a graph alone.
      served_graph: ``"old"`` serves along the graph that was trained on, which still holds the
        forgotten edges. For a graph alone.
      hops, keep, keep_request: which rows move, see ``region.chooser``.

    Raises:
      ValueError: a setting is out of range, or the model states no margins.

    Source: the code of Zhang et al., arXiv 2307.02147.
    """
    owner = "ifru_released"
    choose = region.chooser(owner, hops=hops, keep=keep, keep_request=keep_request, sizes=None)
    loss = margins_of(model, owner)
    old_graph = served_graph == "old" and loss.n_layers > 0
    # the released Hessian leaves the ridge out, and the graph too
    plain = loss.replace(reg=0.0) if hessian_graph else loss.replace(reg=0.0, n_layers=0)
    curved = model._replace(loss=plain, margins=plain)

    def step(
        params: Any, everything: Interactions, forget: ForgetSet, edges: Array
    ) -> tuple[Any, dict[str, Array]]:
        rows = choose(everything, forget)
        train, request = region.near(model, everything, forget, rows)

        def score(x: Any) -> Array:
            return released.validation_auc(model, add(params, x), everything, edges, forget.after)

        pull, spilled = _pull(model, params, train, request, spillover)
        weights = request.after if hessian_data == "retained" else request.before
        along = request.after if spillover and hessian_data == "retained" else request.before
        down, up = region.maps(rows)
        shrunk = up(down(pull))
        change, info = released.by_adam(
            curvature(curved, params, train, weights, along, kind="full"),
            shrunk,
            rows,
            lr=lr / jnp.sum(forget.before),
            n_steps=n_steps,
            patience=patience,
            score=score,
        )

        def retained(p: Any) -> Array:
            return model.loss(p, everything, forget.after, forget.after)

        new, guarded = guard.kept(retained, params, add(params, change))
        norms = {"pull_norm": norm(shrunk), "spillover_norm": norm(spilled)}
        return new, norms | info | guarded

    return _serving(model, step) if old_graph else _plain(model, step)


def _plain(model: Model, step: Callable) -> Method:
    def unlearn(
        key: Array, params: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        del key
        return step(params, train, forget, forget.after)

    return Method(model.fit, unlearn, model.factors)


def _serving(model: Model, step: Callable) -> Method:
    """The method whose state carries the graph that it was trained on."""

    def fit(key: Array, train: Interactions, weights: Array) -> tuple[Served, dict[str, Array]]:
        params, info = model.fit(key, train, weights)
        return Served(params, weights), info

    def unlearn(
        key: Array, state: Served, train: Interactions, forget: ForgetSet
    ) -> tuple[Served, dict[str, Array]]:
        del key
        new, info = step(state.params, train, forget, state.edges)
        return Served(new, state.edges), info

    def factors(state: Served, train: Interactions, weights: Array) -> Factors:
        del weights
        return model.factors(state.params, train, state.edges)

    return Method(fit, unlearn, factors)


def _pull(
    model: Model,
    params: Any,
    train: Interactions,
    request: ForgetSet,
    spillover: bool | str,
) -> tuple[Any, Any]:
    """The gradient difference, and the part of it that is spillover."""
    direct, spilled = forget_gradient(model.loss, params, train, request, margins=model.margins)
    if spillover == "truncated":
        counted = request.after * released.changed(train, request)

        def at_changed(p: Any, train: Interactions, weights: Array, edges: Array) -> Array:
            del weights
            return model.loss(p, train, counted, edges)

        _, spilled = forget_gradient(at_changed, params, train, request)
    elif not spillover:
        spilled = jax.tree.map(jnp.zeros_like, spilled)
    return add(direct, spilled), spilled


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"lr": 1.0, "n_steps": 5}
