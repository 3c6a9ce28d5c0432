"""Sums over the interactions of every user and item."""

import jax.numpy as jnp
from jax import Array

from jaxforget.sparse.kernels import spmm
from jaxforget.types import Factors, Interactions


def degrees(train: Interactions, linked: Array) -> tuple[Array, Array]:
    """Sums the weights of ``linked`` per user ``[U]`` and per item ``[I]``."""
    ones = Factors(*(jnp.ones((n, 1), linked.dtype) for n in (train.n_users, train.n_items)))
    users, items = exchange(train, linked, ones)
    return users[:, 0], items[:, 0]


def exchange(train: Interactions, values: Array, rows: Factors) -> Factors:
    """Sends every row along the interactions: users receive ``V items``, items ``V' users``."""
    return Factors(
        spmm(train, values, rows.items, by="user"), spmm(train, values, rows.users, by="item")
    )
