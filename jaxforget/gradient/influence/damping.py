"""How much an influence system is damped, and solving it with as much as it needs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.gradient.influence.cg import cg
from jaxforget.gradient.vectors import dot
from jaxforget.sparse.arithmetic import ratio
from jaxforget.sparse.degrees import degrees
from jaxforget.types import Factors, ForgetSet, Interactions, Model, Solution

RAISE = 4.0  # factor by which damping grows while curvature is not positive
MAX_RAISES = 40


@checked
def degree_scale(train: Interactions, weights: Array, *, power: float) -> Factors:
    """Scales damping per row: ``max(1, remembered interactions)^power``, ``[U, 1]`` and ``[I, 1]``.

    Adam divides the gradient of a row by the root of its mean square, which grows with how often
    the row occurs: stopped early, it holds a row back like a ridge that grows with power 0.5.
    """
    return Factors(*(jnp.maximum(d, 1)[:, None] ** power for d in degrees(train, weights)))


def implied_ridge(slope: Array, params: Any, scale: Any) -> Array:
    """Finds the ridge that early stopping amounts to: ``max(0, -<p, grad L>) / <p, scale p>``.

    Among all ``L + ridge/2 <p, scale p>`` this is the one whose slope along the parameters
    vanishes where training stopped. It sees the training loss alone; 0 where that had converged.

    Args:
      slope: ``<p, grad L(p)>``.
      params: p.
      scale: pytree of positive numbers that broadcasts against ``params``.

    Example:
      >>> p = jnp.array([1.0])  # (p - 3)^2, stopped at 1 on the way to the minimum
      >>> float(implied_ridge(jnp.vdot(p, 2 * (p - 3.0)), p, p))
      4.0
    """
    size = dot(params, params, scale=scale)
    return ratio(jnp.maximum(0, -slope), size)


@checked
def settle(
    model: Model,
    params: Any,
    train: Interactions,
    forget: ForgetSet,
    *,
    damping: Any,
    power: float,
) -> tuple[Array, Any]:
    """Decides the damping from training alone.

    Neither test nor validation data nor the labels that a forgotten interaction should have had
    are looked at.

    Args:
      params: where training on ``forget.before`` stopped.
      damping: a number, or ``"auto"``: the ``implied_ridge`` of the loss of everything learnt.
      power: of the degree, in ``degree_scale``; rows are scaled where ``params`` are rows.

    Returns:
      the damping, and its scale, a pytree that broadcasts against ``params``.
    """
    if model.by_row:
        scale = degree_scale(train, forget.after, power=power)
    else:
        scale = jax.tree.map(lambda x: jnp.ones((1,) * x.ndim, x.dtype), params)
    if damping == "auto":
        return implied_ridge(_slope(model, params, train, forget.before), params, scale), scale
    return jnp.asarray(damping, jax.tree.leaves(params)[0].dtype), scale


def _slope(model: Model, params: Any, train: Interactions, weights: Array) -> Array:
    """``<params, grad L>``: how fast the loss grows as all parameters are scaled up.

    Margins are quadratic forms of the parameters: scaled by ``t`` they are ``t^2`` times what they
    were, so that one pass over the interactions is enough.
    """
    loss = model.margins
    if loss is None:
        total = (lambda p: model.loss(p, train, weights, weights), (params,), (params,))
        return jax.jvp(*total)[1]
    margins = loss.margins(params, train, weights)
    penalty = dot(params, params, scale=loss.ridges(train, weights))

    def scaled(t: Array) -> Array:
        return jnp.sum(loss.outcomes(t * t * margins, train, weights)) + t * t * penalty

    return _varying.grad(scaled)(jnp.ones((), weights.dtype))


@checked
def solve_damped(
    matvec: Callable[[Any], Any],
    rhs: Any,
    *,
    damping: Array | float,
    scale: Any,
    n_steps: int,
    tol: float,
    precondition: Callable[[Array], Callable[[Any], Any]] | None = None,
) -> tuple[Solution, Array]:
    """Runs ``cg`` with ``damping * scale``, and again with four times the damping while it fails.

    Failing is to meet curvature that is not positive. A damping of 0 goes on from a thousandth of
    the curvature along the right-hand side.

    Args:
      matvec: ``x -> A x``, symmetric.
      scale: pytree that broadcasts against ``rhs``.
      n_steps, tol: of ``cg``.
      precondition: ``damping -> (r -> M r)``.

    Returns:
      the solution, and the damping that gave it.
    """

    def attempt(damping: Array) -> Solution:
        ridge = jax.tree.map(lambda s: damping * s, scale)
        inner = None if precondition is None else precondition(damping)
        return cg(matvec, rhs, n_steps=n_steps, damping=ridge, tol=tol, precondition=inner)

    def failed(carry: tuple[Solution, Array, Array]) -> Array:
        solution, _, n = carry
        return ~(solution.min_curvature > 0) & (n < MAX_RAISES)

    def again(carry: tuple[Solution, Array, Array]) -> tuple[Solution, Array, Array]:
        _, damping, n = carry
        # behind a condition, or XLA moves this product out of the loop, which seldom runs at all
        least = _varying.cond(n == 0, floor, lambda: jnp.zeros_like(damping))
        damping = RAISE * jnp.maximum(damping, least)
        return attempt(damping), damping, n + 1

    def floor() -> Array:
        size = dot(rhs, rhs)
        return ratio(1e-3 * jnp.abs(dot(rhs, matvec(rhs))), size)

    first = jnp.asarray(damping, jax.tree.leaves(rhs)[0].dtype)
    start = (attempt(first), first, jnp.zeros((), jnp.int32))
    solution, used, _ = _varying.while_loop(failed, again, start)
    return solution, used
