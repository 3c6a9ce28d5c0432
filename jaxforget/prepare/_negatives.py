"""Host: draws pairs that a table lacks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget.data._frame import number


def draw(frame: Any, *, seed: int, per_positive: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws items that a user has no row with, ``per_positive`` for each row with a value above 0.

    Returns:
      Places of those rows, each ``per_positive`` times, by user; and an item id for each.

    Raises:
      ValueError: an id is missing, or a user has too few items left.
    """
    users, _ = number(frame["user"])
    items, labels = number(frame["item"])
    positive = frame["value"].to_numpy() > 0
    shape = (per_positive * int(positive.sum()),)
    bits = np.asarray(jax.random.bits(jax.random.key(seed), shape, jnp.uint32))
    beside, drawn, n_drawn = [], [], 0
    order = np.argsort(users, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(users[order])) + 1):
        rows, taken = np.repeat(own[positive[own]], per_positive), np.unique(items[own])
        n_free = len(labels) - len(taken)
        if len(rows) > n_free:
            raise ValueError(
                f"sampled_negatives: user {frame['user'].iloc[own[0]]} needs {len(rows)} items "
                f"that it has no row with, and there are {n_free}: ask for fewer per positive"
            )
        free = _subset(bits[n_drawn : n_drawn + len(rows)].tolist(), n_free)
        # the r-th free item comes after so many taken ones
        drawn.append(free + np.searchsorted(taken - np.arange(len(taken)), free, side="right"))
        beside.append(rows)
        n_drawn += len(rows)
    return np.concatenate(beside), labels[np.concatenate(drawn)]


def _subset(bits: list[int], n: int) -> np.ndarray:
    """As many of the first n integers as there are 32-bit draws, by Floyd's algorithm.

    Source: Bentley and Floyd, A Sample of Brilliance, Communications of the ACM 30 (9), 1987.
    """
    chosen: dict[int, None] = {}
    for last, draw in enumerate(bits, start=n - len(bits)):
        one = draw * (last + 1) >> 32
        chosen[last if one in chosen else one] = None
    return np.fromiter(chosen, np.int64, len(chosen))
