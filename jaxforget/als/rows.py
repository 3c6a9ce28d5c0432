"""Solves all rows of one side exactly, the other side held fixed."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget.als import woodbury
from jaxforget.sparse import dense, layout
from jaxforget.sparse.arithmetic import gather, times
from jaxforget.sparse.kernels import spmm
from jaxforget.types import Interactions, Side


class Budget(NamedTuple):
    """How much of a half-sweep is in memory at a time; a longer history is worked on alone."""

    slots: int  # history entries of a chunk, hence [slots, D] gathered factors
    rows: int  # [rows, D, D] normal matrices


# A few megabytes at D = 64; widths are 2^a and 3 * 2^a, most of which divide these slots.
CPU = Budget(slots=3072, rows=64)

ACCELERATOR = Budget(slots=1 << 19, rows=1 << 12)

# elimination of more interactions gains little over normal matrices, and compiles longer
SHORT = layout.SHORT[-1]


def cholesky(
    lhs: Array, rhs: Array, ridge: Array, gram: Array, train: Interactions, fixed: Array, *, by: str
) -> Array:
    """Solves ``(gram + sum_n lhs_n y_n y_n' + ridge I) x = sum_n rhs_n y_n`` for every row.

    On a CPU, rows of at most 32 and ``2 D / 3`` interactions are solved by ``woodbury``.

    Args:
      lhs, rhs: ``[N]`` weights in the order of ``train``.
      ridge: ``[rows]`` > 0.
      gram: ``[D, D]`` shared by every row.
      fixed: factors of the other side, ``[I, D]`` for ``by="user"``.

    Returns:
      ``[rows, D]``; a row whose right-hand side is exactly 0 is exactly 0.
    """
    side = train.by_user if by == "user" else train.by_item
    n_short = sum(width <= min(SHORT, 2 * len(gram) // 3) for width in side.widths)

    def sums(rhs, fixed):
        return spmm(train, rhs, fixed, by=by)

    def on_cpu(lhs, rhs, ridge, gram, fixed):
        any_long = side.starts[n_short] < len(ridge)
        targets = lax.cond(any_long, sums, lambda *_: _zeros(ridge, gram), rhs, fixed)
        ordered = (lhs, rhs) if by == "user" else (gather(x, side.order) for x in (lhs, rhs))
        return _on_cpu(*ordered, targets, ridge, gram, side, fixed, n_short)

    def on_accelerator(lhs, rhs, ridge, gram, fixed):
        ordered = lhs if by == "user" else gather(lhs, side.order)
        return _on_accelerator(ordered, sums(rhs, fixed), ridge, gram, side, fixed)

    return lax.platform_dependent(
        *(lhs, rhs, ridge, gram, fixed), cpu=on_cpu, default=on_accelerator
    )


def _zeros(ridge, gram):
    return jnp.zeros((len(ridge), len(gram)), gram.dtype)


def _on_cpu(lhs, rhs, targets, ridge, gram, side: Side, fixed, n_short):
    """The rows of the first ``n_short`` classes by their own length, the others by normal matrices.

    Chunks of many classes are one loop, whose body differs by class in as little as it can: most of
    the time to compile a program is spent on what differs.
    """
    out, fits = _zeros(ridge, gram), sum(width <= CPU.slots for width in side.widths)
    if n_short:
        out = _together(lhs, rhs, ridge, gram, side, fixed, range(n_short), out)
    if n_short < fits:
        out = _one_by_one(lhs, targets, ridge, gram, side, fixed, range(n_short, fits), out)
    for kind in range(max(fits, n_short), len(side.widths)):

        def single(rows, weighted, met):
            return _in_turn(gram, weighted, met, _clip(targets, rows), _clip(ridge, rows), 1)

        out = _class_by_chunks(side, kind, 1, fixed, lhs, single, out)
    return out


def _together(lhs, rhs, ridge, gram, side, fixed, kinds, out):
    """Writes the rows of some classes by ``woodbury``."""
    shared = woodbury.decompose(gram, ridge)
    turned = times(fixed, shared.basis)
    plan = _Plan(side, kinds, CPU.slots)

    def chunk(k, out):
        kind, rows, _, place = plan.chunk(k)
        scale = woodbury.scales(shared, _clip(ridge, rows))
        met, weights = _gather(side, turned, *place, (lhs, rhs))

        def solve(shape):
            found = woodbury.solve(*plan.fold(shape, met, *weights), scale[: shape[0]])
            return jnp.pad(found, ((0, len(rows) - shape[0]), (0, 0)))

        found = scale * lax.switch(kind, [functools.partial(solve, s) for s in plan.shapes])
        found = times(found, shared.basis.T)
        return out.at[rows].set(found, mode="drop")

    return lax.fori_loop(0, plan.n_chunks, chunk, out)


def _one_by_one(lhs, targets, ridge, gram, side, fixed, kinds, out):
    """Writes the rows of some classes by one factorisation each."""
    plan = _Plan(side, kinds, CPU.rows)

    def chunk(k, out):
        kind, rows, live, place = plan.chunk(k)
        aims = _clip(targets, rows), _clip(ridge, rows), live
        met, (weights,) = _gather(side, fixed, *place, (lhs,))
        weighted = weights[:, None] * met

        def solve(shape):
            return _in_turn(gram, *plan.fold(shape, weighted, met), *aims)

        found = lax.switch(kind, [functools.partial(solve, s) for s in plan.shapes])
        return out.at[rows].set(found, mode="drop")

    return lax.fori_loop(0, plan.n_chunks, chunk, out)


class _Plan:
    """How the rows of some classes are cut into chunks; a row past the last one is padding."""

    def __init__(self, side: Side, kinds: range, most: int):
        widths = [side.widths[kind] for kind in kinds]
        self.shapes = [(min(most, CPU.slots // width), width) for width in widths]
        self.side, self.starts = side, side.starts[kinds.start : kinds.stop + 1]
        self.counts = jnp.array([count for count, _ in self.shapes], jnp.int32)
        self.widths = jnp.array(widths, jnp.int32)
        self.chunks = -(-jnp.diff(self.starts) // self.counts)
        self.ends = jnp.cumsum(self.chunks)
        self.n_chunks = self.ends[-1]

    def chunk(self, k):
        """The class of chunk ``k``, its rows, how many are real, and where their histories are read."""
        kind = jnp.sum(k >= self.ends, dtype=jnp.int32)
        count = self.counts[kind]
        first = self.starts[kind] + (k - self.ends[kind] + self.chunks[kind]) * count
        end = jnp.minimum(self.starts[kind + 1], first + count)
        rows = layout.members(self.side, first, end, max(count for count, _ in self.shapes))
        place = jnp.arange(CPU.slots, dtype=jnp.int32)
        row = rows.at[place // self.widths[kind]].get(mode="fill", fill_value=len(self.side.ranked))
        return kind, rows, end - first, (row, place % self.widths[kind])

    @staticmethod
    def fold(shape, *arrays):
        """Folds arrays ``[slots, ...]`` into ``[R, L, ...]``."""
        return [x[: shape[0] * shape[1]].reshape(*shape, *x.shape[1:]) for x in arrays]


def _on_accelerator(lhs, targets, ridge, gram, side: Side, fixed):
    """A loop per class: under ``vmap`` over layouts a choice by class would run every branch."""

    def at_once(rows, weighted, met):
        matrices = _products(weighted, met) + gram[None]
        matrices += jax.vmap(_diagonal, (0, None))(_clip(ridge, rows), gram)
        return jax.vmap(dense.solve_spd)(
            matrices, _clip(targets, rows)
        )  # rows of padding are solvable too

    out = _zeros(ridge, gram)
    for kind, width in enumerate(side.widths):
        count = min(ACCELERATOR.rows, ACCELERATOR.slots // width, len(out))
        out = _class_by_chunks(side, kind, max(1, count), fixed, lhs, at_once, out)
    return out


def _class_by_chunks(side, kind, count, fixed, lhs, solve, out):
    """Writes the rows of one class, ``count`` at a time."""
    first, end = side.starts[kind], side.starts[kind + 1]
    offset = jnp.arange(side.widths[kind], dtype=jnp.int32)[None]

    def chunk(k, out):
        rows = layout.members(side, first + k * count, end, count)
        met, (weights,) = _gather(side, fixed, rows[:, None], offset, (lhs,))
        return out.at[rows].set(solve(rows, weights[:, :, None] * met, met), mode="drop")

    return lax.fori_loop(0, -(-(end - first) // count), chunk, out)


def _gather(side, fixed, row, offset, weights):
    """The factors met at some places of some rows, and their weights: 0 outside a row."""
    first, end = (_clip(side.indptr, row + k) for k in (0, 1))
    slot = first + offset
    inside = slot < end  # never where row is past the end: both bounds are N
    slot = jnp.where(inside, slot, 0)
    met = gather(fixed, gather(side.indices, slot))
    return met, [jnp.where(inside, gather(x, slot), 0) for x in weights]


def _clip(array, index):
    return array.at[index].get(mode="clip")


def _products(weighted, met):
    """``[R, D, D]`` sums over the history of a row."""
    return jnp.einsum("rld,rle->rde", weighted, met, precision="highest")


def _in_turn(gram, weighted, met, targets, ridge, live):
    """Solutions by normal matrices, of the first ``live`` rows; 0 for the rest."""
    products = _products(weighted, met)

    def solve(k, out):
        return out.at[k].set(
            dense.solve_spd(products[k] + gram + _diagonal(ridge[k], gram), targets[k])
        )

    return lax.fori_loop(0, live, solve, jnp.zeros_like(targets))


def _diagonal(ridge, gram):
    return ridge * jnp.eye(len(gram), dtype=gram.dtype)
