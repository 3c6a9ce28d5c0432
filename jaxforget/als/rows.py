"""Solves all rows of one side exactly, the other side held fixed.

The history of a row is its interactions in the order of ``Side``; ``y_n`` are the factors of the
other side at interaction ``n``. ``row_chunks`` solves them in chunks.
"""

import functools

import jax
from jax import Array, lax

from jaxforget import _varying
from jaxforget._jax import vary_alike
from jaxforget.als import row_chunks
from jaxforget.sparse import layout
from jaxforget.sparse.arithmetic import gather, times
from jaxforget.sparse.kernels import sddmm, spmm
from jaxforget.types import Interactions

# Longest rows that woodbury may solve: for more interactions it gains little over normal matrices,
# and takes longer to compile.
LONGEST_SHORT = layout.SHORT[-1]


def solve_exactly(
    curvature: Array,
    target: Array,
    ridge: Array,
    gram: Array,
    train: Interactions,
    fixed: Array,
    *,
    by: str,
) -> Array:
    """Solves ``(gram + sum_n curvature_n y_n y_n' + ridge I) x = sum_n target_n y_n`` per row.

    On a CPU, rows of at most 32 and ``2 D / 3`` interactions are solved by ``woodbury``; all others
    by a Cholesky factorisation of the matrix above.

    Args:
      curvature: ``[N]`` in the order of ``train``, 0 for a forgotten interaction.
      target: ``[N]`` likewise.
      ridge: ``[rows]`` > 0.
      gram: ``[D, D]`` the part of the matrix that all rows share.
      train: the interactions.
      fixed: factors of the other side, ``[I, D]`` for ``by="user"``.
      by: ``"user"`` or ``"item"``, the side that is solved for.

    Returns:
      ``[rows, D]``; a row whose right-hand side is exactly 0 is exactly 0. Derivatives in every
      argument, of any order and mode, are further solves with the same matrices.
    """
    return _solve(*vary_alike((curvature, target, ridge, gram, train, fixed)), by)


@functools.partial(jax.custom_jvp, nondiff_argnums=(6,))
def _solve(curvature, target, ridge, gram, train, fixed, by):
    side = train.by_user if by == "user" else train.by_item
    n_short = sum(width <= min(LONGEST_SHORT, 2 * len(gram) // 3) for width in side.widths)

    def right_hand_sides(target, fixed):
        return spmm(train, target, fixed, by=by)

    def on_cpu(curvature, target, ridge, gram, fixed):
        any_long = side.starts[n_short] < len(ridge)
        rhs = _varying.cond(
            any_long, right_hand_sides, lambda *_: row_chunks.zeros(ridge, gram), target, fixed
        )
        curvature, target = (_in_order(x, train, by) for x in (curvature, target))
        return row_chunks.on_cpu(curvature, target, rhs, ridge, gram, side, fixed, n_short)

    def on_accelerator(curvature, target, ridge, gram, fixed):
        rhs, ordered = right_hand_sides(target, fixed), _in_order(curvature, train, by)
        return row_chunks.on_accelerator(ordered, rhs, ridge, gram, side, fixed)

    return lax.platform_dependent(
        curvature, target, ridge, gram, fixed, cpu=on_cpu, default=on_accelerator
    )


@_solve.defjvp
def _solve_jvp(by, primals, tangents):
    """``A dx = db - dA x``: one more solve with the same matrices, which are built anew for it."""
    x = _solve(*primals, by)
    curvature, _, ridge, gram, train, fixed = primals

    def product(x, curvature, ridge, gram, fixed):
        scores = sddmm(train, x, fixed) if by == "user" else sddmm(train, fixed, x)
        return spmm(train, curvature * scores, fixed, by=by) + times(x, gram) + ridge[:, None] * x

    def gap(curvature, target, ridge, gram, fixed):
        return spmm(train, target, fixed, by=by) - product(x, curvature, ridge, gram, fixed)

    def solve(_, rhs):
        return _solve_for(rhs, curvature, ridge, gram, train, fixed, by)

    values, changes = ((*leaves[:4], leaves[5]) for leaves in (primals, tangents))
    matrices = functools.partial(product, curvature=curvature, ridge=ridge, gram=gram, fixed=fixed)
    change = jax.jvp(gap, values, changes)[1]
    return x, lax.custom_linear_solve(matrices, change, solve, symmetric=True)


def _solve_for(rhs, curvature, ridge, gram, train, fixed, by):
    """Solves for given right-hand sides ``[rows, D]``.

    A row without interactions stays 0: as its solution is 0 whatever the arguments, so is its part
    of every derivative.
    """
    side = train.by_user if by == "user" else train.by_item
    curvature = _in_order(curvature, train, by)

    def on_cpu(curvature, rhs, ridge, gram):  # without short rows the targets are not read
        return row_chunks.on_cpu(curvature, curvature, rhs, ridge, gram, side, fixed, 0)

    def on_accelerator(curvature, rhs, ridge, gram):
        return row_chunks.on_accelerator(curvature, rhs, ridge, gram, side, fixed)

    return lax.platform_dependent(curvature, rhs, ridge, gram, cpu=on_cpu, default=on_accelerator)


def _in_order(weights: Array, train: Interactions, by: str) -> Array:
    """Weights ``[N]`` of the interactions, in the order of the side."""
    return weights if by == "user" else gather(weights, train.by_item.order)
