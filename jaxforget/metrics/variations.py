"""Host: other content for what is deleted, beside the same retained rows; what an audit varies."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget.sparse import layout
from jaxforget.types import ForgetSet, Interactions, Watched, watch

WHOLE_USERS = 0.1  # of the remaining interactions: most that go with whole users in ``following``


class Variation(NamedTuple):
    """The same requests over other content, and where each interaction of the original stands."""

    train: Interactions
    requests: tuple[ForgetSet, ...]
    places: Array  # [N] int32 positions in ``train.users``; in their place stands another pair
    # where an interaction was replaced


def check(train: Interactions, forget: ForgetSet) -> None:
    """Refuses a request that an audit cannot read, with a ``ValueError``."""
    before, after = (np.asarray(weights) for weights in forget)
    shape = np.shape(train.values)
    if not before.shape == after.shape == shape:
        raise ValueError(
            f"audit: a request has one weight per interaction, {shape}; got {before.shape} before "
            f"and {after.shape} after: make it of the training set that is audited"
        )
    if not (np.issubdtype(before.dtype, np.floating) and np.issubdtype(after.dtype, np.floating)):
        raise ValueError(f"audit: weights must be floating; got {before.dtype} and {after.dtype}")
    if not ((before >= 0) & (before <= 1)).all():  # false for NaN too
        raise ValueError("audit: weights before the request must lie in [0, 1]")
    if not ((after == before) | (after == 0)).all():
        raise ValueError("audit: a request leaves a weight as it is or sets it to 0")
    if (after == before).all():
        raise ValueError("audit: the request deletes nothing; give one that deletes a row")


def following(key: Array, train: Interactions, forget: ForgetSet) -> ForgetSet:
    """Draws a request that comes after ``forget``: whole users, and rows of others.

    Whole users, those with validation rows if there are such, up to a tenth of what is left and at
    least one; then as many rows of other users as ``forget`` deletes, at most half of theirs.

    Raises:
      ValueError: fewer than two users have something left.
    """
    user_key, row_key = jax.random.split(key)
    users, before, after = (np.asarray(x) for x in (train.users, *forget))
    counts = np.bincount(users[after > 0], minlength=train.n_users)
    if np.count_nonzero(counts) < 2:
        raise ValueError(
            "audit: after the request fewer than two users have a remembered interaction: audit a "
            "smaller request"
        )
    named = np.zeros(train.n_users, bool)
    if isinstance(train, Watched):
        named[np.asarray(train.valid.users)] = True
    candidates = np.flatnonzero(named & (counts > 0))
    if not len(candidates):
        candidates = np.flatnonzero(counts)
    order = candidates[np.asarray(jax.random.permutation(user_key, len(candidates)))]
    taken = np.cumsum(counts[order]) <= WHOLE_USERS * counts.sum()
    taken[0] = True
    gone = np.isin(users, order[taken]) & (after > 0)
    others = np.flatnonzero((after > 0) & ~gone)
    drawn = others[np.asarray(jax.random.permutation(row_key, len(others)))]
    gone[drawn[: min(np.count_nonzero(before != after), len(others) // 2)]] = True
    return ForgetSet(forget.after, jnp.where(jnp.asarray(gone), 0, forget.after))


def other_values(train: Interactions, requests: tuple[ForgetSet, ...]) -> Interactions:
    """The same rows, those that the requests delete with other values.

    Values are mirrored in the range of all; where mirroring would change nothing they are halved,
    and a 0 becomes 1.
    """
    values, deleted = np.asarray(train.values), _deleted(requests)
    other = np.where(deleted, _mirrored(values, values.min()), values).astype(values.dtype)
    return dataclasses.replace(train, values=jnp.asarray(other))


def other_validation(train: Interactions, requests: tuple[ForgetSet, ...]) -> Interactions | None:
    """Other values in the validation rows whose user or item has no remembered interaction left.

    They are mirrored as in ``other_values``, in a range that holds 0, so that a label changes.

    Returns:
      None where there is no such row.
    """
    if not isinstance(train, Watched):
        return None
    left, valid = np.asarray(requests[-1].after) > 0, train.valid
    lost = np.zeros(len(valid.users), bool)
    for side in ("users", "items"):
        ids = np.asarray(getattr(train, side))[left]
        lost |= ~np.isin(np.asarray(getattr(valid, side)), ids)
    if not lost.any():
        return None
    values = np.asarray(valid.values)
    other = np.where(lost, _mirrored(values, min(values.min(), 0)), values).astype(values.dtype)
    return watch(train, dataclasses.replace(valid, values=jnp.asarray(other)))


def other_pairs(key: Array, train: Interactions, requests: tuple[ForgetSet, ...]) -> Variation:
    """The deleted rows replaced by random pairs that do not occur in ``train``, of other values.

    Raises:
      ValueError: there are too few other pairs.
    """
    rows = np.flatnonzero(_deleted(requests))
    unused = _unused_pairs(key, train, len(rows))
    if len(unused) < len(rows):
        raise ValueError(
            f"audit: {len(rows)} deleted rows need as many pairs that do not occur; there are "
            f"{len(unused)}: audit a smaller request"
        )
    users, items = np.array(train.users), np.array(train.items)
    users[rows], items[rows] = unused // train.n_items, unused % train.n_items
    values = np.asarray(other_values(train, requests).values)
    return _sorted(train, users, items, values, requests)


def more_padding(key: Array, train: Interactions, requests: tuple[ForgetSet, ...]) -> Variation:
    """Random pairs that do not occur are added, with weight 0 at all times; at least one.

    As many as are deleted, or all that do not occur if these are fewer.

    Raises:
      ValueError: every pair occurs.
    """
    unused = _unused_pairs(key, train, int(np.count_nonzero(_deleted(requests))))
    if not len(unused):
        raise ValueError("audit: padding needs a pair that does not occur; every pair does")
    users = np.append(np.asarray(train.users), unused // train.n_items)
    items = np.append(np.asarray(train.items), unused % train.n_items)
    values = np.append(np.asarray(train.values), np.resize(np.asarray(train.values), len(unused)))
    return _sorted(train, users, items, values, requests)


def _deleted(requests: tuple[ForgetSet, ...]) -> np.ndarray:
    """``[N]`` bool, what the requests delete together."""
    return np.asarray(requests[0].before) != np.asarray(requests[-1].after)


def _mirrored(values: np.ndarray, low: float) -> np.ndarray:
    """``low + high - values``; halves where that changes nothing, and 1 for 0."""
    mirrored = low + values.max() - values
    halves = np.where(values == 0, 1, values / 2)
    return np.where(mirrored == values, halves, mirrored)


def _sorted(
    train: Interactions,
    users: np.ndarray,
    items: np.ndarray,
    values: np.ndarray,
    requests: tuple[ForgetSet, ...],
) -> Variation:
    """The rows as interactions; those beyond the N of ``train`` have weight 0 at all times."""
    n, order = len(train.users), np.lexsort((items, users))
    columns = (users[order], items[order], values[order])
    built = layout.build(*columns, n_users=train.n_users, n_items=train.n_items)
    built = dataclasses.replace(built, values=built.values.astype(train.values.dtype))
    if isinstance(train, Watched):
        built = watch(built, train.valid)

    def moved(weights):
        return jnp.pad(weights, (0, len(order) - n))[order]

    places = jnp.asarray(np.argsort(order)[:n].astype(np.int32))
    return Variation(built, tuple(ForgetSet(*map(moved, each)) for each in requests), places)


def _unused_pairs(key: Array, train: Interactions, count: int) -> np.ndarray:
    """Draws ``count`` different pairs that do not occur, each as ``user * n_items + item``.

    Fewer, where no more are left.
    """
    n_users, n_items = train.n_users, train.n_items
    used = np.unique(np.asarray(train.users).astype(np.int64) * n_items + np.asarray(train.items))
    count = min(count, n_users * n_items - len(used))
    drawn = np.zeros(0, np.int64)
    while len(drawn) < count:
        key, user_key, item_key = jax.random.split(key, 3)
        left = np.asarray(jax.random.randint(user_key, (4 * count,), 0, n_users)).astype(np.int64)
        right = np.asarray(jax.random.randint(item_key, (4 * count,), 0, n_items)).astype(np.int64)
        drawn = np.union1d(drawn, np.setdiff1d(left * n_items + right, used))
    return drawn[np.asarray(jax.random.permutation(key, len(drawn))[:count])]
