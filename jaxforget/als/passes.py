"""Passes of alternating least squares: one side, both sides, and passes until a residual is small."""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget.als import row_steps, rows
from jaxforget.als.objectives import cost, gram, implicit, optimality
from jaxforget.types import Factors, Interactions, Terms


def solve_rows(
    fixed: Array, train: Interactions, weights: Array, *, by: str, reg: float, alpha: float
) -> Array:
    """Solves every row of one side exactly: an exact half-sweep, and the fold-in of new users.

    Args:
      fixed: ``[I, D]`` item factors for ``by="user"``, ``[U, D]`` for ``by="item"``.

    Returns:
      ``[U, D]`` or ``[I, D]``; depends on ``fixed`` alone, never on the rows' old values.
    """
    return half_sweep(fixed, train, implicit(train, weights, reg=reg, alpha=alpha), by=by)


@functools.partial(jax.jit, static_argnames=("by", "cg_steps"))
def half_sweep(
    fixed: Array,
    train: Interactions,
    terms: Terms,
    *,
    by: str,
    cg_steps: int = 0,
    start: Array | None = None,
) -> Array:
    """Minimises the objective over one side: exactly, or by ``cg_steps`` CG steps from ``start``."""
    ridge = terms.ridge_users if by == "user" else terms.ridge_items
    unseen = terms.unobserved * gram(fixed)  # what the pairs without an interaction add
    system = (terms.curvature, terms.target, ridge, unseen, train, fixed)
    if cg_steps:
        return row_steps.conjugate_gradients(*system, start, by=by, n_steps=cg_steps)
    return rows.cholesky(*system, by=by)


def sweep(
    factors: Factors, train: Interactions, weights: Array, *, reg: float, alpha: float
) -> Factors:
    """One exact pass of implicit ALS: users first, then items."""
    return alternate(factors, train, implicit(train, weights, reg=reg, alpha=alpha))


def run(
    factors: Factors,
    train: Interactions,
    weights: Array,
    *,
    n_sweeps: int,
    reg: float,
    alpha: float,
) -> tuple[Factors, dict[str, Array]]:
    """Runs ``n_sweeps`` exact passes of implicit ALS; ``descend`` stops on a residual instead."""
    terms = implicit(train, weights, reg=reg, alpha=alpha)
    return descend(factors, train, terms, max_sweeps=n_sweeps)


@functools.partial(jax.jit, static_argnames="cg_steps")
def descend(
    factors: Factors,
    train: Interactions,
    terms: Terms,
    *,
    max_sweeps: int,
    tol: float = 0.0,
    cg_steps: int = 0,
) -> tuple[Factors, dict[str, Array]]:
    """Sweeps until the optimality residual is at most ``tol``, or for ``max_sweeps`` passes.

    With exact rows the items' part of the residual is 0 after every pass, and only the items of
    ``factors`` matter at the start.

    Returns:
      the factors, and ``sweeps``, ``residual``, ``objective`` as reached.
    """

    def unfinished(carry):
        _, residual, n = carry
        return (n < max_sweeps) & ~(residual <= tol)  # NaN goes on, and is seen in the end

    def measure(factors):
        return optimality(factors, train, terms)

    def watched(factors):  # nobody asks for the residual of a pass that cannot be the last
        unknown = jnp.full((), jnp.inf, factors.users.dtype)
        return lax.cond(tol > 0, measure, lambda _: unknown, factors)

    def step(carry):
        factors, _, n = carry
        factors = alternate(factors, train, terms, cg_steps=cg_steps)
        return factors, watched(factors), n + 1

    start = (factors, watched(factors), jnp.zeros((), jnp.int32))
    factors, residual, n = lax.while_loop(unfinished, step, start)
    residual = lax.cond(tol > 0, lambda _: residual, measure, factors)
    info = {"sweeps": n, "residual": residual, "objective": cost(factors, train, terms)}
    return factors, info


def alternate(factors: Factors, train: Interactions, terms: Terms, *, cg_steps: int = 0) -> Factors:
    """Takes one pass over any ALS objective: users first, then items."""
    users, items = factors
    users = half_sweep(items, train, terms, by="user", cg_steps=cg_steps, start=users)
    items = half_sweep(users, train, terms, by="item", cg_steps=cg_steps, start=items)
    return Factors(users, items)
