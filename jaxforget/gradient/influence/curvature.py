"""Products with the Hessian of a loss, and with its Gauss-Newton part."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget.gradient.vectors import add
from jaxforget.types import Interactions


def hvp(loss: Callable, params: Any, vector: Any) -> Any:
    """Multiplies the Hessian of ``loss(params)`` with a vector: forward over reverse.

    Example:
      >>> hvp(lambda x: jnp.sum(x**3), jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0])).tolist()
      [6.0, 12.0]
    """
    return jax.jvp(jax.grad(loss), (params,), (vector,))[1]


def hessian(loss: Callable, params: Any) -> Callable:
    """Returns ``vector -> H vector``; what depends on the parameters alone is computed once."""
    return jax.linearize(jax.grad(loss), params)[1]


def gauss_newton(
    loss: Any, params: Any, train: Interactions, weights: Array, edges: Array
) -> Callable:
    """Returns ``vector -> J' diag(phi'') J vector + 2 reg vector``: positive semidefinite.

    The Hessian without the term in which the slope of the outcome meets the curvature of the
    margins; the two are equal where every outcome is flat.

    Args:
      loss: of ``jaxforget.losses``, or any with its ``margins``, ``outcomes`` and ``penalty``.

    Raises:
      ValueError: the loss does not say what it is made of.
    """
    need_margins(loss, "Gauss-Newton products")
    if hasattr(loss, "product"):  # in closed form: fewer passes than autodiff needs
        return loss.product(params, train, weights, edges, full=False)
    margins, forward = jax.linearize(lambda p: loss.margins(p, train, edges), params)
    backward = jax.linear_transpose(forward, params)
    bend = bends(loss, margins, train, weights)
    ridge = hessian(loss.penalty, params)

    def product(vector):
        return add(backward(bend * forward(vector))[0], ridge(vector))

    return product


def need_margins(loss: Any, what: str) -> None:
    """Raises a ``ValueError`` for a loss that cannot give Gauss-Newton products."""
    if not all(hasattr(loss, name) for name in ("margins", "outcomes", "penalty")):
        raise ValueError(
            f"{what} need a loss of jaxforget.losses (mf, lightgcn); this model has another: "
            'use hessian="full" with a damping of your own'
        )


def bends(loss: Any, margins: Array, train: Interactions, weights: Array) -> Array:
    """``[N]`` second derivative of each outcome in its margin."""
    slope = jax.grad(lambda m: jnp.sum(loss.outcomes(m, train, weights)))
    return jax.jvp(slope, (margins,), (jnp.ones_like(margins),))[1]


def curvature(loss: Any, params: Any, train: Interactions, weights: Array, edges: Array, *,
              kind: str) -> Callable:  # fmt: skip
    """Returns the product with the exact Hessian (``"full"``) or its Gauss-Newton part."""
    if kind == "gauss_newton":
        return gauss_newton(loss, params, train, weights, edges)
    if hasattr(loss, "product"):
        return loss.product(params, train, weights, edges, full=True)
    return hessian(lambda p: loss(p, train, weights, edges), params)
