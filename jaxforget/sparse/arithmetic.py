"""Small operations that every package needs: guarded division, full products, unchecked reads."""

from typing import Any

import jax.numpy as jnp
from jax import Array


def ratio(a: Array | float, b: Array, *, otherwise: float | None = None) -> Array:
    """Divides where the divisor is positive.

    Args:
      a: any shape that broadcasts with ``b``.
      b: counts, norms or other numbers that are meant to be 0 or more.
      otherwise: the result where ``b`` is not positive; None leaves ``a`` undivided there, which is
        0 wherever ``a`` sums over what ``b`` counts.

    Returns:
      ``a / b`` where ``b > 0``. Nothing is divided by 0, so that derivatives are finite too. NaN
      where ``b`` is infinite or NaN: what overflowed is not known, and 0 would be wrong in silence.

    Example:
      >>> a, b = jnp.array([6.0, 0.0]), jnp.array([3.0, 0.0])
      >>> ratio(a, b).tolist(), ratio(a, b, otherwise=1.0).tolist()
      ([2.0, 0.0], [2.0, 1.0])
    """
    quotient = a / jnp.where(b > 0, b, 1)
    result = quotient if otherwise is None else jnp.where(b > 0, quotient, otherwise)
    return jnp.where(jnp.isfinite(b), result, jnp.nan)


def wide(dtype: Any) -> Any:
    """The dtype to count and to add up in: the given one, if floating and of 32 bits or more.

    Numbers of 16 bits hold no count above 256 (bfloat16) or 2048 (float16) exactly, and a sum stops
    growing there. Of integers it is the default floating dtype.

    Example:
      >>> [jnp.dtype(wide(dtype)).name for dtype in ("bfloat16", "float32")]
      ['float32', 'float32']
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        return jnp.result_type(float)
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32


def widened(numbers: Array) -> Array:
    """Numbers in the dtype to count and to add up in; see ``wide``."""
    numbers = jnp.asarray(numbers)
    return numbers.astype(wide(numbers.dtype))


def times(a: Array, b: Array) -> Array:
    """Multiplies matrices as ``a @ b`` does, at the highest precision of the device.

    The default of an accelerator rounds the factors to fewer bits first, which Gram matrices and
    normal equations do not bear.

    Example:
      >>> times(jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [4.0]])).tolist()
      [[11.0]]
    """
    return jnp.matmul(a, b, precision="highest")


def gather(array: Array, index: Array) -> Array:
    """Reads ``array[index]`` without bounds checks, which keep XLA's CPU gather from vectorising.

    Args:
      array: ``[n, ...]``.
      index: integers in ``[0, n)``, of any shape; what others read is undefined, and 0 where there
        is nothing to read.
    """
    if not len(array):
        return jnp.zeros((*index.shape, *array.shape[1:]), array.dtype)
    return array.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)
