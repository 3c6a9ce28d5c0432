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


@loop_on_cpu
def solve_spd(matrix: Array, rhs: Array) -> Array:
    """Solves one symmetric positive definite system ``[D, D] x = [D]`` by Cholesky.

    A matrix that is not positive definite gives NaN.
    """
    # LAPACK stores columns first; the transpose of a symmetric matrix saves the copy
    factor = lax.linalg.cholesky(matrix.mT, symmetrize_input=False)
    half = lax.linalg.triangular_solve(factor, rhs[:, None], left_side=True, lower=True)
    x = lax.linalg.triangular_solve(factor, half, left_side=True, lower=True, transpose_a=True)
    return x[:, 0]


@loop_on_cpu
def inverse_root(matrix: Array) -> Array:
    """Returns ``B`` with ``matrix^-1 = B B'``, of one symmetric positive definite ``[D, D]``."""
    factor = lax.linalg.cholesky(matrix.mT, symmetrize_input=False)
    eye = jnp.eye(len(matrix), dtype=matrix.dtype)
    return lax.linalg.triangular_solve(factor, eye, left_side=True, lower=True).T


@loop_on_cpu
def eigh(matrix: Array) -> tuple[Array, Array]:
    """Returns ``V``, ``s`` with ``matrix = V diag(s) V'``, of one symmetric ``[D, D]``."""
    vectors, values = lax.linalg.eigh(matrix, symmetrize_input=False)
    return vectors, values
