"""Losses of models trained by gradient: sums of a convex function of one margin per interaction.

They are callable as ``Model.loss`` and say how they are made, which gives Gauss-Newton products,
minibatches and preconditioners without a second formula.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget.gradient import graph
from jaxforget.sparse.degrees import exchange
from jaxforget.sparse.draws import pair_bits
from jaxforget.sparse.kernels import sddmm
from jaxforget.sparse.search import position
from jaxforget.types import Factors, ForgetSet, Interactions


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """``log(1 + e^x)`` with ``sigmoid`` as its derivative, twenty times as fast on a CPU as ``log1p``'s."""
    return jax.nn.softplus(x)


softplus.defjvps(lambda tangent, _, x: tangent * jax.nn.sigmoid(x))


class CrossEntropy(NamedTuple):
    """``sum_n w_n (log(1 + e^s) - y s)_n + reg |params|^2`` with scores after propagation.

    ``reg`` is a ridge on every row, remembered or not: it moves no row that has no data but to 0.
    """

    reg: float
    n_layers: int  # 0: matrix factorisation

    def __call__(self, params: Factors, train: Interactions, weights: Array, edges: Array) -> Array:
        """Evaluates the loss: a scalar, twice differentiable."""
        margins = self.margins(params, train, edges)
        return jnp.sum(self.outcomes(margins, train, weights)) + self.penalty(params)

    def margins(self, params: Factors, train: Interactions, edges: Array) -> Array:
        """``[N]`` what the convex function is of: the score of each interaction."""
        return sddmm(train, *graph.propagate(params, train, edges, n_layers=self.n_layers))

    def outcomes(self, margins: Array, train: Interactions, weights: Array) -> Array:
        """``[N]`` the weighted loss of each interaction."""
        return weights * (softplus(margins) - train.values * margins)

    def product(self, params: Factors, train: Interactions, weights: Array, edges: Array, *,
                full: bool) -> Callable:  # fmt: skip
        """Returns ``vector -> H vector`` in closed form, or its Gauss-Newton part.

        With ``Z = P E``, ``a = P v``, ``s = z_u . z_i``, ``ds = a_u . z_i + z_u . a_i``, slope
        ``r = w (sigma(s) - y)`` and bend ``h = w sigma (1 - sigma)``: ``H v = P (h ds z_i + r a_i)``
        for users, items likewise; Gauss-Newton leaves ``r`` out. Both halves of ``ds`` are one
        pass over the pairs.
        """
        links = graph.links(train, edges) if self.n_layers else None
        spread = functools.partial(graph.spread, links=links, n_layers=self.n_layers)
        served = spread(params)
        likely = jax.nn.sigmoid(sddmm(train, *served))
        bend, slope = weights * likely * (1 - likely), weights * (likely - train.values)

        def product(vector):
            moved = spread(vector)
            left = jnp.concatenate([moved.users, served.users], axis=1)
            right = jnp.concatenate([served.items, moved.items], axis=1)
            out = exchange(train, bend * sddmm(train, left, right), served)
            if full:
                out = jax.tree.map(jnp.add, out, exchange(train, slope, moved))
            return jax.tree.map(lambda x, v: x + 2 * self.reg * v, spread(out), vector)

        return product

    def difference(self, margins: Array, train: Interactions, forget: ForgetSet) -> Array:
        """``[N]`` the outcomes before a request less those after; exactly 0 where nothing is asked."""
        return self.outcomes(margins, train, forget.before - forget.after)

    def penalty(self, params: Factors) -> Array:
        """``reg |params|^2``."""
        return self.reg * sum(jnp.sum(x**2) for x in params)

    def batch(self, params: Factors, train: Interactions, edges: Array, links: graph.Links,
              rows: Array, weights: Array, key: Array) -> Array:  # fmt: skip
        """Sums the loss over the interactions ``rows`` ``[B]`` of weights ``[B]``, no penalty."""
        del edges, key
        served = graph.spread(params, links, n_layers=self.n_layers)
        met = _gather(served, train.users[rows], train.items[rows])
        scores = jnp.sum(met.users * met.items, axis=1)
        return jnp.sum(weights * (softplus(scores) - train.values[rows] * scores))


class Ranking(NamedTuple):
    """BPR: ``sum_{n positive} w_n log(1 + e^(s_uj - s_ui)) + reg |params|^2``.

    One item ``j`` stands against each remembered positive pair ``(u, i)``, drawn uniformly from
    all items; it does not count if the user is remembered to like it. In ``__call__`` it is a
    function of the pair and ``seed`` alone, so that the loss is one fixed function and weight 0
    equals never loaded; a minibatch draws anew.

    Source: Rendle et al., UAI 2009.
    """

    reg: float
    n_layers: int
    seed: int = 0

    def __call__(self, params: Factors, train: Interactions, weights: Array, edges: Array) -> Array:
        """Evaluates the loss: a scalar, twice differentiable."""
        margins = self.margins(params, train, edges)
        return jnp.sum(self.outcomes(margins, train, weights)) + self.penalty(params)

    def margins(self, params: Factors, train: Interactions, edges: Array) -> Array:
        """``[N]`` score of the pair less that of its opponent."""
        served = graph.propagate(params, train, edges, n_layers=self.n_layers)
        against = _gather(served, train.users, self._opponents(train))
        return sddmm(train, *served) - jnp.sum(against.users * against.items, axis=1)

    def outcomes(self, margins: Array, train: Interactions, weights: Array) -> Array:
        """``[N]`` the weighted loss of each interaction; 0 where the value is not positive."""
        return self._counted(train, weights) * softplus(-margins)

    def difference(self, margins: Array, train: Interactions, forget: ForgetSet) -> Array:
        """``[N]`` the outcomes before a request less those after; exactly 0 where nothing changes."""
        old, new = (self._counted(train, weights) for weights in forget)
        return (old - new) * softplus(-margins)

    def _counted(self, train, weights):
        counted = _counted(train, weights, train.users, self._opponents(train), weights)
        return jnp.where(train.values > 0, counted, 0)

    def penalty(self, params: Factors) -> Array:
        """``reg |params|^2``."""
        return self.reg * sum(jnp.sum(x**2) for x in params)

    def batch(self, params: Factors, train: Interactions, edges: Array, links: graph.Links,
              rows: Array, weights: Array, key: Array) -> Array:  # fmt: skip
        """Sums the loss over the interactions ``rows`` ``[B]`` and new opponents, no penalty."""
        users = train.users[rows]
        items = jax.random.randint(key, rows.shape, 0, train.n_items, jnp.int32)
        counted = jnp.where(
            train.values[rows] > 0, _counted(train, edges, users, items, weights), 0
        )
        served = graph.spread(params, links, n_layers=self.n_layers)
        met, against = _gather(served, users, train.items[rows]), served.items[items]
        margins = jnp.sum(met.users * (met.items - against), axis=1)
        return jnp.sum(counted * softplus(-margins))

    def _opponents(self, train):
        bits = pair_bits(jax.random.key(self.seed), train)
        return (bits % jnp.uint32(train.n_items)).astype(jnp.int32)


def build(loss: str, *, reg: float, n_layers: int) -> CrossEntropy | Ranking:
    """Finds the loss by name: ``"bce"`` or ``"bpr"``.

    Raises:
      ValueError: another name, or a negative setting.
    """
    if loss not in ("bce", "bpr"):
        raise ValueError(f'loss must be "bce" or "bpr"; got {loss!r}')
    for name, value in {"reg": reg, "n_layers": n_layers}.items():
        if not value >= 0:
            raise ValueError(f"{name} must be 0 or more; got {value}")
    return (CrossEntropy if loss == "bce" else Ranking)(reg, n_layers)


def _gather(served, users, items):
    return Factors(served.users[users], served.items[items])


def _counted(train, remembered, users, items, weights):
    """The weights, with 0 where the opponent is itself a remembered positive of that user."""
    liked = jnp.cumsum((remembered > 0) & (train.values > 0), dtype=jnp.int32)
    liked = jnp.append(liked, jnp.zeros(1, jnp.int32))
    first, last = (position(train, users, items, after=after) - 1 for after in (False, True))
    return jnp.where(liked[last] > liked[first], 0, weights)
