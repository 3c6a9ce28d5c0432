"""The interaction graph of LightGCN: degree normalisation and propagation."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _weights
from jaxforget._settings import checked
from jaxforget.sparse.arithmetic import gather
from jaxforget.sparse.compact import compact
from jaxforget.sparse.degrees import degrees, exchange
from jaxforget.types import Factors, Interactions


@functools.partial(jax.jit, static_argnames="n_layers")
def propagate(factors: Factors, train: Interactions, edges: Array, *, n_layers: int) -> Factors:
    """Averages a node with its neighbourhoods: ``Z = mean_{l <= n_layers} A^l E``.

    ``A = D^-1/2 B D^-1/2`` holds the positive interactions only (``values > 0``), each as heavy
    as its weight, without self-loops; an isolated node has a zero row. The degrees are recomputed
    from the weights, so a weight of 0 removes an edge and its part of the degrees exactly.

    Args:
      factors: ``[U, D]`` and ``[I, D]``.
      train: the interactions.
      edges: ``[N]`` 1 = the edge is there, 0 = it is not.
      n_layers: at least 0; 0 returns the factors as they are.

    Returns:
      ``Factors`` of the same shapes. The map is linear in the factors and its own transpose.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0, 1], [0, 1, 1], [1.0, 0.0, 1.0])
      >>> ones = Factors(jnp.ones((2, 1)), jnp.zeros((2, 1)))
      >>> out = propagate(ones, train, jnp.ones(3), n_layers=1)
      >>> out.users.tolist(), out.items.tolist()  # the middle pair is no edge: its value is 0
      ([[0.5], [0.5]], [[0.5], [0.5]])

    Source: He et al., LightGCN, SIGIR 2020.
    """
    if n_layers == 0:
        return factors
    return spread(factors, Links(train, normalise(train, edges)), n_layers=n_layers)


def normalise(train: Interactions, edges: Array) -> Array:
    """``[N]`` weights ``1 / sqrt(deg_user deg_item)`` of the positive edges; 0 for other pairs."""
    linked = jnp.where(train.values > 0, _weights.floating(train, edges), 0)
    users, items = degrees(train, linked)
    return (
        linked
        * gather(_inverse_root(users), train.users)
        * gather(_inverse_root(items), train.items)
    )


class Links(NamedTuple):
    """A graph ready to be propagated along, many times."""

    train: Interactions  # where the edges are
    values: Array  # [N] what each carries


def links(train: Interactions, edges: Array) -> Links:
    """Normalises the graph once and leaves out what is no edge, for use inside loops."""
    values = normalise(train, edges)
    smaller, places = compact(train, values > 0)
    return Links(smaller, values.at[places].get(mode="fill", fill_value=0))


@checked
def spread(factors: Factors, links: Links | None, *, n_layers: int) -> Factors:
    """Propagates along normalised edges: ``mean_{l <= n_layers} A^l E``."""
    if links is None or n_layers == 0:
        return factors
    layer = total = factors
    for _ in range(n_layers):
        layer = exchange(links.train, links.values, layer)
        total = Factors(total.users + layer.users, total.items + layer.items)
    return Factors(total.users / (n_layers + 1), total.items / (n_layers + 1))


def _inverse_root(degree: Array) -> Array:
    return jnp.where(degree > 0, jax.lax.rsqrt(jnp.where(degree > 0, degree, 1)), 0)
