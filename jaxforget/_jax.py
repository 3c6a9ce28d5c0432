"""The parts of jax in use that a release of jax may change: only this file imports them.

``tests/test_jax_seams.py`` has a test for each, which names the part that changed.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.core import Tracer
from jax.custom_batching import custom_vmap
from jax.dtypes import prng_key
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

__all__ = [
    "Primitive",
    "ad",
    "batching",
    "csr_product",
    "custom_vmap",
    "is_prng_key",
    "is_traced",
    "mlir",
]


def csr_product(
    data: Array, indices: Array, indptr: Array, dense: Array, *, shape: tuple[int, int]
) -> Array:
    """Multiplies a matrix in compressed rows (CSR) with a dense one, by the kernel for CPUs.

    Args:
      data: ``[N]`` entries, row after row.
      indices: ``[N]`` int32, their columns.
      indptr: ``[rows + 1]`` int32, where each row starts.
      dense: ``[columns, D]``.
      shape: rows and columns of the sparse matrix.

    Returns:
      ``[rows, D]``.
    """
    from jax.experimental.sparse import BCSR  # takes 0.6 s to import: only where it is used

    return BCSR((data, indices, indptr), shape=shape) @ dense


def is_traced(*values: Any) -> bool:
    """Whether any of the values is known only when a compiled program runs."""
    return any(isinstance(value, Tracer) for value in values)


def is_prng_key(array: Any) -> bool:
    """Whether the array holds typed keys."""
    return jnp.issubdtype(array.dtype, prng_key)
