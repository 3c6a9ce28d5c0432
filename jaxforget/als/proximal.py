"""Proximal gradient on M = U diag(s) V': a road to the optimum whose rate is known beforehand.

One step soft-thresholds the singular values of ``Y + G(Y) / t``; ``G = C o (P - Y)`` is sparse
minus low rank and ``Y`` is M, or M with momentum. With ``kappa`` the ratio of the largest to the
smallest curvature, exact steps contract the distance to the optimum at least by
``(kappa - 1) / (kappa + 1)`` (plain, small kappa), or the objective by ``1 - 1 / sqrt(kappa)``
(accelerated, large kappa), whatever the data, the seed or the request. The singular vectors come
from one block subspace iteration per step, started from the last step's, with a Chebyshev filter
that damps what the block cannot hold (Zhou, Saad, Tiago, Chelikowsky, J. Comput. Phys. 2006): that
error then fades faster than the step's own, and ``certificate`` judges the result.
Measurements: ``docs/certificate.md``.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget.sparse.arithmetic import ratio, times
from jaxforget.sparse.kernels import sddmm, spmm
from jaxforget.types import Factors, Interactions, Terms

PLAIN_UP_TO = 6.0  # condition number from which momentum pays


class Spectral(NamedTuple):
    """M = left diag(sizes) right' in coordinates where every ridge is 1; sizes fall, then are 0.

    Directions of size 0 hold no part of M: they are where the next singular vectors may grow.
    """

    left: Array  # [U, K] orthonormal columns
    sizes: Array  # [K]
    right: Array  # [I, K] orthonormal columns


class State(NamedTuple):
    """Where the iteration stands."""

    now: Spectral
    before: Spectral
    scores: Array  # [N] of ``now``
    scores_before: Array  # [N]
    momentum: Array  # of the next step; 0 right after a restart
    change: Array  # |M - M before| / |M|
    spilled: Array  # largest singular value cut because it lay past the served rank; < 1 is none
    floor: Array  # smallest singular value in the subspace; what lies below it is damped
    steps: Array  # int32


def spectral(key: Array, factors: Factors, terms: Terms, *, width: int) -> Spectral:
    """Reads factors as singular triplets, with random directions beyond their own.

    Args:
      key: typed JAX key of the random directions.
      factors: ``[U, D]``, ``[I, D]``; all zeros is a cold start.
      width: K, capped at ``min(U, I)``. A few more than the served rank speed up the iteration.
    """
    rows, cols = _scale(terms)
    width = min(width, len(rows), len(cols))
    left, upper = jnp.linalg.qr(rows * factors.users)
    right, other = jnp.linalg.qr(cols * factors.items)
    turn, sizes, back = jnp.linalg.svd(times(upper, other.T), full_matrices=False)
    kept = min(width, len(sizes))
    keys = jax.random.split(key)
    left = _complete(keys[0], times(left, turn)[:, :kept], width)
    right = _complete(keys[1], times(right, back.T)[:, :kept], width)
    return Spectral(left, jnp.pad(sizes[:kept], (0, width - kept)), right)


def serve(point: Spectral, terms: Terms, *, dim: int) -> Factors:
    """Turns an iterate into balanced factors of its ``dim`` leading singular triplets."""
    rows, cols = _scale(terms)
    missing = ((0, 0), (0, max(dim - len(point.sizes), 0)))
    root = jnp.sqrt(point.sizes)[None]
    return Factors(jnp.pad((point.left * root / rows)[:, :dim], missing),
                   jnp.pad((point.right * root / cols)[:, :dim], missing))  # fmt: skip


def start(point: Spectral, train: Interactions, terms: Terms) -> State:
    """Makes the state of an iteration that begins at ``point``."""
    scores = _scores(point, train, terms)
    infinite = jnp.full((), jnp.inf, scores.dtype)
    zero = jnp.zeros((), scores.dtype)
    return State(point, point, scores, scores, zero, infinite, zero, zero, jnp.zeros((), jnp.int32))


def descend(state: State, train: Interactions, terms: Terms, *, dim: int, max_steps: int | Array,
            tol: float | Array) -> State:  # fmt: skip
    """Steps until ``state.change`` is at most ``tol``, or ``max_steps`` in all.

    Args:
      state: from ``start``, or from an earlier call.
      dim: served rank; what grows beyond it is cut, and reported in ``spilled``.
    """

    def unfinished(state):
        return (state.steps < max_steps) & ~(state.change <= tol)

    return lax.while_loop(unfinished, lambda state: step(state, train, terms, dim=dim), state)


def step(state: State, train: Interactions, terms: Terms, *, dim: int) -> State:
    """Takes one proximal step with one filtered subspace iteration; momentum that overshoots restarts."""
    low, high = conditioning(terms)
    root = jnp.sqrt(low / high)
    shrink = functools.partial(_shrink, train, terms, dim, state.now.right, state.floor)

    def plain(state):
        return *shrink(state.now, state.scores, (low + high) / 2), jnp.zeros_like(root)

    def accelerated(state):
        ahead = 1 + state.momentum
        point = Spectral(
            jnp.concatenate([state.now.left, state.before.left], axis=1),
            jnp.concatenate([ahead * state.now.sizes, -state.momentum * state.before.sizes]),
            jnp.concatenate([state.now.right, state.before.right], axis=1),
        )
        scores = ahead * state.scores - state.momentum * state.scores_before
        new, cut, floor = shrink(point, scores, high)
        gained = _inner(point, new) - _inner(point, state.now) + _inner(new, state.now)
        overshoots = gained > _inner(new, new)
        return new, cut, floor, jnp.where(overshoots, 0, (1 - root) / (1 + root))

    mild = high <= PLAIN_UP_TO * low
    new, cut, floor, momentum = lax.cond(mild, plain, accelerated, state)
    size = jnp.linalg.norm(new.sizes)
    change = ratio(_distance(new, state.now), size)
    return State(new, state.now, _scores(new, train, terms), state.scores, momentum, change, cut,
                 floor, state.steps + 1)  # fmt: skip


def _shrink(train, terms, dim, block, floor, point, scores, height):
    """Soft-thresholds the singular values of ``A = point + G(point) / height`` in a subspace."""
    rows, cols = _scale(terms)
    pulls = (terms.target - terms.curvature * scores) / height
    pulls = pulls / (rows[train.users] * cols[train.items])[:, 0]
    even = (jnp.ptp(rows) == 0) & (jnp.ptp(cols) == 0)

    def apply(block, here, there, scale_here, scale_there, by):
        inside = times(here, point.sizes[:, None] * times(there.T, block))

        def uneven():
            pairs = times(there.T, block / scale_there**2)
            return times(here, point.sizes[:, None] * pairs) / scale_here**2

        ridge = (scale_here[0] * scale_there[0]) ** 2
        all_pairs = lax.cond(even, lambda: inside / ridge[None], uneven)
        return spmm(train, pulls, block, by=by) + inside - all_pairs / height

    def forward(block):
        return apply(block, point.left, point.right, rows, cols, "user")

    def transposed(block):
        return apply(block, point.right, point.left, cols, rows, "item")

    image = forward(block)
    image = 4 * forward(transposed(image)) - 3 * floor**2 * image  # T_3(A / floor), up to scale
    left = jnp.linalg.qr(image)[0]
    right, upper = jnp.linalg.qr(transposed(left))
    turn, values, back = jnp.linalg.svd(upper.T)
    served = jnp.arange(len(values)) < dim
    sizes = jnp.where(served, jnp.maximum(values - 1 / height, 0), 0)
    cut = height * jnp.max(jnp.where(served, 0, values), initial=0)
    return Spectral(times(left, turn), sizes, times(right, back.T)), cut, values[-1]


def conditioning(terms: Terms) -> tuple[Array, Array]:
    """Smallest and largest curvature of the smooth part, where every ridge is scaled to 1."""
    confidence = terms.unobserved + terms.curvature
    low = jnp.minimum(terms.unobserved, jnp.min(confidence, initial=jnp.inf))
    high = jnp.maximum(terms.unobserved, jnp.max(confidence, initial=0))
    low = low / (jnp.max(terms.ridge_users) * jnp.max(terms.ridge_items))
    return low, high / (jnp.min(terms.ridge_users) * jnp.min(terms.ridge_items))


def _scale(terms):
    return jnp.sqrt(terms.ridge_users)[:, None], jnp.sqrt(terms.ridge_items)[:, None]


def _scores(point, train, terms):
    rows, cols = _scale(terms)
    return sddmm(train, point.left * point.sizes[None] / rows, point.right / cols)


def _complete(key, basis, width):
    """Appends random orthonormal columns."""
    more = jax.random.normal(key, (len(basis), width - basis.shape[1]), basis.dtype)
    for _ in range(2):
        more = jnp.linalg.qr(more - times(basis, times(basis.T, more)))[0]
    return jnp.concatenate([basis, more], axis=1)


def _inner(a, b):
    """``<A, B>`` over all pairs, in the scaled coordinates."""
    crossed = times(a.left.T, b.left) * times(a.right.T, b.right)
    return a.sizes @ crossed @ b.sizes


def _distance(a, b):
    """``|A - B|_F`` in the scaled coordinates, accurate down to rounding."""
    shared = times(b.right.T, a.right)
    along = a.left * a.sizes[None] - times(b.left * b.sizes[None], shared)
    across = (b.right - times(a.right, shared.T)) * b.sizes[None]
    return jnp.sqrt(jnp.sum(along**2) + jnp.sum(across**2))
