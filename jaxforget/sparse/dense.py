"""Dense factorisations of single matrices that stay single under ``vmap`` on a CPU.

There, independent batched LAPACK calls in one program can deadlock (jaxlib 0.10.2, two cores), and
are no faster than a loop. On an accelerator a ``vmap`` gives one batched call.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget._jax import custom_vmap
from jaxforget.sparse.arithmetic import times


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
