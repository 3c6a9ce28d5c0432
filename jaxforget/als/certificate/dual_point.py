"""The dual point that a certificate uses, and its distance from the gradient.

With K, E1, E2 the parts of G on and beside the bases and N the remainder, ``docs/certificate.md``
section 5 defines the point and proves that it is feasible:

    Z = U diag(a) V' + f (E1 k V' + U k E2' + N),        f = min(1, 1 / n),   n >= |N|
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget.als.certificate.dual import Bases, Gradient
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, Interactions, Terms

NEAR_RADIUS = 1e-9  # a direction whose value is nearer than this to 1 keeps no coupling

BUDGET = 0.5  # share of the room 1 - n that the coupling of a single direction may use


class Problem(NamedTuple):
    """The factors, the objective, and what both determine."""

    factors: Factors
    train: Interactions
    terms: Terms
    user_scale: Array  # [U, 1] square roots of the ridges
    item_scale: Array  # [I, 1]
    scores: Array  # [N] of M at the interactions
    slopes: Array  # [N] of the sparse part of G: G = slopes at the interactions minus M


class DualPoint(NamedTuple):
    """The parts of Z, on bases turned so that the clipped part is diagonal."""

    left: Array  # [U, K] U
    right: Array  # [I, K] V
    core: Array  # [K, K] U'GV
    clipped: Array  # [K] a
    below: Array  # [U, K] E1, the part of GV outside U
    beside: Array  # [I, K] E2, the part of G'U outside V
    coupling: Array  # [1, K] k, the shares of E1 and E2 that Z keeps
    shrink: Array  # scalar f


class Difference(NamedTuple):
    """``R = G - Z = (1 - shrink) S + left right'`` unscaled, with S the sparse part of G."""

    shrink: Array  # scalar
    left: Array  # [U, J]
    right: Array  # [I, J]
    at_pairs: Array  # [N] left right' at the interactions
    per_user: Array  # [U] squared norms of the rows of left right', over all items


def build(
    gradient: Gradient, bases: Bases, remainder_norm: Array, ridge: Array
) -> tuple[DualPoint, Array]:
    """Builds the dual point on the bases.

    Args:
      gradient: G, scaled.
      bases: U, V and what they hold of M.
      remainder_norm: scalar, an upper bound of the spectral norm of N.
      ridge: scalar, the largest product of a user's and an item's ridge.

    Returns:
      the point, and an upper bound of the spectral norm of G.
    """
    left, sizes, right = bases
    image = gradient.matmat(right)
    core = left.T @ image
    below, beside = image - left @ core, gradient.rmatmat(left) - right @ core.T
    beside_norm = jnp.maximum(_spectral_norm(below), _spectral_norm(beside))
    sigma_ratio = _norm_of_blocks(_spectral_norm(core), beside_norm, remainder_norm)

    # Z has the singular vectors of G plus a multiple of M, which agree at the optimum.
    left_turn, sigma, right_turn = jnp.linalg.svd(core + 1 / ridge * jnp.diag(sizes))
    right_turn, clipped = right_turn.T, jnp.minimum(sigma, 1)
    left, right = left @ left_turn, right @ right_turn
    below, beside = below @ right_turn, beside @ left_turn
    core = left_turn.T @ core @ right_turn
    coupling = _couplings(clipped, below, beside, remainder_norm)
    shrink = 1 / jnp.maximum(remainder_norm, 1)
    return DualPoint(left, right, core, clipped, below, beside, coupling, shrink), sigma_ratio


def _couplings(clipped: Array, below: Array, beside: Array, remainder_norm: Array) -> Array:
    """Shares ``[1, K]`` of the couplings to N that keep the dual point feasible."""
    room = jnp.maximum(1 - clipped, NEAR_RADIUS)
    load = jnp.maximum(jnp.sum(below**2, axis=0), jnp.sum(beside**2, axis=0)) / room
    spare = jnp.maximum(1 - remainder_norm, 0)
    share = jnp.sqrt(jnp.minimum(1, BUDGET * spare / jnp.maximum(load, 1e-300)))
    share = jnp.where(room > NEAR_RADIUS, share, 0)
    weight = (share / jnp.sqrt(room))[None]
    used = jnp.maximum(_spectral_norm(below * weight), _spectral_norm(beside * weight)) ** 2
    return (share * jnp.sqrt(jnp.minimum(1, spare / jnp.maximum(used, 1e-300))))[None]


def difference(problem: Problem, point: DualPoint) -> Difference:
    """Computes ``R = G - Z``, unscaled."""
    users, items = problem.factors
    train, shrink = problem.train, point.shrink
    dropped = point.left @ (shrink * point.core - jnp.diag(point.clipped))
    dropped = dropped + shrink * point.below * (1 - point.coupling)
    left = jnp.concatenate(
        [
            problem.user_scale * dropped,
            shrink * problem.user_scale * point.left,
            (shrink - 1) * users,
        ],
        axis=1,
    )
    right = jnp.concatenate(
        [
            problem.item_scale * point.right,
            problem.item_scale * point.beside * (1 - point.coupling),
            items,
        ],
        axis=1,
    )
    n_narrow = 2 * point.left.shape[1]  # the third block is 0 where nothing shrinks
    at_pairs, per_user = _varying.cond(
        shrink < 1,
        lambda: _products(train, left, right),
        lambda: _products(train, left[:, :n_narrow], right[:, :n_narrow]),
    )
    return Difference(shrink, left, right, at_pairs, per_user)


def _products(train: Interactions, left: Array, right: Array) -> tuple[Array, Array]:
    """``left right'`` at the interactions, and the squared norms of its rows, over all items."""
    return sddmm(train, left, right), jnp.sum(left * (left @ (right.T @ right)), axis=1)


def _spectral_norm(block: Array) -> Array:
    """Spectral norm of a tall matrix, from its small Gram."""
    return jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(block.T @ block)[-1], 0))


def _norm_of_blocks(a: Array, e: Array, b: Array) -> Array:
    """Norm of ``[[a, e], [e, b]]``: an upper bound for a matrix of blocks with these norms."""
    return (a + b) / 2 + jnp.sqrt(((a - b) / 2) ** 2 + e**2)
