"""Requests that name what to forget, by its numbers: pairs, users or items."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget import _checks
from jaxforget._jax import is_traced
from jaxforget.sparse.search import inside, position
from jaxforget.types import ForgetSet, Interactions


def pairs(
    train: Interactions, users: Any, items: Any, *, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets the listed pairs, as a real deletion request names them.

    Args:
      train: the training interactions.
      users: ``[P]`` integer ids; P may be 0.
      items: ``[P]`` integer ids.
      before: ``[N]`` weights learnt from so far; ones if None.

    Returns:
      The unchanged interactions and the request.

    Raises:
      ValueError: a pair is not among the training interactions (it is named), an id is out of
        range, or the ids are not two integer vectors of one length. Of traced ids only shape and
        dtype are known: a pair that is not in the data then forgets nothing.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0, 1], [0, 1, 0], [1.0, 1.0, 1.0])
      >>> pairs(train, [0], [1])[1].after.tolist()
      [1.0, 0.0, 1.0]
    """
    before, _ = weights_before(train, before)
    given = users, items
    users, items = _ids("users", users, train.n_users), _ids("items", items, train.n_items)
    if users.shape != items.shape:
        raise ValueError(f"users and items must pair up; got {users.shape} and {items.shape}")
    first, last = (position(train, users, items, after=after) for after in (False, True))
    if not is_traced(first, last) and (absent := np.flatnonzero(np.asarray(first == last))).size:
        asked = [np.asarray(ids) for ids in given]
        named = ", ".join(f"({asked[0][row]}, {asked[1][row]})" for row in absent[:3])
        raise ValueError(
            f"{absent.size} of {users.size} pairs are not among the training interactions, the "
            f"first of them {named}: leave them out of the request"
        )
    # +1 where the interactions of a pair begin, -1 behind them: the running sum is positive inside
    bounds = jnp.zeros(before.shape[0] + 1, jnp.int32).at[first].add(1).at[last].add(-1)
    return train, as_request(before, jnp.cumsum(bounds, dtype=jnp.int32)[:-1] > 0)


def listed(
    train: Interactions, *, users: Any = None, items: Any = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets all interactions of the listed users, or items; with both, the listed pairs.

    Args:
      train: the training interactions.
      users: ``[P]`` integer ids.
      items: ``[P]`` integer ids.
      before: ``[N]`` weights learnt from so far; ones if None.

    Returns:
      The unchanged interactions and the request.

    Raises:
      ValueError: neither is given, a user, an item or a pair without training interactions (it is
        named), or ids that are no integers. Of traced ids only shape and dtype are known: one
        without interactions forgets nothing.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0, 1], [0, 1, 0], [1.0, 1.0, 1.0])
      >>> listed(train, users=[0])[1].after.tolist()
      [0.0, 0.0, 1.0]
    """
    if users is not None and items is not None:
        return pairs(train, users, items, before=before)
    if users is None and items is None:
        raise ValueError("give users, items, or both for pairs; got neither")
    before, _ = weights_before(train, before)
    side = "users" if items is None else "items"
    given, column, size = (
        (users, train.users, train.n_users)
        if items is None
        else (items, train.items, train.n_items)
    )
    ids = _ids(side, given, size)
    if not is_traced(ids, column):
        there = np.isin(np.asarray(ids), np.asarray(column))
        if not there.all():
            first = ", ".join(str(x) for x in np.asarray(given)[~there][:3])
            raise ValueError(
                f"{(~there).sum()} of {there.size} {side} have no training interactions, the first "
                f"of them {first}: leave them out of the request"
            )
    # -1, which is nobody, lands beyond the end
    asked = jnp.zeros(size, bool).at[jnp.where(ids < 0, size, ids)].set(True, mode="drop")
    return train, as_request(before, asked[column])


def weights_before(train: Interactions, before: Any) -> tuple[Array, int | Array]:
    """The weights so far, and how many interactions are remembered: an int if not traced."""
    n = train.users.shape[0]
    if before is None:
        return jnp.ones(n, train.values.dtype), n
    _checks.weights("before", before, n)
    before = jnp.asarray(before, train.values.dtype)
    remembered = jnp.sum(before > 0, dtype=jnp.int32)
    return before, remembered if is_traced(remembered) else int(remembered)


def _ids(name: str, ids: Any, size: int) -> Array:
    """The ids as int32; -1, which is in no data, for what is not in ``[0, size)`` as it came."""
    ids = ids if is_traced(ids) else np.asarray(ids)
    whole = jnp.issubdtype(ids.dtype, jnp.integer)
    if ids.size and not whole:  # known under a trace too: a mask is no ids
        raise ValueError(f"{name} must be integer ids; got {ids.dtype}: see interop.read_pairs")
    if ids.ndim != 1:
        raise ValueError(f"{name} must be a vector; got shape {ids.shape}")
    return inside(ids, size)


def as_request(before: Array, forgotten: Array) -> ForgetSet:
    return ForgetSet(before, jnp.where(forgotten, jnp.zeros_like(before), before))
