"""Who asks to be forgotten: requests as weights of the training interactions.

Every function returns ``(train, ForgetSet)``, is pure, and can be jitted and vmapped over the key
and the ratio. The share is always one of what is remembered *now* (``before > 0``), so that
requests can follow one another. What is known outside ``jit`` is checked; a traced value is not.
"""

import dataclasses
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget._jax import is_traced
from jaxforget.sparse.search import position
from jaxforget.types import ForgetSet, Interactions

Amount = float | Array | None


def random(
    key: Array, train: Interactions, ratio: Amount = None, *, count: Any = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets interactions chosen uniformly: ``n - floor(n (1 - ratio))`` of ``n``, or ``count``.

    Args:
      key: typed JAX key; consumed.
      train: the training interactions.
      ratio: share of the remembered interactions, in (0, 1]. A Python number gives the exact
        count; one in an array is read with the precision of its type.
      count: how many instead, an integer; 0 is an empty request. Give exactly one of the two.
      before: ``[N]`` weights learnt from so far; ones if None.

    Returns:
      The unchanged interactions and the request; ``after`` is 0 where forgotten.

    Raises:
      ValueError: both or neither of ratio and count, or one out of range.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0, 1, 1], [0, 1, 0, 1], [1.0, 1.0, 1.0, 1.0])
      >>> _, request = random(jax.random.key(0), train, 0.5)
      >>> int((request.before - request.after).sum())
      2
    """
    before, n = _before(train, before)
    wanted = _share(ratio, n) if count is None else _count(ratio, count, n, "interactions")
    order = jax.random.permutation(key, train.users.shape[0])
    alive = (before > 0)[order]
    taken = alive & (jnp.cumsum(alive, dtype=jnp.int32) <= wanted)
    return train, _request(before, _scatter(order, taken))


def users(
    key: Array, train: Interactions, ratio: Amount = None, *, count: Any = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets whole users, in random order.

    Takes what ``random`` takes; ``count`` counts users with remembered interactions, and ``ratio``
    takes the smallest number of users, in that order, who hold at least this share of the
    remembered *interactions*.
    """
    return _whole(key, train, "users", 0, ratio, count, before)


def items(
    key: Array, train: Interactions, ratio: Amount = None, *, count: Any = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets whole items, in random order: ``users`` of the other side."""
    return _whole(key, train, "items", 0, ratio, count, before)


def active(
    key: Array, train: Interactions, ratio: Amount = None, *, count: Any = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets the users with the most remembered interactions, ties in random order."""
    return _whole(key, train, "users", -1, ratio, count, before)


def inactive(
    key: Array, train: Interactions, ratio: Amount = None, *, count: Any = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets the users with the fewest (but some) remembered interactions, ties at random."""
    return _whole(key, train, "users", 1, ratio, count, before)


def popular(
    key: Array, train: Interactions, ratio: Amount = None, *, count: Any = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets the items with the most remembered interactions, ties in random order."""
    return _whole(key, train, "items", -1, ratio, count, before)


def flipped(
    key: Array, train: Interactions, ratio: Amount = None, *, count: Any = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Corrupts what ``random`` would forget, and asks for that to be forgotten: ``v <- 1 - v``.

    Takes what ``random`` takes; the values of ``train`` are labels 0 and 1. The returned training
    set holds the false labels, so a model fitted on it has something worth forgetting.

    Raises:
      ValueError: as ``random``, or a value other than 0 and 1.
    """
    if not is_traced(train.values) and not np.isin(train.values, (0, 1)).all():
        raise ValueError(
            "flipped needs labels 0 and 1; got other values: binarise the data first, with "
            'negatives="keep" if the zeros matter'
        )
    train, request = random(key, train, ratio, count=count, before=before)
    values = jnp.where(request.before > request.after, 1 - train.values, train.values)
    return dataclasses.replace(train, values=values), request


def pairs(
    train: Interactions, users: Any, items: Any, *, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets the listed pairs: a real deletion request.

    Args:
      train: the training interactions.
      users: ``[P]`` integer ids; P may be 0.
      items: ``[P]`` integer ids. Every repetition of a listed pair is forgotten.
      before: ``[N]`` weights learnt from so far; ones if None.

    Returns:
      The unchanged interactions and the request.

    Raises:
      ValueError: a pair that is not among the training interactions, by name.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0, 1], [0, 1, 0], [1.0, 1.0, 1.0])
      >>> pairs(train, [0], [1])[1].after.tolist()
      [1.0, 0.0, 1.0]
    """
    before, _ = _before(train, before)
    users, items = _ids("users", users), _ids("items", items)
    if users.shape != items.shape:
        raise ValueError(f"users and items must pair up; got {users.shape} and {items.shape}")
    first, last = (position(train, users, items, after=after) for after in (False, True))
    if not is_traced(first, last) and (absent := np.flatnonzero(np.asarray(first == last))).size:
        named = ", ".join(f"({int(users[row])}, {int(items[row])})" for row in absent[:3])
        raise ValueError(
            f"{absent.size} of {users.size} pairs are not among the training interactions, the "
            f"first of them {named}: leave them out of the request"
        )
    steps = jnp.zeros(before.shape[0] + 1, jnp.int32).at[first].add(1).at[last].add(-1)
    return train, _request(before, jnp.cumsum(steps, dtype=jnp.int32)[:-1] > 0)


def _whole(key, train, side, direction, ratio, count, before):
    """Forgets whole users or items; direction -1 the fullest first, 1 the emptiest, 0 any."""
    before, n = _before(train, before)
    ids = getattr(train, side)
    n_rows = train.n_users if side == "users" else train.n_items
    alive = (before > 0).astype(jnp.int32)
    held = jnp.zeros(n_rows, jnp.int32).at[ids].add(alive)
    order = jax.random.permutation(key, n_rows)
    order = order[jnp.argsort(direction * held[order], stable=True)]
    mine = held[order]
    if count is None:
        reached = jnp.cumsum(mine, dtype=jnp.int32) - mine  # by those in front of this row
        taken = (mine > 0) & (reached < _share(ratio, n))
    else:
        n_units = int((held > 0).sum()) if not is_traced(held) else None
        wanted = _count(ratio, count, n_units, side)
        taken = (mine > 0) & (jnp.cumsum(mine > 0, dtype=jnp.int32) <= wanted)
    return train, _request(before, _scatter(order, taken)[ids])


def _before(train, before):
    """The weights so far, and how many interactions are remembered (an int where known)."""
    n = train.users.shape[0]
    if before is None:
        return jnp.ones(n, train.values.dtype), n
    before = jnp.asarray(before, train.values.dtype)
    if before.shape != (n,):
        raise ValueError(f"before must be [{n}], one weight per interaction; got {before.shape}")
    alive = jnp.sum(before > 0, dtype=jnp.int32)
    return before, int(alive) if not is_traced(alive) else alive


def _share(ratio, n):
    """``n - floor(n (1 - ratio))``: exact for Python numbers, else up to rounding."""
    if ratio is None:
        raise ValueError("give a ratio or a count; got neither")
    if not is_traced(ratio) and not 0 < ratio <= 1:
        raise ValueError(f"ratio must lie in (0, 1]; got {ratio}")
    if isinstance(ratio, (int, float)) and isinstance(n, int):
        return n - n * (1 - Fraction(float(ratio)).limit_denominator(10**9)) // 1
    ratio = ratio if hasattr(ratio, "dtype") else jnp.asarray(float(ratio))
    exact = ratio * jnp.asarray(n, ratio.dtype)
    slack = 2 * jnp.finfo(ratio.dtype).eps  # so that 0.1 of 100 is 10, not 11
    return jnp.ceil(exact * (1 - slack)).astype(jnp.int32)


def _count(ratio, count, n, unit):
    """The count, checked where it is known."""
    if ratio is not None:
        raise ValueError(f"give a ratio or a count, not both; got {ratio} and {count}")
    if not is_traced(count):
        if not np.issubdtype(np.asarray(count).dtype, np.integer) or count < 0:
            raise ValueError(f"count must be an integer, 0 or more; got {count!r}")
        if isinstance(n, int) and count > n:
            raise ValueError(f"count must be at most the {n} {unit} still there; got {count}")
    return count


def _ids(name, ids):
    if not isinstance(ids, jax.Array):
        ids = np.asarray(ids)
        if ids.size and not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"{name} must be integer ids; got {ids.dtype}: see interop.read_pairs")
    ids = jnp.asarray(ids, jnp.int32)
    if ids.ndim != 1:
        raise ValueError(f"{name} must be a vector; got shape {ids.shape}")
    return ids


def _scatter(order, taken):
    return jnp.zeros(order.shape, bool).at[order].set(taken)


def _request(before, forgotten):
    return ForgetSet(before, jnp.where(forgotten, jnp.zeros_like(before), before))
