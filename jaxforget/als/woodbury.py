"""Solves rows with fewer interactions than factors in systems of the length of their history.

By the Woodbury identity ``(A + Y'QY) x = Y'b`` has the solution ``x = A^-1 Y'a`` with
``(I + Q Y A^-1 Y') a = b``. For a row of ``L`` interactions that takes ``L^2 D + L^3 / 3``
operations instead of ``L D^2 + D^3 / 3``. ``A = gram + ridge I`` differs between rows by its ridge
alone, so that one decomposition of the Gram matrix serves them all.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _varying
from jaxforget.sparse import dense

# Columns that elimination takes between two cuts of the table to what is left of it. A smaller
# number does less work on columns that are done, and takes longer to compile.
BLOCK = 16


class Shared(NamedTuple):
    """What the rows share of ``(gram + ridge_r I)^-1``.

    It equals ``basis diag(1 / (level + share * ridge_r)) basis'`` for every row ``r``.
    """

    basis: Array  # [D, D]
    level: Array  # [D]
    share: Array  # scalar, 1 with eigenvectors; 0 where the one ridge of all rows is in the basis


def decompose(gram: Array, ridge: Array) -> Shared:
    """Decomposes the Gram matrix: by Cholesky if all rows have one ridge, else into eigenvectors.

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

    return _varying.cond(jnp.all(ridge == ridge[0]), root, spectrum, gram, ridge[0])


def solve_short_rows(history: Array, curvature: Array, target: Array, scale: Array) -> Array:
    """Solves ``R`` rows at once, in the basis of ``Shared``.

    Args:
      history: ``[R, L, D]`` factors of the other side at each row's interactions, times ``basis``.
      curvature: ``[R, L]`` the diagonal of ``Q``; may be negative as long as the row's matrix is
        positive definite, also without any of its last interactions; 0 for padding.
      target: ``[R, L]`` ``b``; 0 for padding.
      scale: ``[R, D]`` of ``scales``.

    Returns:
      ``[R, D]``, to be multiplied by ``scale`` and ``basis'``; exactly 0 where every target is 0.

    Example:
      >>> one = jnp.ones((1, 1))  # (1 + 2 * 3 * 3) x = 5 * 3
      >>> round(float(solve_short_rows(3 * one[None], 2 * one, 5 * one, one)[0, 0]), 4)
      0.7895
    """
    white = history * scale[:, None]  # so that white white' = Y A^-1 Y'
    kernel = jnp.einsum("rld,rmd->lmr", white, white, precision="highest")
    eye = jnp.eye(history.shape[1], dtype=history.dtype)[:, :, None]
    coefficients = eliminate(eye + curvature.T[:, None] * kernel, target.T)
    return jnp.einsum("rld,lr->rd", white, coefficients, precision="highest")


def scales(shared: Shared, ridge: Array) -> Array:
    """``1 / sqrt(level + share * ridge)``: ``[R, D]`` for ridges ``[R]``."""
    return lax.rsqrt(shared.level[None] + shared.share * ridge[:, None])


def eliminate(systems: Array, rhs: Array) -> Array:
    """Solves ``R`` systems by Gaussian elimination without pivoting, all at once.

    The last axis runs over systems, so that every step is one vector operation for all of them.

    Args:
      systems: ``[L, L, R]``, all leading minors positive. Those of ``I + QK`` are: they are ratios
        of the determinants of a row's matrix with its first interactions only and with none.
      rhs: ``[L, R]``.

    Returns:
      ``[L, R]``.
    """
    table, done = jnp.concatenate([systems, rhs[:, None]], axis=1), []
    while len(table):
        n = min(BLOCK, len(table))
        table = _varying.fori_loop(0, n, _eliminate_column, table)
        done.append(table[:n, n:])
        table = table[n:, n:]
    solution = done.pop()[:, 0]
    for block in reversed(done):  # back substitution; the last column is the right-hand side
        above = block[:, -1] - jnp.sum(block[:, :-1] * solution[None], axis=1)
        solution = jnp.concatenate([above, solution])
    return solution


def _eliminate_column(j: Array, table: Array) -> Array:
    """Scales equation ``j`` to a pivot of 1 and subtracts multiples of it from all the others."""
    row = lax.dynamic_slice_in_dim(table, j, 1, 0)
    row = row / lax.dynamic_slice_in_dim(row, j, 1, 1)
    rest = table - lax.dynamic_slice_in_dim(table, j, 1, 1) * row
    return jnp.where(jnp.arange(len(table))[:, None, None] == j, row, rest)
