"""Binary search for (user, item) pairs in the sorted interactions."""

import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget.types import Interactions


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
