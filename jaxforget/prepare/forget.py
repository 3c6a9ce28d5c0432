"""Requests to forget, as weights of the training interactions: who loses what.

Every function returns ``(train, ForgetSet)``, is pure, and can be jitted and vmapped over the key
and the ratio. A ratio is a share of what is remembered *now* (``before > 0``), so that requests
can follow one another. Values known outside ``jit`` are checked; traced ones are not.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget import _checks, _shares
from jaxforget._jax import is_traced
from jaxforget.prepare._named import as_request, listed, pairs, weights_before
from jaxforget.sparse.arithmetic import wide
from jaxforget.types import ForgetSet, Interactions

__all__ = [
    "active",
    "flipped",
    "inactive",
    "items",
    "listed",
    "pairs",
    "popular",
    "random",
    "users",
]

Ratio = float | Array | None
Count = int | Array | None


def random(
    key: Array, train: Interactions, ratio: Ratio = None, *, count: Count = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets interactions chosen uniformly: ``n - floor(n (1 - ratio))`` of ``n``, or ``count``.

    Args:
      key: typed JAX key; consumed.
      train: the training interactions.
      ratio: share of the remembered interactions, in (0, 1]. A Python number gives the exact
        count; one in an array is the number that its type holds.
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
    before, n = weights_before(train, before)
    wanted = _share(ratio, n) if count is None else _count(ratio, count, n, "interactions")
    order = jax.random.permutation(key, train.users.shape[0])
    remembered = (before > 0)[order]
    forgotten = remembered & (jnp.cumsum(remembered, dtype=jnp.int32) <= wanted)
    return train, as_request(before, _scatter(order, forgotten))


def users(
    key: Array, train: Interactions, ratio: Ratio = None, *, count: Count = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets whole users, in random order.

    Arguments, result and errors are those of ``random``, but ``count`` is a number of users with
    remembered interactions; and with ``ratio`` the first users in that order are forgotten who
    together have at least this share of the remembered *interactions*.
    """
    return _whole(key, train, "users", "random", ratio, count, before)


def items(
    key: Array, train: Interactions, ratio: Ratio = None, *, count: Count = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets whole items, in random order, as ``users`` does with users."""
    return _whole(key, train, "items", "random", ratio, count, before)


def active(
    key: Array, train: Interactions, ratio: Ratio = None, *, count: Count = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets as ``users``, those with the most remembered interactions first, ties at random."""
    return _whole(key, train, "users", "most", ratio, count, before)


def inactive(
    key: Array, train: Interactions, ratio: Ratio = None, *, count: Count = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets as ``users``, those with the fewest remembered interactions first, ties at random."""
    return _whole(key, train, "users", "fewest", ratio, count, before)


def popular(
    key: Array, train: Interactions, ratio: Ratio = None, *, count: Count = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Forgets as ``items``, those with the most remembered interactions first, ties at random."""
    return _whole(key, train, "items", "most", ratio, count, before)


def flipped(
    key: Array, train: Interactions, ratio: Ratio = None, *, count: Count = None, before: Any = None
) -> tuple[Interactions, ForgetSet]:
    """Flips the labels that ``random`` would forget, ``v <- 1 - v``, and forgets those.

    Arguments are those of ``random``; the values of ``train`` are labels 0 and 1. The returned
    training set holds the false labels, so a model fitted on it has something worth forgetting.

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


def _whole(
    key: Array,
    train: Interactions,
    side: Literal["users", "items"],
    first: Literal["random", "most", "fewest"],
    ratio: Ratio,
    count: Count,
    before: Any,
) -> tuple[Interactions, ForgetSet]:
    """Forgets whole users or items: at random, or those with most or fewest interactions first."""
    before, n = weights_before(train, before)
    ids, n_rows = (train.users, train.n_users) if side == "users" else (train.items, train.n_items)
    sizes = jnp.zeros(n_rows, jnp.int32).at[ids].add((before > 0).astype(jnp.int32))
    order = jax.random.permutation(key, n_rows)
    sign = {"random": 0, "most": -1, "fewest": 1}[first]
    order = order[jnp.argsort(sign * sizes[order], stable=True)]
    sizes = sizes[order]
    if count is None:
        in_front = jnp.cumsum(sizes, dtype=jnp.int32) - sizes  # interactions of the rows before
        forgotten = (sizes > 0) & (in_front < _share(ratio, n))
    else:
        n_filled = None if is_traced(sizes) else int((sizes > 0).sum())
        wanted = _count(ratio, count, n_filled, side)
        forgotten = (sizes > 0) & (jnp.cumsum(sizes > 0, dtype=jnp.int32) <= wanted)
    return train, as_request(before, _scatter(order, forgotten)[ids])


def _share(ratio: Ratio, n: int | Array) -> int | Array:
    """``n - floor(n (1 - ratio))``: for a Python ratio exact, and at least 1 of any."""
    if ratio is None:
        raise ValueError("give a ratio or a count; got neither")
    _checks.share("forget", ratio=ratio)
    if isinstance(ratio, (int, float)):
        return _shares.part(ratio, n)
    if not isinstance(ratio, (Array, np.ndarray, np.generic)):
        ratio = jnp.asarray(float(ratio))
    if is_traced(ratio) and not jnp.issubdtype(ratio.dtype, jnp.floating):
        raise ValueError(f"forget: ratio must be a floating number; got {ratio.dtype}")
    # 16 bits hold no number of interactions: that of 100,000 would be infinite
    ratio = jnp.asarray(ratio, wide(ratio.dtype))
    exact = ratio * jnp.asarray(n, ratio.dtype)
    slack = 2 * jnp.finfo(ratio.dtype).eps  # 0.1 of 100 is 10, also if rounding gives 10.000001
    return jnp.ceil(exact * (1 - slack)).astype(jnp.int32)


def _count(ratio: Ratio, count: int | Array, n: int | Array | None, unit: str) -> int | Array:
    """The count, checked as far as it and the number ``n`` of units are not traced."""
    if ratio is not None:
        raise ValueError(f"give a ratio or a count, not both; got {ratio} and {count}")
    kind = jnp.result_type(count) if is_traced(count) else np.asarray(count).dtype
    if not jnp.issubdtype(kind, jnp.integer) or (not is_traced(count) and count < 0):
        raise ValueError(f"count must be an integer, 0 or more; got {count!r}")
    if isinstance(n, int) and not is_traced(count) and count > n:
        raise ValueError(f"count must be at most the {n} {unit} still there; got {count}")
    return count


def _scatter(order: Array, marked: Array) -> Array:
    """Undoes an order: entry ``order[k]`` of the result is ``marked[k]``."""
    return jnp.zeros(order.shape, bool).at[order].set(marked)
