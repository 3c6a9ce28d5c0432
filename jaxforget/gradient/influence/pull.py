"""What a request pulls at the parameters: a difference of gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxforget.types import ForgetSet, Interactions


def forget_gradient(
    loss: Callable, params: Any, train: Interactions, forget: ForgetSet
) -> tuple[Any, Any]:
    """Splits what a request pulls at the parameters into direct and spillover influence.

    ``direct = grad L(before, G) - grad L(after, G)``: the forgotten interactions themselves;
    ``spillover = grad L(after, G) - grad L(after, G')``: the others, seen through the new graph.
    Their sum telescopes to ``grad L(before, G) - grad L(after, G')``.

    Args:
      loss: as ``Model.loss``: ``(params, train, weights, edges) -> scalar sum``.

    Returns:
      ``(direct, spillover)`` like ``params``; exactly 0 for an empty request.
    """
    asked = jnp.any(forget.before != forget.after)

    def along(edges, weights):
        return jax.grad(loss)(params, train, weights, edges)

    def steps(edges, weights):  # one body for all stages: equal inputs give equal bits
        found = lax.map(lambda stage: along(*stage), (jnp.stack(edges), jnp.stack(weights)))
        return [
            jax.tree.map(lambda g, k=k: jnp.where(asked, g[k] - g[k + 1], 0), found)
            for k in range(len(edges) - 1)
        ]

    before, after = forget
    if not hasattr(loss, "difference"):
        return tuple(steps((before, before, after), (before, after, after)))
    direct = jax.grad(
        lambda p: jnp.sum(loss.difference(loss.margins(p, train, before), train, forget))
    )(params)
    if loss.n_layers == 0:
        return direct, jax.tree.map(jnp.zeros_like, direct)
    return direct, steps((before, after), (after, after))[0]
