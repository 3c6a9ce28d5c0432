"""Host: validates interactions, sorts them, and lays them out for both orientations."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from jaxforget.types import Interactions, Side

# Widths of the classes of short rows. Each of them is in every layout that has longer rows, because
# cutting interactions into shards shortens rows without building a new layout.
SHORT = (4, 8, 16, 32)

# Widths above the short ones per doubling: more of them pad less and take longer to compile.
STEPS_PER_OCTAVE = 2


def build(
    users: ArrayLike,
    items: ArrayLike,
    values: ArrayLike,
    *,
    n_users: int | None = None,
    n_items: int | None = None,
) -> Interactions:
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
    user_ids, n_users = _check_ids("users", users, n_users)
    item_ids, n_items = _check_ids("items", items, n_items)
    numbers = np.asarray(values)
    if numbers.dtype != np.float64:
        numbers = numbers.astype(np.float32)
    if not user_ids.shape == item_ids.shape == numbers.shape:
        raise ValueError(
            f"users, items and values must have one shape [N]; got {user_ids.shape}, "
            f"{item_ids.shape}, {numbers.shape}"
        )
    if not np.isfinite(numbers).all():
        bad = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise ValueError(
            f"values must be finite; got {numbers[bad]} at position {bad}: drop that row"
        )

    by_user = np.lexsort((item_ids, user_ids))  # stable: repeated pairs keep their order
    user_ids, item_ids, numbers = user_ids[by_user], item_ids[by_user], numbers[by_user]
    by_item = np.argsort(item_ids, kind="stable").astype(np.int32)
    return Interactions(
        users=jnp.asarray(user_ids),
        items=jnp.asarray(item_ids),
        values=jnp.asarray(numbers),
        by_user=_orient(np.arange(len(user_ids), dtype=np.int32), user_ids, item_ids, n_users),
        by_item=_orient(by_item, item_ids[by_item], user_ids[by_item], n_items),
        n_users=n_users,
        n_items=n_items,
    )


def _check_ids(name: str, given: ArrayLike, bound: int | None) -> tuple[np.ndarray, int]:
    """The ids as int32 and their bound, or the ValueError of ``build``."""
    ids = np.asarray(given)
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


def _orient(order: np.ndarray, rows: np.ndarray, columns: np.ndarray, n_rows: int) -> Side:
    """The interactions as a sparse matrix in compressed rows; all arrays are in row order."""
    indptr = np.append(0, np.cumsum(np.bincount(rows, minlength=n_rows))).astype(np.int32)
    widths = _widths(np.diff(indptr))
    ranked, starts = rank(np, indptr, widths)
    return Side(
        order=jnp.asarray(order),
        indptr=jnp.asarray(indptr),
        indices=jnp.asarray(columns),
        ranked=jnp.asarray(ranked),
        starts=jnp.asarray(starts),
        widths=widths,
    )


def rank(xp: Any, indptr: Any, widths: tuple[int, ...]) -> tuple[Any, Any]:
    """Sorts the rows by the class of their length.

    Args:
      xp: ``numpy`` on the host, ``jax.numpy`` in traced code.
      indptr: ``[rows + 1]`` int32 where each row starts; no row is longer than the last width.
      widths: ``[C]`` of the classes, increasing.

    Returns:
      ``ranked`` and ``starts`` of ``Side``.
    """
    lengths = xp.diff(indptr)
    ladder = xp.asarray((0, *widths), dtype=xp.int32)
    classes = xp.searchsorted(ladder, lengths).astype(xp.int32)  # 0: a row without interactions
    sizes = xp.sum(classes[:, None] == xp.arange(len(ladder), dtype=xp.int32)[None], axis=0)
    return xp.argsort(classes, stable=True).astype(xp.int32), xp.cumsum(sizes).astype(xp.int32)


def members(side: Side, first: Array, end: Array, count: int) -> Array:
    """Reads ``side.ranked[first:end]`` as ``[count]`` row ids, for bounds that are traced.

    Padding is the number of rows: an id past the end, which a scatter drops.
    """
    slots = first + jnp.arange(count, dtype=jnp.int32)
    return jnp.where(slots < end, side.ranked.at[slots].get(mode="clip"), len(side.ranked))


def _widths(lengths: np.ndarray) -> tuple[int, ...]:
    """The widths that these row lengths use, and the short widths below them."""
    used = {_width(length) for length in np.unique(lengths[lengths > 0]).tolist()}
    return tuple(sorted(used | {width for width in SHORT if width < max(used, default=0)}))


def _width(length: int) -> int:
    """The smallest width for a row: one of ``SHORT``, or one of ``STEPS_PER_OCTAVE`` per octave."""
    if length <= SHORT[-1]:
        return min(width for width in SHORT if width >= length)
    step = 2 ** (math.ceil(math.log2(length)) - 1) // STEPS_PER_OCTAVE
    return math.ceil(length / step) * step
