"""What the library takes from jax that jax does not promise to keep: the one file to mend.

``tests/test_jax_seams.py`` has a line for each of these, so that a new release of jax which
changed one says which.
"""

from typing import Any

import jax
from jax import Array
from jax.custom_batching import custom_vmap
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
    """Multiplies a matrix in compressed rows with a dense one, by the CPU's own kernel.

    Args:
      data: ``[N]`` entries, row after row.
      indices: ``[N]`` int32, their columns.
      indptr: ``[rows + 1]`` int32, where each row starts.
      dense: ``[columns, D]``.
      shape: rows and columns of the sparse matrix.

    Returns:
      ``[rows, D]``.
    """
    from jax.experimental.sparse import BCSR  # 0.6 s to import; needed only where it runs

    return BCSR((data, indices, indptr), shape=shape) @ dense


def is_traced(*values: Any) -> bool:
    """Whether any of the values is known only when a compiled program runs."""
    return any(isinstance(value, jax.core.Tracer) for value in values)


def is_prng_key(array: Any) -> bool:
    """Whether the array holds typed keys."""
    return jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)
