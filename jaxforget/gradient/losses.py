"""Losses of models trained by gradient: sums of a convex function of one margin per interaction.

Each is a ``types.MarginLoss``: callable as ``Model.loss``, it also says how it is made, which
gives curvature products, minibatches and preconditioners without a second formula. They are
frozen dataclasses, so that ``jax.jit(loss)`` and caches can hold them.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _checks, _weights
from jaxforget._settings import checked
from jaxforget.gradient import graph
from jaxforget.gradient.graph import Links
from jaxforget.gradient.margins import Margins
from jaxforget.gradient.vectors import add
from jaxforget.sparse.degrees import degrees, exchange
from jaxforget.sparse.draws import pair_bits
from jaxforget.sparse.kernels import sddmm
from jaxforget.sparse.search import position
from jaxforget.types import Batch, Factors, ForgetSet, Interactions, Loss


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """``log(1 + e^x)``; ``sigmoid`` as its derivative costs a CPU a twentieth of ``log1p``'s."""
    return jax.nn.softplus(x)


softplus.defjvps(lambda tangent, _, x: tangent * jax.nn.sigmoid(x))


@dataclasses.dataclass(frozen=True, eq=False)  # by identity, also where reg is an array
class CrossEntropy(Margins):
    """``sum_n w_n (log(1 + e^s) - y s)_n`` with scores ``s`` after propagation, and the ridge."""

    def margins(self, params: Factors, train: Interactions, edges: Array) -> Array:
        """``[N]`` the score of each interaction."""
        return sddmm(train, *graph.propagate(params, train, edges, n_layers=self.n_layers))

    def outcomes(self, margins: Array, train: Interactions, weights: Array) -> Array:
        """``[N]`` the weighted loss of each interaction."""
        return weights * (softplus(margins) - train.values * margins)

    def product(
        self, params: Factors, train: Interactions, weights: Array, edges: Array, *, full: bool
    ) -> Callable[[Any], Any]:
        """Returns ``vector -> H vector`` in closed form, or its Gauss-Newton part.

        With ``Z = P E``, ``a = P v``, ``s = z_u . z_i``, ``ds = a_u . z_i + z_u . a_i``, slope
        ``r = w (sigma(s) - y)`` and bend ``h = w sigma (1 - sigma)``: ``H v`` is ``P`` applied to
        ``h ds z_i + r a_i`` for users, and likewise for items; Gauss-Newton leaves ``r`` out.
        Both halves of ``ds`` are one pass over the pairs.
        """
        links = graph.links(train, edges) if self.n_layers else None
        spread = functools.partial(graph.spread, links=links, n_layers=self.n_layers)
        served = spread(params)
        likely = jax.nn.sigmoid(sddmm(train, *served))
        bend, slope = weights * likely * (1 - likely), weights * (likely - train.values)
        ridges = self.ridges(train, weights)

        def product(vector: Factors) -> Factors:
            moved = spread(vector)
            left = jnp.concatenate([moved.users, served.users], axis=1)
            right = jnp.concatenate([served.items, moved.items], axis=1)
            out = exchange(train, bend * sddmm(train, left, right), served)
            if full:
                out = add(out, exchange(train, slope, moved))
            return jax.tree.map(lambda x, r, v: x + 2 * r * v, spread(out), ridges, vector)

        return product

    def batch(
        self, params: Factors, train: Interactions, batch: Batch, edges: Array, links: Links | None
    ) -> Array:
        """The loss of a minibatch, without the ridge."""
        del edges
        served = graph.spread(params, links, n_layers=self.n_layers)
        pairs = _gather(served, train.users[batch.rows], train.items[batch.rows])
        scores = jnp.sum(pairs.users * pairs.items, axis=1)
        return jnp.sum(batch.weights * (softplus(scores) - train.values[batch.rows] * scores))


@dataclasses.dataclass(frozen=True, eq=False)  # by identity, also where reg is an array
class Ranking(Margins):
    """BPR: ``sum_{n positive} w_n log(1 + e^(s_uj - s_ui))``, and the ridge.

    One item ``j`` stands against each remembered positive pair ``(u, i)``, drawn uniformly from
    all items; it does not count if the user is remembered to like it. In ``__call__`` it is a
    function of the pair and ``seed`` alone, so that the loss is one fixed function and weight 0
    equals never loaded; a minibatch draws anew. With ``nu = 1`` and ``reg = r / 2`` the ridge is,
    on average, the published one: ``r / 2`` times the squares of the three rows of each draw.

    Source: Rendle et al., UAI 2009.
    """

    seed: int = 0

    draws_items: ClassVar[bool] = True

    def margins(self, params: Factors, train: Interactions, edges: Array) -> Array:
        """``[N]`` score of the pair less that of its drawn opponent."""
        served = graph.propagate(params, train, edges, n_layers=self.n_layers)
        against = _gather(served, train.users, self._opponents(train))
        return sddmm(train, *served) - jnp.sum(against.users * against.items, axis=1)

    def outcomes(self, margins: Array, train: Interactions, weights: Array) -> Array:
        """``[N]`` the weighted loss of each interaction; 0 where the value is not positive."""
        return self._counted(train, weights) * softplus(-margins)

    def difference(self, margins: Array, train: Interactions, forget: ForgetSet) -> Array:
        """``[N]`` outcomes before a request less those after; exactly 0 where nothing changes."""
        old, new = (self._counted(train, weights) for weights in forget)
        return (old - new) * softplus(-margins)

    def counts(self, train: Interactions, weights: Array) -> tuple[Array, Array]:
        """Positive pairs of each row, and how often an item is drawn against one on average."""
        positive = jnp.where(train.values > 0, _weights.floating(train, weights), 0)
        users, items = degrees(train, positive)
        return users, items + jnp.sum(positive) / train.n_items

    def batch(
        self, params: Factors, train: Interactions, batch: Batch, edges: Array, links: Links | None
    ) -> Array:
        """The loss of a minibatch against newly drawn opponents, without the ridge."""
        rows, users = batch.rows, train.users[batch.rows]
        items = jax.random.randint(batch.key, rows.shape, 0, train.n_items, jnp.int32)
        counted = _counted(train, edges, users, items, batch.weights)
        counted = jnp.where(train.values[rows] > 0, counted, 0)
        served = graph.spread(params, links, n_layers=self.n_layers)
        pairs, against = _gather(served, users, train.items[rows]), served.items[items]
        margins = jnp.sum(pairs.users * (pairs.items - against), axis=1)
        return jnp.sum(counted * softplus(-margins))

    def _counted(self, train: Interactions, weights: Array) -> Array:
        counted = _counted(train, weights, train.users, self._opponents(train), weights)
        return jnp.where(train.values > 0, counted, 0)

    def _opponents(self, train: Interactions) -> Array:
        bits = pair_bits(jax.random.key(self.seed), train)
        return (bits % jnp.uint32(train.n_items)).astype(jnp.int32)


LOSSES = {"bce": CrossEntropy, "bpr": Ranking}


@checked
def build(loss: str, *, reg: float, n_layers: int, nu: float = 0.0) -> CrossEntropy | Ranking:
    """Finds the loss by name: ``"bce"`` or ``"bpr"``.

    Raises:
      ValueError: another name, or a negative setting.
    """
    _checks.choice("losses", LOSSES, loss=loss)
    return LOSSES[loss](reg, n_layers, nu)


def forgotten(loss: Loss, train: Interactions, forget: ForgetSet) -> Callable[[Any], Array]:
    """``params -> L(before) - L(after)`` along the graph without the forgotten: what they cost."""

    def difference(params: Any) -> Array:
        old, new = (loss(params, train, weights, forget.after) for weights in forget)
        return old - new

    return difference


def _gather(served: Factors, users: Array, items: Array) -> Factors:
    return Factors(served.users[users], served.items[items])


def _counted(
    train: Interactions, remembered: Array, users: Array, items: Array, weights: Array
) -> Array:
    """The weights, with 0 where the opponent is itself a remembered positive of that user."""
    likes = jnp.cumsum((remembered > 0) & (train.values > 0), dtype=jnp.int32)
    likes = jnp.append(jnp.zeros(1, jnp.int32), likes)  # likes[n] of the first n interactions
    first, end = (position(train, users, items, after=after) for after in (False, True))
    return jnp.where(likes[end] > likes[first], 0, weights)
