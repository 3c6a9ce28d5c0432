"""Improves all rows of one side by a few conjugate-gradient steps, the other side held fixed."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.sparse.arithmetic import ratio, times
from jaxforget.sparse.kernels import sddmm, spmm
from jaxforget.types import Interactions


@checked
def conjugate_gradients(
    curvature: Array,
    target: Array,
    ridge: Array,
    gram: Array,
    train: Interactions,
    fixed: Array,
    start: Array,
    *,
    by: str,
    n_steps: int,
    add_up: Callable[[Array], Array] = lambda part: part,
) -> Array:
    """Takes ``n_steps`` CG steps on every row's system of ``rows.solve_exactly``, from ``start``.

    All rows step together: one spmm, one sddmm and one dense product per step. A row whose targets
    are all 0 becomes exactly 0. The result depends on ``start``, hence on whatever ``start`` was
    trained on: for a deletion claim solve exactly.

    Args:
      curvature, target, ridge, gram, train, fixed, by: as in ``rows.solve_exactly``.
      start: ``[rows, D]``.
      n_steps: at least 1.
      add_up: of what the interactions contribute to the rows, where others hold more of them: the
        sum over the devices of a mesh.

    Returns:
      ``[rows, D]``. Its derivative is that of the steps taken, in ``start`` too.

    Source: Takacs, Pilaszy, Tikk, RecSys 2011.
    """

    def pair(x):
        return (x, fixed) if by == "user" else (fixed, x)

    def dense_product(x):  # with the part of the matrices that does not depend on interactions
        return times(x, gram) + ridge[:, None] * x

    def weighted_scores(x):
        return curvature * sddmm(train, *pair(x))

    def sparse_product(values):
        return add_up(spmm(train, values, fixed, by=by))

    def sum_per_row(values):
        ones = jnp.ones((len(fixed), 1), fixed.dtype)
        return add_up(spmm(train, values, ones, by=by)[:, 0])

    def step(_, carry):
        x, r, p, squares = carry
        product = dense_product(p) + sparse_product(weighted_scores(p))
        length = _quotient(squares, jnp.sum(p * product, axis=1))
        x, r = x + length * p, r - length * product
        squares, old = unless_converged(jnp.sum(r * r, axis=1)), squares
        return x, r, r + _quotient(squares, old) * p, squares

    start = jnp.where(sum_per_row(jnp.abs(target))[:, None] > 0, start, 0)
    # b - A x, with the two sparse products in one
    residual = sparse_product(target - weighted_scores(start)) - dense_product(start)
    size = jnp.sum(residual * residual, axis=1)
    level = (jnp.finfo(fixed.dtype).eps ** 2 * size).astype(fixed.dtype)

    def unless_converged(squares):
        """0 where only rounding is left: steps along it are noise, and their derivatives NaN."""
        return jnp.where(squares > level, squares, 0)

    x, _, p, squares = _varying.fori_loop(0, n_steps - 1, step, (start, residual, residual, size))
    # The last step needs p' A p, but neither A p nor a new residual: one product of D columns less.
    scores = sddmm(train, *pair(p))
    bend = jnp.sum(p * dense_product(p), axis=1) + sum_per_row(curvature * scores**2)
    return x + _quotient(squares, bend) * p


def _quotient(squares: Array, divisor: Array) -> Array:
    """``[rows, 1]`` step lengths; 0 for a row that has converged."""
    return ratio(squares, jnp.where(squares > 0, divisor, 0), otherwise=0)[:, None]
