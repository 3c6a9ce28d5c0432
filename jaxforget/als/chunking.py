"""How the rows of one side are cut into chunks of fixed shape, and how their histories are read.

A chunk holds rows of one class, hence of one padded length: ``R`` rows of width ``L``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxforget.sparse import layout
from jaxforget.sparse.arithmetic import gather
from jaxforget.types import Side


class Budget(NamedTuple):
    """How much of a half-sweep is in memory at a time; a longer history is a chunk of its own."""

    slots: int  # history entries of a chunk, hence [slots, D] gathered factors
    rows: int  # [rows, D, D] normal matrices


# A few megabytes at D = 64; widths are 2^a and 3 * 2^a, most of which divide these slots.
CPU = Budget(slots=3072, rows=64)


class Band(NamedTuple):
    """Classes whose rows an accelerator solves side by side."""

    classes: range
    rows: int  # solved at a time
    step: int  # entries of each history that are read at a time


# Longest history of a band, most rows at a time, entries at a time. A step of a loop costs a GPU
# more than what it computes for padding: few and wide ones were the fastest by far.
BANDS = ((256, 1 << 12, 64), (layout.LIMIT, 1 << 9, 512))

GROUPS = 8  # the rows of a side are cut into as many groups at least, so that few hold padding

MATRICES = 1 << 28  # numbers in the normal matrices of a group at most


def bands(side: Side, n_columns: int) -> list[Band]:
    """The bands of a side in which rows may lie, for factors ``[rows, n_columns]``.

    A group has a power of two of rows: at least 32, else an accelerator idles.
    """
    most = 1 << max(5, (len(side.ranked) // GROUPS).bit_length())
    most = min(most, max(1, len(side.ranked)), max(1, MATRICES // max(1, n_columns**2)))
    found, start = [], 0
    for longest, rows, step in BANDS:
        stop = start + sum(width <= longest for width in side.widths[start:])
        if stop > start:
            classes, step = range(start, stop), min(step, side.widths[stop - 1])
            found.append(Band(classes, min(rows, most), step))
        start = stop
    return found


class Chunk(NamedTuple):
    """One chunk: rows of one class, and the entries of their histories laid end to end."""

    branch: Array  # scalar, the class, as an index into ``shapes``
    rows: Array  # [most rows of any chunk] row ids; past-the-end ids are padding
    n_rows: Array  # scalar, how many of them are real
    row: Array  # [slots] the row that a slot belongs to; past-the-end ids are padding
    offset: Array  # [slots] which entry of that row's history


class Chunks:
    """Cuts the rows of consecutive classes into chunks, each of one class and fixed shape.

    ``shapes`` holds ``(R, L)`` of each class; ``n_chunks`` is traced, as the rows of a class are.
    """

    def __init__(self, side: Side, classes: range, most_rows: int):
        widths = [side.widths[class_id] for class_id in classes]
        self.shapes = [(min(most_rows, CPU.slots // width), width) for width in widths]
        self.side, self.starts = side, side.starts[classes.start : classes.stop + 1]
        self.counts = jnp.array([count for count, _ in self.shapes], jnp.int32)
        self.widths = jnp.array(widths, jnp.int32)
        self.per_class = -(-jnp.diff(self.starts) // self.counts)
        self.ends = jnp.cumsum(self.per_class)
        self.n_chunks = self.ends[-1]

    def read(self, k: Array) -> Chunk:
        """Chunk ``k`` of ``n_chunks``."""
        branch = jnp.sum(k >= self.ends, dtype=jnp.int32)
        count = self.counts[branch]
        first = self.starts[branch] + (k - self.ends[branch] + self.per_class[branch]) * count
        end = jnp.minimum(self.starts[branch + 1], first + count)
        rows = layout.members(self.side, first, end, max(count for count, _ in self.shapes))
        slots = jnp.arange(CPU.slots, dtype=jnp.int32)
        past_end = len(self.side.ranked)
        row = rows.at[slots // self.widths[branch]].get(mode="fill", fill_value=past_end)
        return Chunk(branch, rows, end - first, row, slots % self.widths[branch])

    @staticmethod
    def fold(shape: tuple[int, int], *arrays: Array) -> list[Array]:
        """Folds arrays ``[slots, ...]`` into ``[R, L, ...]``."""
        return [x[: shape[0] * shape[1]].reshape(*shape, *x.shape[1:]) for x in arrays]


def read_histories(
    side: Side, fixed: Array, row: Array, offset: Array, weights: Sequence[Array]
) -> tuple[Array, list[Array]]:
    """Reads entries of the histories of some rows.

    Args:
      side: the orientation whose rows are read.
      fixed: ``[I, D]`` or ``[U, D]`` factors of the other side.
      row: row ids, of any shape; those past the end are padding.
      offset: which entry of each row's history; broadcasts with ``row``.
      weights: arrays ``[N]`` in the order of ``side``.

    Returns:
      ``[..., D]`` factors, arbitrary for padding, and ``[...]`` of each weight, 0 for padding.
    """
    first, end = (clip(side.indptr, row + k) for k in (0, 1))
    slot = first + offset
    inside = slot < end  # never for a row past the end: both of its bounds are N
    slot = jnp.where(inside, slot, 0)
    history = gather(fixed, gather(side.indices, slot))
    return history, [jnp.where(inside, gather(x, slot), 0) for x in weights]


def clip(array: Array, index: Array) -> Array:
    """Reads ``array[index]``; past the end, where padding points, the last entry."""
    return array.at[index].get(mode="clip")
