"""Dense factorisations of single matrices that stay single under ``vmap`` on a CPU.

There, independent batched LAPACK calls in one program can deadlock (jaxlib 0.10.2, two cores), and
are no faster than a loop. On an accelerator a ``vmap`` gives one batched call.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxforget import _varying
from jaxforget._jax import custom_vmap
from jaxforget.sparse.arithmetic import times

BLOCK = 1024  # rows and columns of a block where a matrix is changed block by block
TILE = 128  # where it is turned: as much as a cache holds


def loop_on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes ``vmap`` of the function a loop on a CPU; on an accelerator it stays a batched call."""
    single = custom_vmap(function)

    @single.def_vmap
    def rule(size: int, batched: Any, *args: Array) -> tuple[Any, Any]:
        many = [x if b else jnp.broadcast_to(x, (size, *x.shape)) for x, b in zip(args, batched)]

        def loop(*many):
            return lax.map(lambda one: single(*one), many)

        out = lax.platform_dependent(*many, cpu=loop, default=jax.vmap(function))
        return out, jax.tree.map(lambda _: True, out)

    return single


def solve_spd(matrix: Array, rhs: Array) -> Array:
    """Solves one symmetric positive definite system ``[D, D] x = [D]`` by Cholesky.

    Its derivative is ``A dx = db - dA x``: one more solve with the same factor, in either mode and
    of any order. A matrix that is not positive definite gives NaN.
    """
    factor = _cholesky(lax.stop_gradient(matrix))

    def multiply(x: Array) -> Array:
        return times(matrix, x)

    def solve(_: Any, rhs: Array) -> Array:
        return _substitute(factor, rhs)

    return lax.custom_linear_solve(multiply, rhs, solve, symmetric=True)


@loop_on_cpu
def _cholesky(matrix: Array) -> Array:
    # LAPACK stores columns first; the transpose of a symmetric matrix saves the copy
    return lax.linalg.cholesky(matrix.mT, symmetrize_input=False)


@loop_on_cpu
def _substitute(factor: Array, rhs: Array) -> Array:
    """Solves with a lower triangular factor, then with its transpose."""
    half = lax.linalg.triangular_solve(factor, rhs[:, None], left_side=True, lower=True)
    x = lax.linalg.triangular_solve(factor, half, left_side=True, lower=True, transpose_a=True)
    return x[:, 0]


@jax.custom_jvp
def inverse_root(matrix: Array) -> Array:
    """Returns ``B`` with ``matrix^-1 = B B'``, of one symmetric positive definite ``[D, D]``.

    ``B`` is upper triangular: the inverse of the transposed Cholesky factor.
    """
    return _inverse_root(matrix)


@loop_on_cpu
def _inverse_root(matrix: Array) -> Array:
    factor = lax.linalg.cholesky(matrix.mT, symmetrize_input=False)
    eye = jnp.eye(len(matrix), dtype=matrix.dtype)
    return lax.linalg.triangular_solve(factor, eye, left_side=True, lower=True).T


@inverse_root.defjvp
def _inverse_root_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """``dB = -B F``, F the upper triangle of ``B' dA B`` with half its diagonal."""
    root = inverse_root(*primals)
    inner = times(root.T, times(tangents[0], root))
    return root, -times(root, jnp.triu(inner) - jnp.diag(jnp.diag(inner)) / 2)


@jax.custom_jvp
def inverse(matrix: Array) -> Array:
    """The inverse of one symmetric positive definite ``[D, D]``, symmetric to the last bit.

    Rows and columns are swept a block ``K`` at a time: ``A_KK`` becomes ``-A_KK^-1``, ``A_RK``
    becomes ``A_RK A_KK^-1``, and ``A_RR`` loses ``A_RK A_KK^-1 A_KR``; at the end stands
    ``-A^-1``. Beside the matrix that is swept none of its size is held, and only what is on and
    below the diagonal is computed. A matrix that is not positive definite gives NaN.

    Example:
      >>> inverse(jnp.array([[2.0, 1.0], [1.0, 1.0]])).round(3).tolist()
      [[1.0, -1.0], [-1.0, 2.0]]

    Source: Goodnight, "A Tutorial on the SWEEP Operator", The American Statistician 1979.
    """
    if not len(matrix):
        return matrix
    size = _size(len(matrix), BLOCK)

    def sweep(k: Array, matrix: Array) -> Array:
        start, new = _block(k, len(matrix), size)
        along, down = (lax.dynamic_slice_in_dim(matrix, start, size, axis=axis) for axis in (0, 1))
        ids = jnp.arange(len(matrix), dtype=jnp.int32)[:, None]
        columns = jnp.where(ids < k * size, along.T, down)
        pivot = lax.dynamic_slice_in_dim(columns, start, size)
        both = new[:, None] & new[None]
        root = inverse_root(jnp.where(both, pivot, jnp.eye(size, dtype=matrix.dtype)))
        solved = times(root, root.T)
        others = jnp.where(new[None] & ((ids < k * size) | (ids >= start + size)), columns, 0)
        spread = times(others, solved)
        matrix = subtract(matrix, spread, others.T)
        middle = lax.dynamic_slice_in_dim(spread, start, size)
        middle = jnp.where(new[:, None], -solved, middle)
        spread = lax.dynamic_update_slice_in_dim(spread, middle, start, axis=0)
        for axis, put in enumerate((spread.T, spread)):
            old = lax.dynamic_slice_in_dim(matrix, start, size, axis=axis)
            put = jnp.where(jnp.expand_dims(new, 1 - axis), put, old)
            matrix = lax.dynamic_update_slice_in_dim(matrix, put, start, axis=axis)
        return matrix

    return -mirror(_varying.fori_loop(0, -(-len(matrix) // size), sweep, matrix))


@inverse.defjvp
def _inverse_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    found = inverse(*primals)
    return found, -times(found, times(tangents[0], found))


def subtract(matrix: Array, left: Array, right: Array) -> Array:
    """``matrix - left right`` on and below the diagonal; what is above it is for ``mirror``.

    It is done block by block: a loop that carries the matrix ``[D, D]`` holds no second one.
    """

    def step(matrix: Array, k: Array, j: Array, size: int) -> Array:
        (first, own), (second, other) = (_block(n, len(matrix), size) for n in (k, j))
        rows = lax.dynamic_slice_in_dim(left, first, size)
        columns = lax.dynamic_slice_in_dim(right, second, size, axis=1)
        change = times(jnp.where(own[:, None], rows, 0), jnp.where(other[None], columns, 0))
        block = lax.dynamic_slice(matrix, (first, second), (size, size))
        return lax.dynamic_update_slice(matrix, block - change, (first, second))

    return _by_blocks(step, matrix, BLOCK)


def mirror(matrix: Array) -> Array:
    """The symmetric matrix that is ``[D, D]`` on and below the diagonal, block by block.

    Example:
      >>> mirror(jnp.array([[1.0, 5.0], [2.0, 3.0]])).tolist()
      [[1.0, 2.0], [2.0, 3.0]]
    """

    def step(matrix: Array, k: Array, j: Array, size: int) -> Array:
        (first, _), (second, _) = (_block(n, len(matrix), size) for n in (k, j))
        block = lax.dynamic_slice(matrix, (first, second), (size, size))
        lower = jnp.tril(jnp.ones((size, size), bool))
        turned = jnp.where((k == j) & lower, block, block.T)
        return lax.dynamic_update_slice(matrix, turned, (second, first))

    return _by_blocks(step, matrix, TILE)


def _by_blocks(step: Callable[..., Array], matrix: Array, most: int) -> Array:
    """``step(matrix, k, j, size)`` for each block on and below the diagonal, row by row."""
    if not len(matrix):
        return matrix
    size = _size(len(matrix), most)
    pairs = np.tril_indices(-(-len(matrix) // size))
    rows, columns = (jnp.asarray(x, jnp.int32) for x in pairs)

    def one(n: Array, matrix: Array) -> Array:
        return step(matrix, rows[n], columns[n], size)

    return _varying.fori_loop(0, len(pairs[0]), one, matrix)


def _size(length: int, most: int) -> int:
    """The size of as few blocks as there can be, all of them alike."""
    return -(-length // -(-length // most))


def _block(k: Array, length: int, size: int) -> tuple[Array, Array]:
    """Where block ``k`` starts, and which of its rows no block before it holds.

    The last one ends where the matrix ends.
    """
    start = jnp.minimum(k * size, length - size)
    return start, start + jnp.arange(size, dtype=jnp.int32) >= k * size


@jax.custom_jvp
def eigh(matrix: Array) -> tuple[Array, Array]:
    """Returns ``V``, ``s`` with ``matrix = V diag(s) V'``, of one symmetric ``[D, D]``."""
    return _eigh(matrix)


@loop_on_cpu
def _eigh(matrix: Array) -> tuple[Array, Array]:
    vectors, values = lax.linalg.eigh(matrix, symmetrize_input=False)
    return vectors, values


@eigh.defjvp
def _eigh_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    """First-order perturbation; vectors of equal values do not turn into one another."""
    vectors, values = eigh(*primals)
    inner = times(vectors.T, times(tangents[0], vectors))
    gaps = values[None] - values[:, None]
    turn = jnp.where(gaps == 0, 0, inner / jnp.where(gaps == 0, 1, gaps))
    return (vectors, values), (times(vectors, turn), jnp.diag(inner))
