"""Block Lanczos with full reorthogonalisation, and what a run proves about the top eigenvalue."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _varying

NEGLIGIBLE = 1e-10  # what is left of a column, relative to the column, that is rounding


def krylov(matmat: Callable[[Array], Array], start: Array, *, steps: int) -> tuple[Array, Array]:
    """Builds an orthonormal basis of ``span(S, AS, ..., A^(steps-1) S)`` for a symmetric ``A``.

    Args:
      matmat: ``[n, b] -> [n, b]``, the product with ``A``.
      start: ``[n, b]`` the block S.
      steps: at least 1.

    Returns:
      ``(basis [n, steps * b], small = basis' A basis)``. Once the space is exhausted the columns
      of the basis are zero. Every block is orthogonalised three times against all earlier ones.

    Example:
      >>> basis, small = krylov(lambda x: 3.0 * x, jnp.eye(4, 1), steps=2)
      >>> jnp.abs(basis).T.tolist(), float(small[0, 0])
      ([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], 3.0)
    """
    n, width = start.shape
    basis = jnp.zeros((n, steps * width), start.dtype)

    def step(k, carry):
        basis, products, block = carry
        block = extension(block, basis)
        product = matmat(block)
        corner = (0, k * width)
        basis = lax.dynamic_update_slice(basis, block, corner)
        return basis, lax.dynamic_update_slice(products, product, corner), product

    basis, products, _ = _varying.fori_loop(0, steps, step, (basis, basis, start))
    small = basis.T @ products
    return basis, (small + small.T) / 2


def extension(block: Array, basis: Array) -> Array:
    """Orthonormalises a block against a basis, so that the two span what they spanned before.

    Args:
      block: ``[n, b]``.
      basis: ``[n, k]`` orthonormal or zero columns.

    Returns:
      ``[n, b]`` orthonormal columns, orthogonal to the basis, in any order; as many are zero as
      columns of the block add no direction.
    """
    lengths = jnp.linalg.norm(block, axis=0)
    for _ in range(2):
        block = block - basis @ (basis.T @ block)
    left = jnp.linalg.norm(block, axis=0)
    independent = left > NEGLIGIBLE * lengths
    block = block * jnp.where(independent, 1 / jnp.where(independent, left, 1), 0)[None]
    # QR puts an arbitrary direction where a column is zero. After the nonzero columns it cannot
    # disturb them, and the diagonal of R shows which columns are arbitrary.
    block, upper = jnp.linalg.qr(block[:, jnp.argsort(~independent)])
    block = block - basis @ (basis.T @ block)
    return jnp.where(jnp.abs(jnp.diag(upper))[None] > NEGLIGIBLE, block, 0)


def top_eigenvalue(
    key: Array,
    matmat: Callable[[Array], Array],
    n: int,
    *,
    steps: int,
    width: int,
    failure: float,
    dtype: Any = jnp.float64,
) -> tuple[Array, Array]:
    """Bounds the largest eigenvalue of a positive semidefinite matrix from both sides.

    Args:
      key: of the random start.
      matmat: ``[n, b] -> [n, b]``.
      n: rows of the matrix.
      steps: block steps.
      width: b, the number of starts that run side by side.
      failure: the upper bound is too low with at most this probability over the key.
      dtype: of the matrix.

    Returns:
      ``(lower, upper)``: the largest Ritz value, and ``lower / (1 - shortfall(...))``; the two are
      equal where the run exhausted the whole space.

    Example:
      >>> matrix = jnp.diag(jnp.arange(1.0, 301.0, dtype=jnp.float32))
      >>> low, high = top_eigenvalue(jax.random.key(0), lambda x: matrix @ x, 300, steps=12,
      ...                            width=4, failure=1e-6, dtype=jnp.float32)
      >>> bool(low < 300.1), bool(high > 299.9)
      (True, True)
    """
    width = min(width, n)
    steps = min(steps, -(-n // width) + 1)
    basis, small = krylov(matmat, jax.random.normal(key, (n, width), dtype), steps=steps)
    lower = jnp.maximum(jnp.linalg.eigvalsh(small)[-1], 0)
    exhausted = jnp.sum(basis**2) > n - 0.5
    eps = shortfall(n, steps=steps, width=width, failure=failure)
    return lower, jnp.where(exhausted, lower, lower / (1 - eps))


def shortfall(n: int, *, steps: int, width: int = 1, failure: float) -> float:
    """Returns how far below the top eigenvalue a run may end: ``theta >= (1 - eps) lambda_max``.

    For every spectrum, clustered or not: with ``width`` independent Gaussian starts and
    ``steps`` block steps, ``theta < (1 - eps) lambda_max`` has probability at most ``failure``.
    ``docs/certificate.md`` has the proof (after Kuczynski and Wozniakowski, SIMAX 1992).

    Args:
      n: rows of the matrix.
      steps: block steps.
      width: block width.
      failure: in (0, 1).

    Returns:
      ``eps`` in [0, 1).

    Example:
      >>> shortfall(4000, steps=16, failure=1e-9) > shortfall(4000, steps=32, failure=1e-9)
      True
    """
    reach = math.acosh(max(math.sqrt(2 * n / math.pi) * failure ** (-1 / width), 1.0))
    return math.tanh(reach / (2 * steps - 1)) ** 2
