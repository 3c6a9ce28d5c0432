"""What a request pulls at the parameters: a difference of gradients."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _varying
from jaxforget.gradient.vectors import dot
from jaxforget.types import ForgetSet, Interactions, Loss, MarginLoss


def forget_gradient(
    loss: Loss,
    params: Any,
    train: Interactions,
    forget: ForgetSet,
    *,
    margins: MarginLoss | None = None,
) -> tuple[Any, Any]:
    """Splits what a request pulls at the parameters into direct and spillover influence.

    ``direct = grad L(before, G) - grad L(after, G)``: the forgotten interactions themselves, and
    what they add to the ridges of their rows;
    ``spillover = grad L(after, G) - grad L(after, G')``: the others, seen through the new graph.
    Their sum telescopes to ``grad L(before, G) - grad L(after, G')``.

    Args:
      loss: as ``Model.loss``: ``(params, train, weights, edges) -> scalar sum``.
      margins: the same loss by its margins, where it has some (``Model.margins``): the direct
        part is then one gradient, and spillover is computed only where there is a graph.

    Returns:
      ``(direct, spillover)`` like ``params``; exactly 0 for an empty request.
    """
    before, after = forget
    if margins is None:
        direct, spillover = _steps(
            loss, params, train, forget, (before, before, after), (before, after, after)
        )
        return direct, spillover

    changed = jnp.any(before != after)
    ridges = (margins.ridges(train, weights) for weights in forget)
    eased = jax.tree.map(lambda old, new: jnp.where(changed, old - new, 0), *ridges)

    def gone(p: Any) -> Array:
        outcomes = margins.difference(margins.margins(p, train, before), train, forget)
        return jnp.sum(outcomes) + dot(p, p, scale=eased)

    direct = _varying.grad(gone)(params)
    if margins.n_layers == 0:
        return direct, jax.tree.map(jnp.zeros_like, direct)
    return direct, _steps(loss, params, train, forget, (before, after), (after, after))[0]


def _steps(
    loss: Loss,
    params: Any,
    train: Interactions,
    forget: ForgetSet,
    edges: tuple[Array, ...],
    weights: tuple[Array, ...],
) -> list[Any]:
    """Differences of consecutive gradients; 0 for an empty request.

    The gradients are taken by one loop body, so that equal inputs give equal bits.
    """
    gradients = lax.map(
        lambda stage: _varying.grad(loss)(params, train, stage[1], stage[0]),
        (jnp.stack(edges), jnp.stack(weights)),
    )
    changed = jnp.any(forget.before != forget.after)
    return [
        jax.tree.map(lambda g, k=k: jnp.where(changed, g[k] - g[k + 1], 0), gradients)
        for k in range(len(edges) - 1)
    ]
