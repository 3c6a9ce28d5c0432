"""Least squares for rows with fewer interactions than factors: a system of the row's own length.

``(A + Y'QY) x = Y'b`` has the solution ``x = A^-1 Y'a`` with ``(I + Q Y A^-1 Y') a = b``: for a row of
``L`` interactions ``L^2 D + L^3 / 3`` operations instead of ``L D^2 + D^3 / 3``. ``A = gram + ridge I``
differs between rows by its ridge alone, so one decomposition of the Gram serves them all.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxforget.sparse import dense

BLOCK = 16  # columns eliminated before the system is cut: fewer waste less and compile longer


class Shared(NamedTuple):
    """What rows share: ``(gram + ridge_r I)^-1 = basis diag(1 / (level + share * ridge_r)) basis'``."""

    basis: Array  # [D, D]
    level: Array  # [D]
    share: Array  # scalar


def decompose(gram: Array, ridge: Array) -> Shared:
    """Decomposes the Gram: by Cholesky where all rows have one ridge, else into eigenvectors.

    Args:
      gram: ``[D, D]`` positive semidefinite.
      ridge: ``[rows]`` > 0.
    """

    def root(gram, ridge):
        ridged = gram + ridge * jnp.eye(len(gram), dtype=gram.dtype)
        return Shared(dense.inverse_root(ridged), jnp.ones_like(gram[0]), jnp.zeros_like(ridge))

    def spectrum(gram, ridge):
        basis, level = dense.eigh(gram)
        return Shared(basis, jnp.maximum(level, 0), jnp.ones_like(ridge))  # rounding may go below 0

    return lax.cond(jnp.all(ridge == ridge[0]), root, spectrum, gram, ridge[0])


def solve(met: Array, curvature: Array, target: Array, scale: Array) -> Array:
    """Solves ``R`` rows at once, in the basis of ``Shared``.

    Args:
      met: ``[R, L, D]`` factors that each row met, times ``basis``.
      curvature: ``[R, L]`` the diagonal of ``Q``; may be negative as long as the row's matrix is
        positive definite, also without any of its last interactions; 0 for padding.
      target: ``[R, L]`` ``b``; 0 for padding.
      scale: ``[R, D]`` of ``scales``.

    Returns:
      ``[R, D]``, to be multiplied by ``scale`` and ``basis'``; exactly 0 where every target is 0.

    Example:
      >>> one = jnp.ones((1, 1))  # (1 + 2 * 3 * 3) x = 5 * 3
      >>> round(float(solve(3 * one[None], 2 * one, 5 * one, one)[0, 0]), 4)
      0.7895
    """
    white = met * scale[:, None]
    kernel = jnp.einsum("rld,rmd->lmr", white, white, precision="highest")
    system = jnp.eye(met.shape[1], dtype=met.dtype)[:, :, None] + curvature.T[:, None] * kernel
    answer = eliminate(system, target.T)
    return jnp.einsum("rld,lr->rd", white, answer, precision="highest")


def scales(shared: Shared, ridge: Array) -> Array:
    """``1 / sqrt(level + share * ridge)``: ``[R, D]`` for ridges ``[R]``."""
    return lax.rsqrt(shared.level[None] + shared.share * ridge[:, None])


def eliminate(systems: Array, rhs: Array) -> Array:
    """Solves ``R`` systems ``[L, L, R] x = [L, R]`` by elimination without pivots, all at once.

    For systems whose leading minors are all positive, as those of ``I + QK`` are: scaling by ``Q``
    makes them symmetric and positive definite, and elimination does not see such a scaling. The
    last axis runs over systems, so that every step is one vector operation for all of them.
    """
    table, done = jnp.concatenate([systems, rhs[:, None]], axis=1), []
    while len(table):
        n = min(BLOCK, len(table))
        table = lax.fori_loop(0, n, _eliminate_column, table)
        done.append(table[:n, n:])
        table = table[n:, n:]
    answer = done.pop()[:, 0]
    for rows in reversed(done):
        known = rows[:, -1] - jnp.sum(rows[:, :-1] * answer[None], axis=1)
        answer = jnp.concatenate([known, answer])
    return answer


def _eliminate_column(j, table):
    """Scales row ``j`` to a pivot of 1 and takes it off all the others."""
    row = lax.dynamic_slice_in_dim(table, j, 1, 0)
    row = row / lax.dynamic_slice_in_dim(row, j, 1, 1)
    rest = table - lax.dynamic_slice_in_dim(table, j, 1, 1) * row
    return jnp.where(jnp.arange(len(table))[:, None, None] == j, row, rest)
