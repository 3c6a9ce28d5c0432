"""Block Lanczos with full reorthogonalisation, and what a run proves about the top eigenvalue."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax


def krylov(matmat: Callable, start: Array, *, steps: int) -> tuple[Array, Array]:
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
        place = (jnp.zeros((), k.dtype), k * width)
        basis = lax.dynamic_update_slice(basis, block, place)
        return basis, lax.dynamic_update_slice(products, product, place), product

    basis, products, _ = lax.fori_loop(0, steps, step, (basis, basis, start))
    small = basis.T @ products
    return basis, (small + small.T) / 2


def extension(block: Array, basis: Array) -> Array:
    """Orthonormal columns that extend ``basis`` to the span of ``block``; 0 where one adds nothing."""
    full = jnp.linalg.norm(block, axis=0)
    for _ in range(2):
        block = block - basis @ (basis.T @ block)
    left = jnp.linalg.norm(block, axis=0)
    alive = left > 1e-10 * full  # less is rounding
    block = block * jnp.where(alive, 1 / jnp.where(alive, left, 1), 0)[None]
    block, upper = jnp.linalg.qr(block[:, jnp.argsort(~alive)])  # zeros last: QR invents columns
    block = block - basis @ (basis.T @ block)
    return jnp.where(
        jnp.abs(jnp.diag(upper))[None] > 1e-10, block, 0
    )  # 0 also where earlier columns span it


def largest(matmat: Callable, n: int, key: Array, *, steps: int, width: int, failure: float,
            dtype=jnp.float64) -> tuple[Array, Array]:  # fmt: skip
    """Bounds the largest eigenvalue of a positive semidefinite matrix from both sides.

    Args:
      matmat: ``[n, b] -> [n, b]``.
      n: rows of the matrix.
      key: the random start; the upper side fails with probability at most ``failure`` over it.
      steps: block steps.
      width: starts run side by side.

    Returns:
      ``(lower, upper)``: the largest Ritz value, and ``lower / (1 - shortfall(...))``; the two are
      equal where the run exhausted the whole space.

    Example:
      >>> matrix = jnp.diag(jnp.arange(1.0, 301.0, dtype=jnp.float32))
      >>> low, high = largest(lambda x: matrix @ x, 300, jax.random.key(0), steps=12, width=4,
      ...                     failure=1e-6, dtype=jnp.float32)
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
    """How far below the top eigenvalue a run can end: ``theta >= (1 - eps) lambda_max``.

    Whatever the spectrum, clustered or not: with ``width`` independent Gaussian starts and
    ``steps`` block steps, ``theta < (1 - eps) lambda_max`` has probability at most ``failure``.
    ``docs/certificate.md`` has the proof (after Kuczynski and Wozniakowski, SIMAX 1992).

    Returns:
      ``eps`` in [0, 1).

    Example:
      >>> shortfall(4000, steps=16, failure=1e-9) > shortfall(4000, steps=32, failure=1e-9)
      True
    """
    reach = math.acosh(max(math.sqrt(2 * n / math.pi) * failure ** (-1 / width), 1.0))
    return math.tanh(reach / (2 * steps - 1)) ** 2
