"""``M = X Y'`` as singular triplets, scaled so that every ridge is 1.

With ``L_u``, ``L_i`` the ridges on a diagonal, the scaled matrix is ``L_u^(1/2) M L_i^(1/2)``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget._settings import checked
from jaxforget.sparse.arithmetic import times
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, Interactions, Terms


class Spectral(NamedTuple):
    """``M = left diag(sizes) right'`` in scaled form; sizes in falling order.

    A column of size 0 is no part of M: it is a direction in which a singular vector may yet grow.
    """

    left: Array  # [U, K] orthonormal columns
    sizes: Array  # [K] >= 0
    right: Array  # [I, K] orthonormal columns


@checked
def spectral(key: Array, factors: Factors, terms: Terms, *, width: int) -> Spectral:
    """Decomposes ``users items'`` into singular triplets, and adds random directions to them.

    Args:
      key: typed JAX key of the random directions.
      factors: ``[U, D]``, ``[I, D]``; all zeros is a cold start.
      terms: the objective, whose ridges scale M.
      width: K, at most ``min(U, I)``. A few more than the served rank speed up the iteration.
    """
    user_scale, item_scale = scales(terms)
    width = min(width, len(user_scale), len(item_scale))
    left, upper = jnp.linalg.qr(user_scale * factors.users)
    right, lower = jnp.linalg.qr(item_scale * factors.items)
    left_turn, sizes, right_turn = jnp.linalg.svd(times(upper, lower.T), full_matrices=False)
    n = min(width, len(sizes))
    keys = jax.random.split(key)
    left = _complete(keys[0], times(left, left_turn)[:, :n], width)
    right = _complete(keys[1], times(right, right_turn.T)[:, :n], width)
    return Spectral(left, jnp.pad(sizes[:n], (0, width - n)), right)


@checked
def serve(point: Spectral, terms: Terms, *, dim: int) -> Factors:
    """Makes factors ``[U, dim]``, ``[I, dim]`` of the leading singular triplets of an iterate.

    Each side gets the square root of the singular values. Columns beyond K are 0.
    """
    user_scale, item_scale = scales(terms)
    missing = ((0, 0), (0, max(dim - len(point.sizes), 0)))
    root = jnp.sqrt(point.sizes)[None]
    users = (point.left * root / user_scale)[:, :dim]
    items = (point.right * root / item_scale)[:, :dim]
    return Factors(jnp.pad(users, missing), jnp.pad(items, missing))


def scales(terms: Terms) -> tuple[Array, Array]:
    """Square roots of the ridges, ``[U, 1]`` and ``[I, 1]``: M is scaled by them on either side."""
    return jnp.sqrt(terms.ridge_users)[:, None], jnp.sqrt(terms.ridge_items)[:, None]


def scores_of(point: Spectral, train: Interactions, terms: Terms) -> Array:
    """``[N]`` entries of M, unscaled, at the interactions."""
    user_scale, item_scale = scales(terms)
    return sddmm(train, point.left * point.sizes[None] / user_scale, point.right / item_scale)


def _complete(key: Array, basis: Array, width: int) -> Array:
    """Appends random orthonormal columns, ``width`` in all."""
    more = jax.random.normal(key, (len(basis), width - basis.shape[1]), basis.dtype)
    for _ in range(2):
        more = jnp.linalg.qr(more - times(basis, times(basis.T, more)))[0]
    return jnp.concatenate([basis, more], axis=1)


def inner(a: Spectral, b: Spectral) -> Array:
    """``<A, B>`` over all pairs, in the scaled coordinates."""
    crossed = times(a.left.T, b.left) * times(a.right.T, b.right)
    return a.sizes @ crossed @ b.sizes


def distance(a: Spectral, b: Spectral) -> Array:
    """``|A - B|_F`` in the scaled coordinates; no cancellation between large squares."""
    shared = times(b.right.T, a.right)
    along = a.left * a.sizes[None] - times(b.left * b.sizes[None], shared)
    across = (b.right - times(a.right, shared.T)) * b.sizes[None]
    return jnp.sqrt(jnp.sum(along**2) + jnp.sum(across**2))
