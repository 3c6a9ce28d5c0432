"""Improves all rows of one side by a few conjugate-gradient steps, the other side held fixed."""

import jax.numpy as jnp
from jax import Array, lax

from jaxforget.sparse.arithmetic import ratio, times
from jaxforget.sparse.kernels import sddmm, spmm
from jaxforget.types import Interactions


def conjugate_gradients(lhs: Array, rhs: Array, ridge: Array, gram: Array, train: Interactions,
                        fixed: Array, start: Array, *, by: str, n_steps: int) -> Array:  # fmt: skip
    """Takes ``n_steps`` CG steps on every row's system of ``cholesky`` at once, from ``start``.

    A row whose ``rhs`` are all 0 becomes exactly 0. The result depends on ``start``, hence on
    whatever ``start`` was trained on: for a deletion claim use ``cholesky``.
    Source: Takacs, Pilaszy, Tikk, RecSys 2011.
    """
    left = (lambda x: (x, fixed)) if by == "user" else (lambda x: (fixed, x))

    def dense(x):
        return times(x, gram) + ridge[:, None] * x

    def seen(x):
        return lhs * sddmm(train, *left(x))

    def per_row(values):
        return spmm(train, values, jnp.ones((len(fixed), 1), fixed.dtype), by=by)[:, 0]

    def length(rr, curvature):
        return ratio(rr, curvature, otherwise=0)[:, None]

    def step(_, carry):
        x, r, p, rr = carry
        ap = dense(p) + spmm(train, seen(p), fixed, by=by)
        alpha = length(rr, jnp.sum(p * ap, axis=1))
        x, r = x + alpha * p, r - alpha * ap
        rr, old = jnp.sum(r * r, axis=1), rr
        return x, r, r + length(rr, old) * p, rr

    start = jnp.where(per_row(jnp.abs(rhs))[:, None] > 0, start, 0)
    residual = spmm(train, rhs - seen(start), fixed, by=by) - dense(start)  # one product for both
    carry = (start, residual, residual, jnp.sum(residual * residual, axis=1))
    x, _, p, rr = lax.fori_loop(0, n_steps - 1, step, carry)
    # nobody asks for the residual after the last step: the curvature along it is enough
    scores = sddmm(train, *left(p))
    return x + length(rr, jnp.sum(p * dense(p), axis=1) + per_row(lhs * scores**2)) * p
