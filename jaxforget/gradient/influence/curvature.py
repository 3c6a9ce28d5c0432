"""Products with the Hessian of a loss, and with its Gauss-Newton part."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from jaxforget import _varying
from jaxforget.types import Interactions, MarginLoss, Model

KINDS = ("gauss_newton", "full")


def hvp(loss: Callable[[Any], Array], params: Any, vector: Any) -> Any:
    """Multiplies the Hessian of ``loss(params)`` with a vector: forward over reverse.

    Example:
      >>> import jax.numpy as jnp
      >>> hvp(lambda x: jnp.sum(x**3), jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0])).tolist()
      [6.0, 12.0]
    """
    return jax.jvp(_varying.grad(loss), (params,), (vector,))[1]


def hessian(loss: Callable[[Any], Array], params: Any) -> Callable[[Any], Any]:
    """Returns ``vector -> H vector``; what depends on the parameters alone is computed once."""
    return jax.linearize(_varying.grad(loss), params)[1]


def gauss_newton(
    loss: MarginLoss, params: Any, train: Interactions, weights: Array, edges: Array
) -> Callable[[Any], Any]:
    """Returns ``vector -> J' diag(phi'') J vector + 2 reg vector``: positive semidefinite.

    The Hessian without the term in which the slope ``phi'`` of an outcome meets the curvature of
    its margin; the two are equal where every outcome is flat. ``J`` is the Jacobian of the margins.

    Args:
      loss: of ``gradient.losses``, or another ``types.MarginLoss``.
      weights, edges: ``[N]``, as in ``Model.loss``.
    """
    return loss.product(params, train, weights, edges, full=False)


def curvature(
    model: Model, params: Any, train: Interactions, weights: Array, edges: Array, *, kind: str
) -> Callable[[Any], Any]:
    """Returns the product with the Hessian of a model's loss (``"full"``) or Gauss-Newton's part.

    Raises:
      ValueError: Gauss-Newton for a model that does not state its margins.
    """
    if kind == "gauss_newton":
        return gauss_newton(margins_of(model, "Gauss-Newton"), params, train, weights, edges)
    if model.margins is not None:
        return model.margins.product(params, train, weights, edges, full=True)
    return hessian(lambda p: model.loss(p, train, weights, edges), params)


def margins_of(model: Model, what: str) -> MarginLoss:
    """The margins of a model's loss.

    Raises:
      ValueError: the model states none; ``what`` says in the message what needs them.
    """
    if model.margins is None:
        raise ValueError(
            f"{what} needs a model that states the margins of its loss (mf, lightgcn; "
            'types.MarginLoss); this one does not: use hessian="full" with precondition="none", '
            "or another method"
        )
    return model.margins
