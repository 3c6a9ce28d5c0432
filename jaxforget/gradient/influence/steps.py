"""Steps towards retraining: a linear solve, a flow, a replay."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget.gradient.influence import damping as damp
from jaxforget.gradient.influence import flow, replay
from jaxforget.gradient.influence.curvature import curvature, gauss_newton
from jaxforget.gradient.influence.damping import System
from jaxforget.gradient.influence.precondition import preconditioner
from jaxforget.gradient.influence.region import Region, _chosen, maps
from jaxforget.gradient.vectors import dot
from jaxforget.metrics.labels import label_auc
from jaxforget.types import ForgetSet, Interactions, Model, Watched


def solve(system: System, loss: Any, params: Any, train: Interactions, weights: Array,
          edges: Array, pull: Any, damping: Array, scale: Any,
          region: Region | None) -> tuple[Any, dict[str, Array]]:  # fmt: skip
    """Solves ``(H + damping scale) x = pull`` on the region by ``damping.solve``.

    Returns:
      the step, zero outside the region, and ``damping`` (as used), ``residual``, ``iterations``,
      ``min_curvature`` (0 where the pull is 0 and no curvature was met).
    """
    product = curvature(loss, params, train, weights, edges, kind=system.hessian)
    down, up = maps(region)
    precondition = None
    if system.precondition != "none":
        rows = preconditioner(system.precondition, loss, params, train, weights, edges)

        def precondition(used):
            whole = rows(jax.tree.map(lambda s: used * s, scale))
            return lambda r: down(whole(up(r)))

    found, damping = damp.solve(
        lambda x: down(product(up(x))), down(pull), damping=damping,
        scale=scale if region is None or region.rows is None else down(scale), n_steps=system.n_steps, tol=system.tol,
        precondition=precondition,
    )  # fmt: skip
    low = jnp.where(jnp.isfinite(found.min_curvature), found.min_curvature, 0)
    info = {"damping": damping, "residual": found.residual, "iterations": found.iterations,
            "min_curvature": low}  # fmt: skip
    return up(found.x), info


def follow(system: System, loss: Any, params: Any, everything: tuple[Interactions, Array],
           train: Interactions, weights: Array, edges: Array, pull: Any, damping: Array, scale: Any,
           region: Region | None) -> tuple[Any, dict[str, Array]]:  # fmt: skip
    """Lets the pull act for as long as the old training lasted; see ``flow.run``.

    Args:
      everything: the interactions and weights of the old training, from which its duration is read.
      damping, scale: as ``settle`` gives them.

    Returns:
      the step, zero outside the region, and ``damping`` with what ``flow.run`` tells.
    """
    known, before = everything
    old = curvature(loss, params, known, before, before, kind=system.hessian)
    size = dot(params, params, scale=scale)
    bend = dot(params, old(params)) / jnp.where(size > 0, size, 1)
    product = curvature(loss, params, train, weights, edges, kind=system.hessian)
    down, up = maps(region)
    x, info = flow.run(
        lambda x: down(product(up(x))), down(pull), start=down(params), n_steps=system.n_steps,
        scale=scale if region is None or region.rows is None else _chosen(scale, region),
        duration=flow.duration(damping, bend),
    )  # fmt: skip
    return up(x), {"damping": damping} | info


def replayed(loss: Any, params: Any, train: Interactions, forget: ForgetSet, along: Array, scale: Any,
             region: Region | None, *, origin: float, n_steps: int) -> tuple[Any, dict[str, Array]]:  # fmt: skip
    """Replays the training with the request and without, ``along`` the graph; see ``replay.run``."""
    bend = gauss_newton(loss, params, train, forget.before, forget.before)

    def gradient(weights, edges):
        return lambda p: jax.grad(loss)(p, train, weights, edges)

    old, new = gradient(forget.before, forget.before), gradient(forget.after, along)
    down, up = maps(region)
    change, info = replay.run(
        old, new, params, scale=scale, top=flow.largest(bend, scale=scale, start=params), origin=origin,
        n_steps=n_steps, within=lambda x: up(down(x)),
    )  # fmt: skip

    # compiled apart, equal gradients may differ in a bit: an empty request moves nothing at all
    asked = jnp.any(forget.before != forget.after)
    return jax.tree.map(lambda x: jnp.where(asked, x, 0), change), info


def judge(model: Model, params: Any, train: Interactions, edges: Array) -> Array:
    """Validation AUC of what is served along ``edges``: only released recipes look at it.

    Raises:
      ValueError: the training interactions bring no validation data.
    """
    if not isinstance(train, Watched):
        raise ValueError(
            "stopping on validation needs validation interactions: call types.watch(train, valid) "
            "first, or set patience=None"
        )
    return label_auc(model.factors(params, train, edges), train.valid)
