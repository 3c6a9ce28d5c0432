"""Sums over the interactions of every user and item."""

import jax.numpy as jnp
from jax import Array

from jaxforget import _weights
from jaxforget.sparse.arithmetic import widened
from jaxforget.sparse.kernels import spmm
from jaxforget.types import Factors, ForgetSet, Interactions


def degrees(train: Interactions, weights: Array) -> tuple[Array, Array]:
    """Sums the weights ``[N]`` of every user's and of every item's interactions.

    Returns:
      ``[U]`` and ``[I]``; counts where the weights are 0 or 1.
    """
    weights = _weights.floating(train, weights)
    counted = widened(weights)
    ones = Factors(*(jnp.ones((n, 1), counted.dtype) for n in (train.n_users, train.n_items)))
    users, items = exchange(train, counted, ones)
    return users[:, 0].astype(weights.dtype), items[:, 0].astype(weights.dtype)


def ridge(count: Array, *, reg: float, nu: float) -> Array:
    """``reg * count^nu``, the penalty of a row with so many interactions; ``reg`` for none."""
    some = count > 0
    return reg * jnp.where(some, jnp.where(some, count, 1) ** nu, 1)


def clear_emptied(rows: Factors, train: Interactions, forget: ForgetSet) -> Factors:
    """Sets every row to 0 that loses its last remembered interaction by the request."""
    return clear_rows(rows, *(degrees(train, weights) for weights in forget))


def clear_rows(rows: Factors, before: tuple[Array, Array], after: tuple[Array, Array]) -> Factors:
    """Sets every row to 0 that had interactions and has none, by the ``degrees`` of both."""
    return Factors(
        *(
            jnp.where(((had > 0) & (has == 0))[:, None], 0, side)
            for had, has, side in zip(before, after, rows)
        )
    )


def exchange(train: Interactions, values: Array, rows: Factors) -> Factors:
    """Sends every row along the interactions, with ``V`` the sparse matrix of ``values [N]``.

    Returns:
      ``V items`` for the users, ``[U, D]``, and ``V' users`` for the items, ``[I, D]``.
    """
    return Factors(
        spmm(train, values, rows.items, by="user"), spmm(train, values, rows.users, by="item")
    )
