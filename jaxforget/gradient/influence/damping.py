"""How much an influence system is damped, and solving it with as much as it needs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget.gradient.influence.cg import cg
from jaxforget.gradient.influence.curvature import need_margins
from jaxforget.gradient.vectors import dot
from jaxforget.sparse.degrees import degrees
from jaxforget.types import Factors, ForgetSet, Interactions, Model, Solution

RAISE = 4.0  # factor by which damping grows while curvature is not positive

MAX_RAISES = 40


def degree_scale(train: Interactions, weights: Array, *, power: float) -> Factors:
    """Scales damping per row: ``max(1, remembered interactions)^power``, ``[U, 1]`` and ``[I, 1]``.

    Adam divides a row's pull by the root of its mean square, which grows with how often the row is
    met: stopped early, it holds a row back like a ridge that grows with ``power = 0.5``.
    """
    return Factors(*(jnp.maximum(d, 1)[:, None] ** power for d in degrees(train, weights)))


def implied_ridge(slope: Array, params: Any, scale: Any) -> Array:
    """Finds the ridge that early stopping amounts to: ``max(0, -<p, grad L>) / <p, scale p>``.

    Among all ``L + ridge/2 <p, scale p>`` this is the one whose slope along the parameters
    vanishes where training stopped. It sees the training loss alone; 0 where that had converged.

    Args:
      slope: ``<p, grad L(p)>``.

    Example:
      >>> p = jnp.array([1.0])  # (p - 3)^2, stopped at 1 on the way to the minimum
      >>> float(implied_ridge(jnp.vdot(p, 2 * (p - 3.0)), p, p))
      4.0
    """
    size = dot(params, params, scale=scale)
    return jnp.maximum(0, -slope) / jnp.where(size > 0, size, 1)


def solve(matvec: Callable, rhs: Any, *, damping: Array, scale: Any, n_steps: int, tol: float,
          precondition: Callable | None = None) -> tuple[Solution, Array]:  # fmt: skip
    """Runs ``cg`` with ``damping * scale``, and again with four times the damping while it fails.

    Failing is to meet curvature that is not positive. A damping of 0 goes on from a thousandth of
    the curvature along the right-hand side.

    Args:
      scale: pytree that broadcasts against ``rhs``.
      precondition: ``damping -> (r -> M r)``.

    Returns:
      the solution, and the damping that gave it.
    """

    def attempt(damping):
        ridge = jax.tree.map(lambda s: damping * s, scale)
        inner = None if precondition is None else precondition(damping)
        return cg(matvec, rhs, n_steps=n_steps, damping=ridge, tol=tol, precondition=inner)

    def failed(carry):
        found, _, n = carry
        return ~(found.min_curvature > 0) & (n < MAX_RAISES)

    def again(carry):
        _, damping, n = carry
        # a product that only a first failure needs: out of a condition nothing is hoisted
        least = lax.cond(n == 0, floor, lambda: jnp.zeros_like(damping))
        damping = RAISE * jnp.maximum(damping, least)
        return attempt(damping), damping, n + 1

    def floor():
        size = dot(rhs, rhs)
        return 1e-3 * jnp.abs(dot(rhs, matvec(rhs))) / jnp.where(size > 0, size, 1)

    damping = jnp.asarray(damping, jax.tree.leaves(rhs)[0].dtype)
    found, damping, _ = lax.while_loop(
        failed, again, (attempt(damping), damping, jnp.zeros((), jnp.int32))
    )
    return found, damping


class System(NamedTuple):
    """Settings of the linear system and of its solution."""

    hessian: str  # "gauss_newton" or "full"
    damping: Any  # a number or "auto"
    power: float  # of the degree, in the damping of a row
    n_steps: int
    tol: float
    precondition: str  # "diagonal", "rows" or "none"


def check(system: System, model: Model, name: str) -> None:
    """Raises a ``ValueError`` for settings that are out of range or that the model cannot serve."""
    choices = {"hessian": ("gauss_newton", "full"), "precondition": ("diagonal", "rows", "none")}
    for setting, known in choices.items():
        if (got := getattr(system, setting)) not in known:
            raise ValueError(f"{name}: {setting} must be one of {', '.join(known)}; got {got!r}")
    if system.damping != "auto" and not (
        isinstance(system.damping, (int, float)) and system.damping >= 0
    ):
        raise ValueError(f'{name}: damping must be 0 or more, or "auto"; got {system.damping!r}')
    if system.hessian == "gauss_newton" or system.precondition != "none":
        need_margins(model.loss, f"{name}: {system.hessian}, preconditioning {system.precondition}")


def settle(system: System, loss: Any, params: Any, train: Interactions,
           forget: ForgetSet) -> tuple[Array, Any]:  # fmt: skip
    """Decides the damping: ``(damping, scale)``, from training alone.

    ``"auto"`` is ``damping.implied_ridge`` of the loss of everything learnt, where the old
    training stopped. Neither test nor validation data nor the labels that a forgotten interaction
    should have had are looked at.
    """
    if not isinstance(params, Factors):
        scale = jax.tree.map(lambda x: jnp.ones((1,) * x.ndim, x.dtype), params)
    else:
        scale = degree_scale(train, forget.after, power=system.power)
    if system.damping == "auto":
        return implied_ridge(_along(loss, params, train, forget.before), params, scale), scale
    return jnp.asarray(system.damping, jax.tree.leaves(params)[0].dtype), scale


def _along(loss, params, train, weights):
    """``<params, grad L>``; margins are of second degree, so a look at them is enough."""
    one = jnp.ones((), weights.dtype)
    if hasattr(loss, "margins"):
        margins, penalty = loss.margins(params, train, weights), loss.penalty(params)

        def of(t):
            return jnp.sum(loss.outcomes(t * t * margins, train, weights)) + t * t * penalty

        return jax.grad(of)(one)
    return jax.jvp(lambda p: loss(p, train, weights, weights), (params,), (params,))[1]
