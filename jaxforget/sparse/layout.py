"""Host: validates interactions, sorts them, and lays them out for both orientations."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxforget.types import Interactions, Side

SHORT = (4, 8, 16, 32)  # widths that are always there: what is cut into shards has short rows

STEPS_PER_OCTAVE = 2  # longer ones grow by about sqrt(2): finer ones pad less and compile longer


def build(users, items, values, *, n_users: int | None = None, n_items: int | None = None):
    """Builds the training set of every model: sorted by (user, item), in both orientations.

    Repeated pairs are kept, in their given order; ``preprocess.duplicates`` merges them.

    Args:
      users: ``[N]`` integers in ``[0, n_users)``.
      items: ``[N]`` integers in ``[0, n_items)``.
      values: ``[N]`` finite numbers: rating, label or strength.
      n_users: number of users; the largest id + 1 if None. Ids without interactions are fine.
      n_items: likewise for items.

    Returns:
      ``Interactions``; values are float32, or float64 where JAX runs in 64 bits and got them.

    Raises:
      ValueError: shapes differ, ids are not integers or out of range, or a value is not finite.

    Example:
      >>> train = build([1, 0, 1], [0, 2, 1], [5.0, 3.0, 4.0])
      >>> train.users.tolist(), train.items.tolist(), train.n_items
      ([0, 1, 1], [2, 0, 1], 3)
    """
    users, n_users = _ids("users", users, n_users)
    items, n_items = _ids("items", items, n_items)
    values = np.asarray(values)
    if values.dtype != np.float64:
        values = values.astype(np.float32)
    if not users.shape == items.shape == values.shape:
        raise ValueError(
            f"users, items and values must have one shape [N]; got {users.shape}, {items.shape}, "
            f"{values.shape}"
        )
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(
            f"values must be finite; got {values[bad]} at position {bad}: drop that row"
        )

    rank = np.lexsort((items, users))  # stable: repeated pairs keep their order
    users, items, values = users[rank], items[rank], values[rank]
    by_item = np.argsort(items, kind="stable").astype(np.int32)
    return Interactions(
        users=jnp.asarray(users),
        items=jnp.asarray(items),
        values=jnp.asarray(values),
        by_user=_side(np.arange(len(users), dtype=np.int32), users, items, n_users),
        by_item=_side(by_item, items[by_item], users[by_item], n_items),
        n_users=n_users,
        n_items=n_items,
    )


def _ids(name, ids, bound):
    ids = np.asarray(ids)
    if ids.size == 0:
        ids = ids.astype(np.int32)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} must be a vector of integers; got {ids.dtype} {ids.shape}")
    low, high = (int(ids.min()), int(ids.max())) if ids.size else (0, -1)
    bound = high + 1 if bound is None else bound
    if low < 0 or high >= bound:
        raise ValueError(
            f"{name} must lie in [0, {bound}); got {low} to {high}: encode the ids first"
        )
    return ids.astype(np.int32), bound


def _side(order, rows, others, n_rows):
    indptr = np.append(0, np.cumsum(np.bincount(rows, minlength=n_rows))).astype(np.int32)
    widths = _widths(np.diff(indptr))
    ranked, starts = rank(np, indptr, widths)
    return Side(
        order=jnp.asarray(order),
        indptr=jnp.asarray(indptr),
        indices=jnp.asarray(others),
        ranked=jnp.asarray(ranked),
        starts=jnp.asarray(starts),
        widths=widths,
    )


def rank(xp: Any, indptr: Any, widths: tuple[int, ...]) -> tuple[Any, Any]:
    """Puts the rows in order of their class: ``Side.ranked`` and ``Side.starts``.

    Args:
      xp: ``numpy`` on the host, ``jax.numpy`` in traced code.
      indptr: ``[rows + 1]``; no row is longer than the last of ``widths``.
    """
    lengths = xp.diff(indptr)
    ladder = xp.asarray((0, *widths), dtype=xp.int32)
    kind = xp.searchsorted(ladder, lengths).astype(xp.int32)  # 0: no history
    sizes = xp.sum(kind[:, None] == xp.arange(len(ladder), dtype=xp.int32)[None], axis=0)
    return xp.argsort(kind, stable=True).astype(xp.int32), xp.cumsum(sizes).astype(xp.int32)


def members(side: Side, first: Any, end: Any, count: int) -> Any:
    """``[count]`` rows of ``side.ranked`` from ``first`` to ``end``, padded by one past the last row."""
    place = first + jnp.arange(count, dtype=jnp.int32)
    return jnp.where(place < end, side.ranked.at[place].get(mode="clip"), len(side.ranked))


def _widths(lengths):
    """The widths in use, and the short ones below them."""
    used = {_width(length) for length in np.unique(lengths[lengths > 0]).tolist()}
    return tuple(sorted(used | {width for width in SHORT if width < max(used, default=0)}))


def _width(length):
    """The smallest width that holds ``length``: a short one, or one of a geometric ladder."""
    if length <= SHORT[-1]:
        return min(width for width in SHORT if width >= length)
    step = 2 ** (math.ceil(math.log2(length)) - 1) // STEPS_PER_OCTAVE
    return math.ceil(length / step) * step
