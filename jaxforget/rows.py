"""Solves all rows of one side, the other side held fixed: exactly, or by a few CG steps."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

from jaxforget.sparse import sddmm, spmm, take
from jaxforget.types import Interactions, Side


class Budget(NamedTuple):
    """How much of a half-sweep is in memory at a time, for rows up to some width."""

    widest: int  # longest history that is worked on in these chunks
    slots: int  # history entries of a chunk, hence [slots, D] gathered factors
    rows: int  # [rows, D, D] normal matrices


# A megabyte or two at D = 64 stays in a core's cache; short rows fill a small chunk better.
CPU = (Budget(widest=64, slots=1024, rows=64), Budget(widest=4096, slots=4096, rows=32))
ACCELERATOR = (Budget(widest=1 << 19, slots=1 << 19, rows=1 << 12),)


def cholesky(
    lhs: Array, rhs: Array, ridge: Array, gram: Array, train: Interactions, fixed: Array, *, by: str
) -> Array:
    """Solves ``(gram + sum_n lhs_n y_n y_n' + ridge I) x = sum_n rhs_n y_n`` for every row.

    Args:
      lhs, rhs: ``[N]`` weights in the order of ``train``.
      ridge: ``[rows]`` > 0.
      gram: ``[D, D]`` shared by every row.
      fixed: factors of the other side, ``[I, D]`` for ``by="user"``.

    Returns:
      ``[rows, D]``; a row whose right-hand side is exactly 0 is exactly 0.
    """
    side = train.by_user if by == "user" else train.by_item
    targets = spmm(train, rhs, fixed, by=by)
    lhs = lhs if by == "user" else lhs[side.order]

    systems = (lhs, targets, ridge, gram, side, fixed)
    return lax.platform_dependent(
        *systems,
        cpu=functools.partial(_solve_all, budgets=CPU, solve=_solve_in_turn),
        default=functools.partial(_solve_all, budgets=ACCELERATOR, solve=_solve_at_once),
    )


def _solve_all(lhs, targets, ridge, gram, side: Side, fixed, *, budgets, solve):
    """Loops over chunks of rows of one width; the chunks of a budget share all but one product."""
    out, done = jnp.zeros_like(targets), 0
    for budget in budgets:
        fits = [b for b in zip(side.buckets, side.widths) if done < b[1] <= budget.widest]
        done = budget.widest
        if fits:
            chunks, shapes = _schedule(fits, len(targets), budget)

            def step(out, chunk, shapes=shapes, budget=budget):
                rows, kind, width, count = chunk
                matrices = _weighted_gram(lhs, side, fixed, rows, kind, width, shapes, budget)
                matrices = _add_ridge(matrices + gram[None], ridge[rows])
                return out.at[rows].set(solve(matrices, targets[rows], count), mode="drop"), None

            out, _ = lax.scan(step, out, chunks)

    def long(row):  # longer than any chunk: one by one, in pieces
        matrix = _long_gram(lhs, side, fixed, row, budgets[-1].slots) + gram
        return solve_spd(_add_ridge(matrix, ridge[row]), targets[row])

    for rows, width in zip(side.buckets, side.widths):
        if width > done:
            out = out.at[rows].set(lax.map(long, rows))
    return out


def _schedule(buckets, n_rows, budget):
    """Cuts every bucket into chunks: rows ``[chunks, R]`` (padding is ``n_rows``) and their shape."""
    shapes = [(min(budget.rows, budget.slots // width), width) for _, width in buckets]
    widest = max(count for count, _ in shapes)
    table, facts = [], []
    for kind, ((rows, width), (count, _)) in enumerate(zip(buckets, shapes)):
        n_chunks = -(-len(rows) // count)
        padded = jnp.pad(rows, (0, n_chunks * count - len(rows)), constant_values=n_rows)
        padded = padded.reshape(n_chunks, count)
        table.append(jnp.pad(padded, ((0, 0), (0, widest - count)), constant_values=n_rows))
        facts += [(kind, width, count)] * n_chunks
    return (jnp.concatenate(table), *jnp.array(facts, jnp.int32).T), shapes


def _weighted_gram(lhs, side, fixed, rows, kind, width, shapes, budget):
    """``[R, D, D]`` weighted Grams of the rows of a chunk; ``kind`` picks the chunk's static shape."""
    position = jnp.arange(budget.slots, dtype=jnp.int32)
    row = rows.at[position // width].get(mode="fill", fill_value=len(side.indptr))
    met, weighted = _gather(lhs, side, fixed, row, position % width)

    def product(count, width):
        def gram(met, weighted):
            met, weighted = (x[: count * width].reshape(count, width, -1) for x in (met, weighted))
            grams = jnp.einsum("rld,rle->rde", weighted, met, precision="highest")
            return jnp.pad(grams, ((0, len(rows) - count), (0, 0), (0, 0)))

        return gram

    return lax.switch(kind, [product(*shape) for shape in shapes], met, weighted)


def _long_gram(lhs, side, fixed, row, slots):
    length = side.indptr[row + 1] - side.indptr[row]
    position = jnp.arange(slots, dtype=jnp.int32)

    def add(piece, gram):
        rows = jnp.full(slots, row)
        met, weighted = _gather(lhs, side, fixed, rows, position + piece * slots)
        return gram + jnp.matmul(weighted.T, met, precision="highest")

    zero = jnp.zeros((fixed.shape[1],) * 2, fixed.dtype)
    return lax.fori_loop(0, -(-length // slots), add, zero)


def _gather(lhs, side, fixed, row, offset):
    """The factors met at some places of some rows, plain and weighted; 0 outside a row."""
    bounds = side.indptr.at[row].get(mode="clip"), side.indptr.at[row + 1].get(mode="clip")
    inside = bounds[0] + offset < bounds[1]  # never where row is past the end: both bounds are N
    slot = jnp.where(inside, bounds[0] + offset, 0)
    met = take(fixed, take(side.indices, slot))
    return met, jnp.where(inside, take(lhs, slot), 0)[:, None] * met


def _add_ridge(matrices, ridge):
    diagonal = jnp.arange(matrices.shape[-1])
    return matrices.at[..., diagonal, diagonal].add(ridge[..., None])


def _solve_in_turn(matrices, rhs, count):
    def solve(k, out):
        return out.at[k].set(solve_spd(matrices[k], rhs[k]))

    return lax.fori_loop(0, count, solve, jnp.zeros_like(rhs))


def _solve_at_once(matrices, rhs, count):
    del count  # rows of padding are solvable too, and dropped
    return _solve_one(matrices, rhs)


@custom_vmap
def solve_spd(matrix: Array, rhs: Array) -> Array:
    """Solves one symmetric positive definite system ``[D, D] x = [D]`` by Cholesky.

    Under ``vmap`` it becomes one batched factorisation on an accelerator, and a loop of single
    ones on a CPU, where independent batched LAPACK calls can deadlock (jaxlib 0.10.2, 2 cores)
    and are no faster. A matrix that is not positive definite gives NaN.
    """
    return _solve_one(matrix, rhs)


def _solve_one(matrix, rhs):
    factor = lax.linalg.cholesky(matrix, symmetrize_input=False)
    half = lax.linalg.triangular_solve(factor, rhs[..., None], left_side=True, lower=True)
    return lax.linalg.triangular_solve(factor, half, left_side=True, lower=True, transpose_a=True)[
        ..., 0
    ]


@solve_spd.def_vmap
def _solve_many(size, batched, matrices, rhs):
    both = (matrices, rhs)
    matrices, rhs = (
        x if b else jnp.broadcast_to(x, (size, *x.shape)) for x, b in zip(both, batched)
    )

    def loop(matrices, rhs):
        return lax.map(lambda system: solve_spd(*system), (matrices, rhs))

    return lax.platform_dependent(matrices, rhs, cpu=loop, default=_solve_one), True


def conjugate_gradients(
    lhs: Array,
    rhs: Array,
    ridge: Array,
    gram: Array,
    train: Interactions,
    fixed: Array,
    start: Array,
    *,
    by: str,
    n_steps: int,
) -> Array:
    """Takes ``n_steps`` CG steps on every row's system of ``cholesky`` at once, from ``start``.

    The result depends on ``start``, hence on whatever ``start`` was trained on: for a deletion
    claim use ``cholesky``. Source: Takacs, Pilaszy, Tikk, RecSys 2011.
    """
    left = (lambda x: (x, fixed)) if by == "user" else (lambda x: (fixed, x))

    def apply(x):
        sparse = spmm(train, lhs * sddmm(train, *left(x)), fixed, by=by)
        return jnp.matmul(x, gram, precision="highest") + sparse + ridge[:, None] * x

    def step(_, carry):
        x, r, p, rr = carry
        ap = apply(p)
        curvature = jnp.sum(p * ap, axis=1)
        alpha = jnp.where(curvature > 0, rr / jnp.where(curvature > 0, curvature, 1), 0)
        x, r = x + alpha[:, None] * p, r - alpha[:, None] * ap
        rr, old = jnp.sum(r * r, axis=1), rr
        beta = jnp.where(old > 0, rr / jnp.where(old > 0, old, 1), 0)
        return x, r, r + beta[:, None] * p, rr

    targets = spmm(train, rhs, fixed, by=by)
    start = jnp.where(jnp.any(targets != 0, axis=1)[:, None], start, 0)
    residual = targets - apply(start)
    carry = (start, residual, residual, jnp.sum(residual * residual, axis=1))
    return lax.fori_loop(0, n_steps, step, carry)[0]
