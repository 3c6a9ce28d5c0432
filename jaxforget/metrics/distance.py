"""How far the predictions of two models are apart."""

import jax.numpy as jnp
from jax import Array

from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, Interactions


def prediction_distance(a: Factors, b: Factors) -> Array:
    """Relative distance of all predictions: ``|A_u A_i' - B_u B_i'|_F / |B_u B_i'|_F``, exactly.

    Through ``[D, D]`` Grams of the *difference* of the factors, after turning ``a`` (which no
    orthogonal turn changes) onto ``b``: differencing two large Grams would lose all digits below
    the square root of the precision.
    """
    if a.users.shape != b.users.shape:  # other dimensions: padding with zeros changes no score
        width = max(a.users.shape[1], b.users.shape[1])
        a, b = (
            Factors(*(jnp.pad(x, ((0, 0), (0, width - x.shape[1]))) for x in f)) for f in (a, b)
        )
    left, _, right = jnp.linalg.svd(_cross(a.users, b.users) + _cross(a.items, b.items))
    a = Factors(*(jnp.matmul(x, left @ right, precision="highest") for x in a))
    users, items = a.users - b.users, a.items - b.items  # A - B = users a.items' + b.users items'
    squares = (
        jnp.sum(_cross(users, users) * _cross(a.items, a.items))
        + 2 * jnp.sum(_cross(users, b.users) * _cross(a.items, items))
        + jnp.sum(_cross(b.users, b.users) * _cross(items, items))
    )
    size = jnp.sum(_cross(b.users, b.users) * _cross(b.items, b.items))
    return _ratio(squares, size)


def distance_on(a: Factors, b: Factors, cells: Interactions, where: Array) -> Array:
    """Relative distance of the predictions on some cells; 0 where no cell counts."""
    ours, theirs = (sddmm(cells, *f) for f in (a, b))
    return _ratio(jnp.sum(where * (ours - theirs) ** 2), jnp.sum(where * theirs**2))


def _ratio(squares, size):
    return jnp.sqrt(jnp.maximum(squares, 0) / jnp.where(size > 0, size, 1))


def _cross(a, b):
    return jnp.matmul(a.T, b, precision="highest")
