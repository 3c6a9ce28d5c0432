"""Solves the rows of one side chunk by chunk, each of one class of history length.

``rows.solve_exactly`` says what is solved, and chooses between the two ways: ``on_cpu`` and
``on_accelerator``.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget.als import chunking, woodbury
from jaxforget.sparse import dense, layout
from jaxforget.sparse.arithmetic import times
from jaxforget.types import Side


def zeros(ridge: Array, gram: Array) -> Array:
    """``[rows, D]``, the result before any row is solved."""
    return jnp.zeros((len(ridge), len(gram)), gram.dtype)


def on_cpu(
    curvature: Array,
    target: Array,
    rhs: Array,
    ridge: Array,
    gram: Array,
    side: Side,
    fixed: Array,
    n_short: int,
) -> Array:
    """Solves the rows of the first ``n_short`` classes by woodbury, the others by normal matrices.

    All classes of one kind share one loop over chunks, in which a ``lax.switch`` chooses only what
    depends on the shape of the chunk: each branch adds most of its own compile time to the program.

    Args:
      curvature, target: ``[N]`` in the order of ``side``.
      rhs: ``[rows, D]`` right-hand sides; not read for the rows of short classes.
    """
    out, n_fit = zeros(ridge, gram), sum(width <= chunking.CPU.slots for width in side.widths)
    if n_short:
        short = range(n_short)
        out = _write_by_woodbury(curvature, target, ridge, gram, side, fixed, short, out)
    if n_short < n_fit:
        classes = range(n_short, n_fit)
        out = _write_by_normal_matrices(curvature, rhs, ridge, gram, side, fixed, classes, out)

    def solve_one(rows, weighted, history):
        return _solve_in_turn(
            gram, weighted, history, chunking.clip(rhs, rows), chunking.clip(ridge, rows), 1
        )

    for class_id in range(max(n_fit, n_short), len(side.widths)):
        out = _write_class(side, class_id, fixed, curvature, solve_one, out)
    return out


def _write_by_woodbury(curvature, target, ridge, gram, side, fixed, classes: range, out):
    """Solves the rows of some classes in systems of the length of their history."""
    shared = woodbury.decompose(gram, ridge)
    rotated = times(fixed, shared.basis)
    chunks = chunking.Chunks(side, classes, chunking.CPU.slots)

    def solve_chunk(k, out):
        chunk = chunks.read(k)
        rows = chunk.rows
        scale = woodbury.scales(shared, chunking.clip(ridge, rows))
        history, weights = chunking.read_histories(
            side, rotated, chunk.row, chunk.offset, (curvature, target)
        )

        def solve(shape):
            y, curvature, target = chunks.fold(shape, history, *weights)
            x = woodbury.solve_short_rows(y, curvature, target, scale[: shape[0]])
            return jnp.pad(x, ((0, len(rows) - shape[0]), (0, 0)))

        branches = [functools.partial(solve, shape) for shape in chunks.shapes]
        x = scale * _varying.switch(chunk.branch, branches)
        x = times(x, shared.basis.T)
        return out.at[rows].set(x, mode="drop")

    return _varying.fori_loop(0, chunks.n_chunks, solve_chunk, out)


def _write_by_normal_matrices(curvature, rhs, ridge, gram, side, fixed, classes: range, out):
    """Solves the rows of some classes by one ``[D, D]`` Cholesky factorisation each."""
    chunks = chunking.Chunks(side, classes, chunking.CPU.rows)

    def solve_chunk(k, out):
        chunk = chunks.read(k)
        rows = chunk.rows
        own_rhs, own_ridge = chunking.clip(rhs, rows), chunking.clip(ridge, rows)
        history, (weights,) = chunking.read_histories(
            side, fixed, chunk.row, chunk.offset, (curvature,)
        )
        weighted = weights[:, None] * history

        def solve(shape):
            folded = chunks.fold(shape, weighted, history)
            return _solve_in_turn(gram, folded[0], folded[1], own_rhs, own_ridge, chunk.n_rows)

        branches = [functools.partial(solve, shape) for shape in chunks.shapes]
        return out.at[rows].set(_varying.switch(chunk.branch, branches), mode="drop")

    return _varying.fori_loop(0, chunks.n_chunks, solve_chunk, out)


def on_accelerator(
    curvature: Array, rhs: Array, ridge: Array, gram: Array, side: Side, fixed: Array
) -> Array:
    """Solves every row by normal matrices, many rows of like length side by side.

    The rows of a band are cut into groups; a group walks along its histories, a tile of each at a
    time, until its longest ends, and adds what the tiles hold to its matrices ``[R, D, D]``. So the
    program has two loops per band, nothing is scattered, and little is computed for padding.
    """
    out = zeros(ridge, gram)
    for band in chunking.bands(side, len(gram)):
        first, end = side.starts[band.classes.start], side.starts[band.classes.stop]

        def solve_group(k, out, band=band, first=first, end=end):
            rows = layout.members(side, first + k * band.rows, end, band.rows)
            matrices = normal_matrices(curvature, ridge, gram, side, fixed, rows, band.step)
            x = jax.vmap(dense.solve_spd)(matrices, chunking.clip(rhs, rows))
            return out.at[rows].set(x, mode="drop")  # padding is solvable too

        out = _varying.fori_loop(0, -(-(end - first) // band.rows), solve_group, out)
    return out


def normal_matrices(
    curvature: Array,
    ridge: Array,
    gram: Array,
    side: Side,
    fixed: Array,
    rows: Array,
    step: int,
) -> Array:
    """The normal matrices ``[R, D, D]`` of some rows; those of the last row for padding.

    Args:
      curvature: ``[N]`` in the order of ``side``.
      ridge: ``[rows]`` of all rows.
      gram: ``[D, D]`` what all rows share.
      side: where the histories are.
      fixed: factors of the other side.
      rows: ``[R]`` int32 ids; past the end is padding.
      step: how many interactions of each row are read at a time, static.
    """
    start, end = (chunking.clip(side.indptr, rows + k) for k in (0, 1))
    longest = jnp.max(end - start)
    tile = jnp.arange(step, dtype=jnp.int32)[None]

    def along(k, matrices):
        history, (weights,) = chunking.read_histories(
            side, fixed, rows[:, None], k * step + tile, (curvature,)
        )
        return matrices + _weighted_grams(weights[:, :, None] * history, history)

    ridges = jax.vmap(_diagonal, (0, None))(chunking.clip(ridge, rows), gram)
    matrices = gram[None] + ridges
    return _varying.fori_loop(0, -(-longest // step), along, matrices)


def _write_class(side, class_id: int, fixed, curvature, solve: Callable, out):
    """Solves the rows of one class one by one, by ``solve(rows, weighted, history)``."""
    first, end = side.starts[class_id], side.starts[class_id + 1]
    offset = jnp.arange(side.widths[class_id], dtype=jnp.int32)[None]

    def solve_row(k, out):
        rows = layout.members(side, k, end, 1)
        history, (weights,) = chunking.read_histories(
            side, fixed, rows[:, None], offset, (curvature,)
        )
        return out.at[rows].set(solve(rows, weights[:, :, None] * history, history), mode="drop")

    return _varying.fori_loop(first, end, solve_row, out)


def _weighted_grams(weighted: Array, history: Array) -> Array:
    """``sum_l weight_l y_l y_l'`` per row: ``[R, D, D]``."""
    return jnp.einsum("rld,rle->rde", weighted, history, precision="highest")


def _solve_in_turn(gram, weighted, history, rhs, ridge, n_rows: Array | int) -> Array:
    """Solves the first ``n_rows`` rows one after the other; 0 for the rest."""
    products = _weighted_grams(weighted, history)

    def solve(k, out):
        matrix = products[k] + gram + _diagonal(ridge[k], gram)
        return out.at[k].set(dense.solve_spd(matrix, rhs[k]))

    return _varying.fori_loop(0, n_rows, solve, jnp.zeros_like(rhs))


def _diagonal(ridge: Array, gram: Array) -> Array:
    return ridge * jnp.eye(len(gram), dtype=gram.dtype)
