"""Host: validates interactions, sorts them, and lays them out for both orientations."""

import math
from typing import Any, Literal, NoReturn, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from jaxforget import _checks
from jaxforget.sparse.arithmetic import gather
from jaxforget.types import Interactions, Side

Repeats = Literal["refuse", "sum", "last", "mean"]

LIMIT = 2**31 - 1  # of ids and of positions: both are int32, and padding is the number of rows
GUESSED = 10**8  # no id is taken for a count of rows from here on: raw ids look like this

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
    repeats: Repeats = "refuse",
) -> Interactions:
    """Builds the training set of every model: sorted by (user, item), in both orientations.

    No pair occurs twice in what is returned: the models and measures rely on it.

    Args:
      users: ``[N]`` integers in ``[0, n_users)``.
      items: ``[N]`` integers in ``[0, n_items)``.
      values: ``[N]`` finite numbers: rating, label or strength.
      n_users: number of users; the largest id + 1 if None. Ids without interactions are fine.
      n_items: likewise for items.
      repeats: what to do with a pair that is given more than once: ``"refuse"`` it, or keep one
        interaction with the ``"sum"``, the ``"last"`` or the ``"mean"`` of its values.

    Returns:
      ``Interactions``; values are float32, or float64 where JAX runs in 64 bits and got them.

    Raises:
      ValueError: shapes differ, ids are not integers or out of range, a value is not finite (in
        the precision of the result), a pair is repeated and ``repeats="refuse"``, or there are
        more users, items or interactions than 32 bits can number.

    Example:
      >>> train = build([1, 0, 1], [0, 2, 1], [5.0, 3.0, 4.0])
      >>> train.users.tolist(), train.items.tolist(), train.n_items
      ([0, 1, 1], [2, 0, 1], 3)
      >>> build([0, 0], [1, 1], [2.0, 3.0], repeats="sum").values.tolist()
      [5.0]
    """
    _checks.choice("layout.build", get_args(Repeats), repeats=repeats)
    columns = np.asarray(users), np.asarray(items), np.asarray(values)
    if len({column.shape for column in columns}) > 1:
        shapes = ", ".join(str(column.shape) for column in columns)
        raise ValueError(f"users, items and values must have one shape [N]; got {shapes}")
    if columns[0].size > LIMIT:
        raise ValueError(
            f"at most {LIMIT} interactions can be numbered; got {columns[0].size}: take fewer rows"
        )
    user_ids, n_users = _check_ids("users", columns[0], n_users)
    item_ids, n_items = _check_ids("items", columns[1], n_items)
    numbers = _check_values(columns[2])

    by_user = np.lexsort((item_ids, user_ids))  # stable: repeated pairs keep their order
    user_ids, item_ids, numbers = user_ids[by_user], item_ids[by_user], numbers[by_user]
    again = (np.diff(user_ids) == 0) & (np.diff(item_ids) == 0)  # entry k + 1 repeats entry k
    if again.any():
        if repeats == "refuse":
            _refuse_repeats(user_ids, item_ids, by_user, again)
        firsts = np.flatnonzero(np.append(True, ~again))
        user_ids, item_ids = user_ids[firsts], item_ids[firsts]
        numbers = _finite(_merge(numbers, firsts, repeats), numbers.dtype, "merged value")
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


def _check_ids(name: str, ids: np.ndarray, bound: int | None) -> tuple[np.ndarray, int]:
    """The ids as int32 and their bound, or the ValueError of ``build``; nothing is allocated."""
    if ids.size == 0 and ids.ndim == 1:
        ids = np.zeros(0, np.int32)  # an empty list has no integer type of its own
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            f"{name} must be a vector of integers; got {ids.dtype} {ids.shape}: encode the ids "
            "first (interop.encode)"
        )
    low, high = (int(ids.min()), int(ids.max())) if ids.size else (0, -1)
    if bound is None:
        if high >= GUESSED:
            raise ValueError(
                f"{name} go up to {high}, too far to number everything below: encode the ids "
                f"first (interop.encode), or give n_{name}"
            )
        bound = high + 1
    _checks.count("layout.build", 0, **{f"n_{name}": bound})
    if bound > LIMIT:
        raise ValueError(
            f"n_{name} must be at most {LIMIT}, as ids have 32 bits; got {bound}: encode the ids "
            "first (interop.encode)"
        )
    if low < 0 or high >= bound:
        raise ValueError(
            f"{name} must lie in [0, {bound}); got {low} to {high}: encode the ids first"
        )
    return ids.astype(np.int32), int(bound)


def _check_values(values: np.ndarray) -> np.ndarray:
    """The values in the precision that JAX will keep, or the ValueError of ``build``."""
    if values.dtype.kind not in "biuf":
        raise ValueError(f"values must be numbers; got {values.dtype}: convert them first")
    dtype = values.dtype if values.dtype == np.float64 else np.dtype(np.float32)
    return _finite(values, jax.dtypes.canonicalize_dtype(dtype), "value")


def _finite(values: np.ndarray, dtype: np.dtype, what: str) -> np.ndarray:
    """The values in a precision, refused where they are no finite numbers of it."""
    with np.errstate(over="ignore"):
        numbers = values.astype(dtype)
    if len(bad := np.flatnonzero(~np.isfinite(numbers))):
        first = int(bad[0])
        why = "drop that row" if not np.isfinite(values[first]) else "scale the values"
        raise ValueError(
            f"values must be finite numbers of {dtype}; got the {what} {values[first]} "
            f"at position {first}: {why}"
        )
    return numbers


def _merge(values: np.ndarray, firsts: np.ndarray, repeats: Repeats) -> np.ndarray:
    """One value per pair, in 64 bits; the values of a pair stand together, from its first on."""
    values = values.astype(np.float64)
    if repeats == "last":
        return values[np.append(firsts[1:], len(values)) - 1]
    with np.errstate(over="ignore"):
        summed = np.add.reduceat(values, firsts)
    if repeats == "sum":
        return summed
    return summed / np.diff(np.append(firsts, len(values)))


def _refuse_repeats(
    users: np.ndarray, items: np.ndarray, order: np.ndarray, again: np.ndarray
) -> NoReturn:
    """Names the first row, in the given order, that repeats an earlier one."""
    later = np.flatnonzero(again) + 1
    first = later[np.argmin(order[later])]
    raise ValueError(
        f"{len(later)} interactions repeat an earlier pair, the first of them user "
        f"{users[first]} with item {items[first]} at position {order[first]}: merge them with "
        'repeats="sum", "last" or "mean" (in a config: the step duplicates)'
    )


def _orient(order: np.ndarray, rows: np.ndarray, columns: np.ndarray, n_rows: int) -> Side:
    """The interactions as a sparse matrix in compressed rows; all arrays are in row order."""
    indptr = np.append(0, np.cumsum(np.bincount(rows, minlength=n_rows))).astype(np.int32)
    widths = widths_of(np.diff(indptr))
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
    return part(side.ranked, first, end, count)


def part(ids: Array, first: Array, end: Array, count: int) -> Array:
    """Reads ``ids[first:end]`` of a list of all ids as ``[count]``; padding is their number."""
    slots = first + jnp.arange(count, dtype=jnp.int32)
    read = gather(ids, jnp.minimum(slots, len(ids) - 1))
    return jnp.where(slots < end, read, len(ids))


def widths_of(lengths: np.ndarray) -> tuple[int, ...]:
    """The widths that these row lengths use, and the short widths below them."""
    used = {_width(length) for length in np.unique(lengths[lengths > 0]).tolist()}
    return tuple(sorted(used | {width for width in SHORT if width < max(used, default=0)}))


def _width(length: int) -> int:
    """The smallest width for a row: one of ``SHORT``, or one of ``STEPS_PER_OCTAVE`` per octave."""
    if length <= SHORT[-1]:
        return min(width for width in SHORT if width >= length)
    step = 2 ** (math.ceil(math.log2(length)) - 1) // STEPS_PER_OCTAVE
    return math.ceil(length / step) * step
