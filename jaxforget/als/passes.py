"""Passes of alternating least squares: over one side, over both, and until a residual is small."""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.als import row_steps, rows
from jaxforget.als.objectives import cost, gram, implicit, optimality
from jaxforget.types import Factors, Interactions, Terms


@checked
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
    """Minimises the objective of ``terms`` over the rows of one side.

    Args:
      fixed: ``[I, D]`` item factors for ``by="user"``, ``[U, D]`` for ``by="item"``.
      train: the interactions.
      terms: the objective.
      by: ``"user"`` or ``"item"``, the side that is solved for.
      cg_steps: 0 solves every row exactly; otherwise CG steps from ``start``.
      start: ``[rows, D]``, read by CG only.

    Returns:
      ``[U, D]`` or ``[I, D]``.

    Raises:
      ValueError: ``cg_steps`` without ``start``.
    """
    ridge = terms.ridge_users if by == "user" else terms.ridge_items
    everywhere = terms.unobserved * gram(fixed)  # what all pairs add, observed or not
    system = (terms.curvature, terms.target, ridge, everywhere, train, fixed)
    if not cg_steps:
        return rows.solve_exactly(*system, by=by)
    if start is None:
        raise ValueError(f"{cg_steps} CG steps need the rows to start from: give start")
    return row_steps.conjugate_gradients(*system, start, by=by, n_steps=cg_steps)


@checked
def sweep(
    factors: Factors, train: Interactions, weights: Array, *, reg: float, alpha: float
) -> Factors:
    """One exact pass of implicit ALS: users first, then items."""
    return alternate(factors, train, implicit(train, weights, reg=reg, alpha=alpha))


@checked
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
    """Takes passes until the optimality residual is at most ``tol``, or ``max_sweeps`` of them.

    Args:
      factors: the start. With exact rows only its items matter: the users are solved first.
      train: the interactions.
      terms: the objective.
      max_sweeps: most passes.
      tol: of ``optimality``; 0 takes all passes, and computes the residual once, at the end.
      cg_steps: as in ``half_sweep``.

    Returns:
      the factors, and ``sweeps``, ``residual``, ``objective`` as reached.
    """

    def unfinished(carry):
        _, residual, n = carry
        return (n < max_sweeps) & ~(residual <= tol)  # after a NaN too: info reports it

    def measure(factors):
        return optimality(factors, train, terms)

    def measure_if_needed(factors):  # without a tolerance no residual decides anything
        unknown = jnp.full((), jnp.inf, factors.users.dtype)
        return _varying.cond(tol > 0, measure, lambda _: unknown, factors)

    def step(carry):
        factors, _, n = carry
        factors = alternate(factors, train, terms, cg_steps=cg_steps)
        return factors, measure_if_needed(factors), n + 1

    start = (factors, measure_if_needed(factors), jnp.zeros((), jnp.int32))
    factors, residual, n = _varying.while_loop(unfinished, step, start)
    residual = _varying.cond(tol > 0, lambda _: residual, measure, factors)
    info = {"sweeps": n, "residual": residual, "objective": cost(factors, train, terms)}
    return factors, info


@checked
def alternate(factors: Factors, train: Interactions, terms: Terms, *, cg_steps: int = 0) -> Factors:
    """Takes one pass over any ALS objective: users first, then items."""
    users, items = factors
    users = half_sweep(items, train, terms, by="user", cg_steps=cg_steps, start=users)
    items = half_sweep(users, train, terms, by="item", cg_steps=cg_steps, start=items)
    return Factors(users, items)
