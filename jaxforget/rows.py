"""Solves all rows of one side, the other side held fixed: exactly, or by a few CG steps."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

from jaxforget.sparse import sddmm, spmm, take
from jaxforget.types import Interactions, Side


class Budget(NamedTuple):
    """How much of a half-sweep is in memory at a time; a longer history is worked on alone."""

    slots: int  # history entries of a chunk, hence [slots, D] gathered factors
    rows: int  # [rows, D, D] normal matrices


# A few megabytes at D = 64; widths are 2^a and 3 * 2^a, most of which divide these slots.
CPU = Budget(slots=3072, rows=64)
ACCELERATOR = Budget(slots=1 << 19, rows=1 << 12)


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
    lhs = lhs if by == "user" else take(lhs, side.order)
    return lax.platform_dependent(
        *(lhs, targets, ridge, gram, side, fixed),
        cpu=functools.partial(_solve_all, budget=CPU, solve=_solve_in_turn),
        default=functools.partial(_solve_all, budget=ACCELERATOR, solve=_solve_at_once),
    )


def _solve_all(lhs, targets, ridge, gram, side: Side, fixed, *, budget, solve):
    """Loops over chunks of rows of one width; all share one program but for product and solve."""
    buckets = list(zip(side.buckets, side.widths))
    fits = [(rows, width) for rows, width in buckets if width <= budget.slots]
    out = jnp.zeros_like(targets)

    def read(rows, row, offset):
        met, weights = _gather(lhs, side, fixed, row, offset)
        return met, weights, targets.at[rows].get(mode="clip"), ridge.at[rows].get(mode="clip")

    if fits:
        chunks, shapes = _schedule(fits, len(targets), budget)
        position = jnp.arange(budget.slots, dtype=jnp.int32)
        solvers = [functools.partial(_solve_chunk, gram, solve, *shape) for shape in shapes]

        def step(out, chunk):
            rows, kind, width = chunk
            row = rows.at[position // width].get(mode="fill", fill_value=len(targets))
            solved = lax.switch(kind, solvers, *read(rows, row, position % width))
            return out.at[rows].set(solved, mode="drop"), None

        out, _ = lax.scan(step, out, chunks)

    for rows, width in buckets[len(fits) :]:
        offset = jnp.arange(width, dtype=jnp.int32)

        def alone(row, offset=offset):
            one = read(row[None], jnp.full_like(offset, row), offset)
            return _solve_chunk(gram, solve, 1, len(offset), *one)[0]

        out = out.at[rows].set(lax.map(alone, rows))
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
        facts += [(kind, width)] * n_chunks
    return (jnp.concatenate(table), *jnp.array(facts, jnp.int32).T), shapes


def _gather(lhs, side, fixed, row, offset):
    """The factors met at some places of some rows, and their weights: 0 outside a row."""
    first, end = (side.indptr.at[row + k].get(mode="clip") for k in (0, 1))
    slot = first + offset
    inside = slot < end  # never where row is past the end: both bounds are N
    slot = jnp.where(inside, slot, 0)
    return take(fixed, take(side.indices, slot)), jnp.where(inside, take(lhs, slot), 0)


def _solve_chunk(gram, solve, count, width, met, weights, targets, ridge):
    """``[R, D]`` solutions of the first ``count`` rows of a chunk; 0 for the rest."""
    met = met[: count * width].reshape(count, width, -1)
    weighted = weights[: count * width].reshape(count, width, 1) * met
    products = jnp.einsum("rld,rle->rde", weighted, met, precision="highest")
    return solve(products, gram, ridge, targets)


def _solve_in_turn(products, gram, ridge, targets):
    def solve(k, out):
        return out.at[k].set(solve_spd(products[k] + gram + _diagonal(ridge[k], gram), targets[k]))

    return lax.fori_loop(0, len(products), solve, jnp.zeros_like(targets))


def _solve_at_once(products, gram, ridge, targets):
    count = len(products)
    matrices = products + gram[None] + jax.vmap(_diagonal, (0, None))(ridge[:count], gram)
    solved = _solve_one(matrices, targets[:count])  # rows of padding are solvable too, and dropped
    return jnp.pad(solved, ((0, len(targets) - count), (0, 0)))


def _diagonal(ridge, gram):
    return ridge * jnp.eye(len(gram), dtype=gram.dtype)


@custom_vmap
def solve_spd(matrix: Array, rhs: Array) -> Array:
    """Solves one symmetric positive definite system ``[D, D] x = [D]`` by Cholesky.

    Under ``vmap`` it becomes one batched factorisation on an accelerator, and a loop of single
    ones on a CPU, where independent batched LAPACK calls can deadlock (jaxlib 0.10.2, 2 cores)
    and are no faster. A matrix that is not positive definite gives NaN.
    """
    return _solve_one(matrix, rhs)


def _solve_one(matrix, rhs):
    # LAPACK wants columns: the transpose of a symmetric matrix is the same one, and no copy
    factor = lax.linalg.cholesky(matrix.mT, symmetrize_input=False)
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


def conjugate_gradients(lhs: Array, rhs: Array, ridge: Array, gram: Array, train: Interactions,
                        fixed: Array, start: Array, *, by: str, n_steps: int) -> Array:  # fmt: skip
    """Takes ``n_steps`` CG steps on every row's system of ``cholesky`` at once, from ``start``.

    A row whose ``rhs`` are all 0 becomes exactly 0. The result depends on ``start``, hence on
    whatever ``start`` was trained on: for a deletion claim use ``cholesky``.
    Source: Takacs, Pilaszy, Tikk, RecSys 2011.
    """
    left = (lambda x: (x, fixed)) if by == "user" else (lambda x: (fixed, x))

    def dense(x):
        return jnp.matmul(x, gram, precision="highest") + ridge[:, None] * x

    def seen(x):
        return lhs * sddmm(train, *left(x))

    def step(_, carry):
        x, r, p, rr = carry
        ap = dense(p) + spmm(train, seen(p), fixed, by=by)
        curvature = jnp.sum(p * ap, axis=1)
        alpha = jnp.where(curvature > 0, rr / jnp.where(curvature > 0, curvature, 1), 0)
        x, r = x + alpha[:, None] * p, r - alpha[:, None] * ap
        rr, old = jnp.sum(r * r, axis=1), rr
        beta = jnp.where(old > 0, rr / jnp.where(old > 0, old, 1), 0)
        return x, r, r + beta[:, None] * p, rr

    asked = spmm(train, jnp.abs(rhs), jnp.ones((len(fixed), 1), fixed.dtype), by=by)
    start = jnp.where(asked > 0, start, 0)
    residual = spmm(train, rhs - seen(start), fixed, by=by) - dense(start)  # one product for both
    carry = (start, residual, residual, jnp.sum(residual * residual, axis=1))
    return lax.fori_loop(0, n_steps, step, carry)[0]
