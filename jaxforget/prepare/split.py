"""Host: seeded splits into training, validation and test interactions."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from jaxforget import _checks, _shares
from jaxforget.data._frame import finite, number, present, refuse_repeats, require
from jaxforget.sparse import layout
from jaxforget.types import Interactions, Split

TRAIN, VALID, TEST = 0, 1, 2

By = Literal["interaction", "user", "time"]


class Prepared(NamedTuple):
    """A split with the way back to the original ids."""

    split: Split
    users: np.ndarray  # [U] original user ids
    items: np.ndarray  # [I] original item ids
    position: np.ndarray  # [N] int64, row of each training interaction in the shuffled order


def legacy_permutation(seed: int, n: int) -> np.ndarray:
    """The order that ``np.random.seed(seed); np.random.shuffle(np.arange(n))`` gives.

    Published split recipes use NumPy's old generator, whose stream is frozen; so every machine
    gets the published split.

    Example:
      >>> legacy_permutation(0, 5).tolist()
      [2, 0, 1, 3, 4]
    """
    order = np.arange(n)
    np.random.RandomState(seed).shuffle(order)
    return order


def assign(
    users: Any,
    *,
    seed: int,
    shares: Sequence[float],
    by: By = "interaction",
    times: Any = None,
) -> np.ndarray:
    """Assigns every row to training (0), validation (1) or test (2).

    With the shares ``s``, the first ``floor(s_0 N)`` rows in an order are training, those up to
    ``floor((s_0 + s_1) N)`` validation, the rest test. ``by="interaction"``: the order is
    ``legacy_permutation(seed, N)``, as in published recipes. ``by="user"``: the same order, cut
    within the rows of each user, who keeps at least one training row. ``by="time"``: oldest first
    over all rows, equal times in file order; the seed is not read.

    Args:
      users: ``[N]`` user of each row, of any kind.
      seed: in ``[0, 2**32)``.
      shares: of training, validation and test; they sum to 1.
      by: what is cut, see above.
      times: ``[N]``, read by ``by="time"`` only, and needed there.

    Returns:
      ``[N]`` int8.

    Raises:
      ValueError: shares that do not sum to 1, another ``by``, an empty training part, a missing
        user, or times that are not there, too few, neither numbers nor dates, or not finite.

    Example:
      >>> assign([0, 0, 1, 1, 1], seed=0, shares=(0.6, 0.2, 0.2)).tolist()
      [0, 0, 0, 1, 2]
    """
    return _assign(np.asarray(users), seed, shares, by, times)[0]


def split(
    interactions: Interactions,
    *,
    seed: int,
    shares: Sequence[float],
    by: By = "interaction",
    times: Any = None,
) -> Split:
    """Splits interactions; all three parts keep the ids, so some may occur in one part only.

    Args:
      interactions: what ``data.load`` returns.
      seed: as in ``assign``, like ``shares``, ``by`` and ``times`` (in the order of interactions).
      shares: of training, validation and test.
      by: what is cut.
      times: ``[N]``, needed by ``by="time"``.

    Returns:
      The three parts.

    Raises:
      ValueError: as ``assign``.
    """
    users, items = np.asarray(interactions.users), np.asarray(interactions.items)
    values = np.asarray(interactions.values)
    part = assign(users, seed=seed, shares=shares, by=by, times=times)
    n_users, n_items = interactions.n_users, interactions.n_items
    parts = []
    for kept in (part == p for p in (TRAIN, VALID, TEST)):
        columns = (users[kept], items[kept], values[kept])
        parts.append(layout.build(*columns, n_users=n_users, n_items=n_items))
    return Split(*parts)


def split_frame(
    frame: Any,
    *,
    seed: int,
    shares: Sequence[float],
    by: By = "interaction",
    cold: Literal["drop", "keep"] = "drop",
) -> Prepared:
    """Splits a raw table and numbers its ids.

    Args:
      frame: a raw table.
      seed: as in ``assign``, like ``shares`` and ``by``.
      shares: of training, validation and test.
      by: what is cut.
      cold: ``"drop"`` numbers only what occurs in training, by first appearance in the shuffled
        order, and drops validation and test rows that name anything else, as published recipes do;
        ``"keep"`` numbers everything, by first appearance in the file, and drops nothing.

    Returns:
      The split, the original ids, and the position of each training row in the shuffled order.

    Raises:
      ValueError: as ``assign``, another ``cold``, a row without id or finite value, or a pair that
        occurs twice: with a row of it in training and one in the test part, the model would be
        tested on what it was taught.
    """
    require(frame)
    times = frame["time"] if "time" in frame else None
    part, order = _assign(frame["user"], seed, shares, by, times)
    rows = [order[part[order] == p] for p in (TRAIN, VALID, TEST)]  # each in the shuffled order
    return numbered(frame, rows, cold)


def numbered(frame: Any, rows: list[np.ndarray], cold: str) -> Prepared:
    """The three parts, given by the rows of each in their order, with ids as numbers."""
    _checks.choice("split", ("drop", "keep"), cold=cold)
    refuse_repeats(frame)
    coded = [_number(frame[side], rows[TRAIN], cold) for side in ("user", "item")]
    (users, user_labels), (items, item_labels) = coded
    values = frame["value"].to_numpy()
    known = (users >= 0) & (items >= 0)
    parts = []
    for kept in (chosen[known[chosen]] for chosen in rows):
        n_users, n_items = len(user_labels), len(item_labels)
        columns = (users[kept], items[kept], values[kept])
        parts.append(layout.build(*columns, n_users=n_users, n_items=n_items))
    train = rows[TRAIN]
    position = np.lexsort((items[train], users[train]))  # as ``layout.build`` sorts
    return Prepared(Split(*parts), user_labels, item_labels, position)


def _assign(
    users: Any, seed: int, shares: Sequence[float], by: By, times: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The part of each row ``[N]``, and the order ``[N]`` it was cut from."""
    import pandas as pd

    _checks.choice("split", get_args(By), by=by)
    n, cuts = len(users), _cuts(shares)
    if by == "time":
        order = _oldest_first(times, n)
    else:
        order = legacy_permutation(seed, n)
    if by == "user":
        present(users, "user")
    groups = pd.factorize(users)[0][order] if by == "user" else np.zeros(n, np.int64)
    sizes = np.bincount(groups, minlength=1)
    # of each group: rows that are training, and rows that are training or validation
    n_train, n_known = (np.array([share * int(size) // 1 for size in sizes]) for share in cuts)
    if by == "user":
        n_train = np.maximum(n_train, 1)
        n_known = np.maximum(n_known, n_train)
    grouped = np.argsort(groups, kind="stable")
    rank = np.empty(n, np.int64)  # of each row within its group
    rank[grouped] = np.arange(n) - (np.cumsum(sizes) - sizes)[groups[grouped]]
    part = np.empty(n, np.int8)
    part[order] = (rank >= n_train[groups]).astype(np.int8) + (rank >= n_known[groups])
    if not (part == TRAIN).any():
        raise ValueError(f"the training part is empty: {n} rows, shares {tuple(shares)}")
    return part, order


def _oldest_first(times: Any, n: int) -> np.ndarray:
    """The order of ``n`` rows by their times, equal ones as they stand."""
    import pandas as pd

    if times is None:
        raise ValueError('by="time" needs the times of the rows, and these data have none')
    if np.shape(times) != (n,):
        raise ValueError(f"times must be [{n}], one per row; got {list(np.shape(times))}")
    column = pd.Series(np.asarray(times) if hasattr(times, "__array__") else times)
    finite(column, "time", dates=True)
    try:
        return np.argsort(column.to_numpy(), kind="stable")
    except TypeError as fault:  # dates with a time zone and without, or dates and times
        raise ValueError(f"time cannot be put in order: {fault}: write all in one form") from None


def _cuts(shares: Sequence[float]) -> tuple[Fraction, Fraction]:
    """The two cumulated shares as the fractions that were meant: 0.7 + 0.1 is exactly 0.8."""
    shares = [float(share) for share in shares]
    if len(shares) != 3 or not all(0 <= s <= 1 for s in shares) or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(
            "shares must be three numbers of at least 0 that sum to 1 (training, validation, "
            f"test); got {shares}"
        )
    first, second = (_shares.exact(share) for share in shares[:2])
    return first, first + second


def _number(column: Any, train: np.ndarray, cold: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of all rows' ids (-1: not in training) and the original ids that they stand for."""
    import pandas as pd

    codes, labels = number(column)
    if cold == "keep":
        return codes, labels
    warm = pd.factorize(codes[train])[1]  # the codes that occur in training, as they appear
    renumbered = np.full(len(labels), -1)
    renumbered[warm] = np.arange(len(warm))
    return renumbered[codes], labels[warm]
