"""Proximal gradient steps on ``M = U diag(s) V'``, which reach the optimum at a known rate.

As a function of ``M = X Y'`` the objective of implicit ALS is convex: weighted squares plus
the nuclear norm of M (``certificate.bound``). One step soft-thresholds the singular values of
``W + G(W) / t``; ``G(W) = C o (P - W)``, minus half the gradient of the squares, is sparse minus
low rank, and ``W`` is M, or M with momentum. With ``kappa`` the ratio of the largest curvature to
the smallest, exact steps contract the distance to the optimum at least by
``(kappa - 1) / (kappa + 1)`` (plain, small kappa), or the objective by ``1 - 1 / sqrt(kappa)``
(accelerated, large kappa), whatever the data, the seed or the request.

The singular vectors come from one block subspace iteration per step, started from those of the last
step, with a Chebyshev filter that damps the directions outside the block (Zhou, Saad, Tiago,
Chelikowsky, J. Comput. Phys. 2006). Their error fades faster than that of the steps themselves;
``certificate`` measures what is left of both. Measurements: ``docs/certificate.md``.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.als.spectral import Spectral, distance, inner, scales, scores_of, serve, spectral
from jaxforget.sparse.arithmetic import ratio, times
from jaxforget.sparse.kernels import spmm
from jaxforget.types import Interactions, Terms

__all__ = ["Spectral", "State", "conditioning", "descend", "serve", "spectral", "start", "step"]

MAX_PLAIN_CONDITION = 6.0  # above this ratio of curvatures, accelerated steps are faster


class State(NamedTuple):
    """The iterates and what the next step needs to know of the last one."""

    now: Spectral
    before: Spectral
    scores: Array  # [N] of ``now``
    scores_before: Array  # [N] of ``before``
    momentum: Array  # of the next step; 0 right after a restart
    change: Array  # |M - M before| / |M|
    spilled: Array  # largest singular value beyond the served rank; below 1 nothing was cut
    floor: Array  # smallest singular value of the block; the filter damps what lies below it
    steps: Array  # int32, taken so far


def start(point: Spectral, train: Interactions, terms: Terms) -> State:
    """Makes the state from which the iteration starts, with no step taken."""
    scores = scores_of(point, train, terms)
    infinite = jnp.full((), jnp.inf, scores.dtype)
    zero = jnp.zeros((), scores.dtype)
    return State(point, point, scores, scores, zero, infinite, zero, zero, jnp.zeros((), jnp.int32))


@checked
def descend(
    state: State,
    train: Interactions,
    terms: Terms,
    *,
    dim: int,
    max_steps: int | Array,
    tol: float | Array,
) -> State:
    """Takes steps until ``state.change`` is at most ``tol``, or until ``max_steps`` in all.

    Args:
      state: from ``start``, or from an earlier call, whose steps count.
      train: the interactions.
      terms: the objective.
      dim: served rank; singular values beyond it are set to 0, and reported in ``spilled``.
      max_steps: most steps.
      tol: relative change of M in one step.
    """

    def unfinished(state):
        return (state.steps < max_steps) & ~(state.change <= tol)

    return _varying.while_loop(unfinished, lambda state: step(state, train, terms, dim=dim), state)


@checked
def step(state: State, train: Interactions, terms: Terms, *, dim: int) -> State:
    """Takes one proximal step, with one filtered subspace iteration.

    Momentum restarts from 0 where the step points against it (O'Donoghue, Candes, Found. Comput.
    Math. 2015).
    """
    low, high = conditioning(terms)
    root = jnp.sqrt(low / high)
    shrink = functools.partial(_shrink, train, terms, dim, state.now.right, state.floor)

    def plain(state):
        new, spilled, floor = shrink(state.now, state.scores, (low + high) / 2)
        return new, spilled, floor, jnp.zeros_like(root)

    def accelerated(state):
        ahead = 1 + state.momentum
        point = Spectral(
            jnp.concatenate([state.now.left, state.before.left], axis=1),
            jnp.concatenate([ahead * state.now.sizes, -state.momentum * state.before.sizes]),
            jnp.concatenate([state.now.right, state.before.right], axis=1),
        )
        scores = ahead * state.scores - state.momentum * state.scores_before
        new, spilled, floor = shrink(point, scores, high)
        gained = inner(point, new) - inner(point, state.now) + inner(new, state.now)
        overshoots = gained > inner(new, new)
        return new, spilled, floor, jnp.where(overshoots, 0, (1 - root) / (1 + root))

    well_conditioned = high <= MAX_PLAIN_CONDITION * low
    new, spilled, floor, momentum = _varying.cond(well_conditioned, plain, accelerated, state)
    return State(
        now=new,
        before=state.now,
        scores=scores_of(new, train, terms),
        scores_before=state.scores,
        momentum=momentum,
        change=ratio(distance(new, state.now), jnp.linalg.norm(new.sizes)),
        spilled=spilled,
        floor=floor,
        steps=state.steps + 1,
    )


def _shrink(
    train: Interactions,
    terms: Terms,
    dim: int,
    block: Array,
    floor: Array,
    point: Spectral,
    scores: Array,
    height: Array,
) -> tuple[Spectral, Array, Array]:
    """Soft-thresholds the singular values of ``A = point + G(point) / height`` in a subspace.

    Args:
      block: ``[I, K]`` right singular vectors of the last step, where the iteration starts.
      floor: scalar, the singular values below it are damped.
      point: where the step is taken from; it may have 2 K columns.
      scores: ``[N]`` of ``point``.
      height: scalar, the step is ``1 / height``.

    Returns:
      the new iterate, ``spilled`` and ``floor`` of ``State``.
    """
    forward, transposed = _products(train, terms, point, scores, height)
    image = forward(block)
    image = 4 * forward(transposed(image)) - 3 * floor**2 * image  # T_3(A / floor), up to scale
    left = jnp.linalg.qr(image)[0]
    right, upper = jnp.linalg.qr(transposed(left))
    left_turn, values, right_turn = jnp.linalg.svd(upper.T)
    served = jnp.arange(len(values)) < dim
    sizes = jnp.where(served, jnp.maximum(values - 1 / height, 0), 0)
    spilled = height * jnp.max(jnp.where(served, 0, values), initial=0)
    new = Spectral(times(left, left_turn), sizes, times(right, right_turn.T))
    return new, spilled, values[-1]


def _products(
    train: Interactions, terms: Terms, point: Spectral, scores: Array, height: Array
) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """The functions ``x -> A x`` and ``x -> A' x`` for the matrix A of ``_shrink``."""
    user_scale, item_scale = scales(terms)
    sparse = (terms.target - terms.curvature * scores) / height
    sparse = sparse / (user_scale[train.users] * item_scale[train.items])[:, 0]
    one_ridge = (jnp.ptp(user_scale) == 0) & (jnp.ptp(item_scale) == 0)  # on each side

    def product(block, left, right, left_scale, right_scale, by):
        low_rank = times(left, point.sizes[:, None] * times(right.T, block))

        def rescaled():
            inner = times(right.T, block / right_scale**2)
            return times(left, point.sizes[:, None] * inner) / left_scale**2

        ridge = (left_scale[0] * right_scale[0]) ** 2
        all_pairs = _varying.cond(one_ridge, lambda: low_rank / ridge[None], rescaled)
        return spmm(train, sparse, block, by=by) + low_rank - all_pairs / height

    def forward(block):
        return product(block, point.left, point.right, user_scale, item_scale, "user")

    def transposed(block):
        return product(block, point.right, point.left, item_scale, user_scale, "item")

    return forward, transposed


def conditioning(terms: Terms) -> tuple[Array, Array]:
    """Bounds the curvature of the squares from below and above, scaled so that every ridge is 1."""
    confidence = terms.unobserved + terms.curvature
    low = jnp.minimum(terms.unobserved, jnp.min(confidence, initial=jnp.inf))
    high = jnp.maximum(terms.unobserved, jnp.max(confidence, initial=0))
    low = low / (jnp.max(terms.ridge_users) * jnp.max(terms.ridge_items))
    return low, high / (jnp.min(terms.ridge_users) * jnp.min(terms.ridge_items))
