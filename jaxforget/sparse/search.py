"""Ids as they are searched for; binary search for (user, item) pairs in sorted interactions."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget import _varying
from jaxforget._jax import is_traced
from jaxforget.types import Interactions


def inside(ids: Any, size: int) -> Array:
    """The ids as int32; -1, which is in no data, for what is not in ``[0, size)`` as it came.

    Args:
      ids: integers of any type and shape, traced or not.
      size: how many ids there are.

    Example:
      >>> inside(np.array([3, 255], np.uint8), 300).tolist(), inside([2**32 + 3], 300).tolist()
      ([3, 255], [-1])
    """
    ids = ids if is_traced(ids) else np.asarray(ids)
    if not ids.size or not size:
        return jnp.full(ids.shape, -1, jnp.int32)
    # asked before int32 cuts off what makes an id too large, and in a type that may hold neither
    # -1 nor the number of ids
    good = (ids >= 0) & (ids <= min(size - 1, int(jnp.iinfo(ids.dtype).max)))
    return jnp.where(good, jnp.asarray(ids).astype(jnp.int32), -1)


def position(train: Interactions, users: Array, items: Array, *, after: bool) -> Array:
    """Positions at which pairs stand, or would be inserted, as ``numpy.searchsorted`` gives them.

    Args:
      train: the interactions, sorted by (user, item).
      users: ``[P]`` int32; a user outside ``[0, n_users)`` has no interactions.
      items: ``[P]`` int32.
      after: False for the position before equal pairs, True for the one behind them.

    Returns:
      ``[P]`` int32. A pair occurs as often as its two positions differ.
    """
    inside = (users >= 0) & (users < train.n_users)
    row = jnp.where(inside, users, 0)
    indptr = train.by_user.indptr
    entries = jnp.append(train.items, jnp.full(1, -1, jnp.int32))  # never empty

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) // 2
        right = entries[middle] <= items if after else entries[middle] < items
        right, left = (low < high) & right, (low < high) & ~right
        return jnp.where(right, middle + 1, low), jnp.where(left, middle, high)

    bounds = (indptr[row], jnp.where(inside, indptr[row + 1], indptr[row]))
    return _varying.fori_loop(0, entries.shape[0].bit_length(), halve, bounds)[0]
