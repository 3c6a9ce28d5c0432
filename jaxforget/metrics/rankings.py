"""Measures of one user's ranking: ``[R, L]`` ranks of held-out items to ``[R]``."""

import jax.numpy as jnp
from jax import Array

from jaxforget.metrics.ranking import Ranked


def recall(ranked: Ranked, *, k: int) -> Array:
    """Share of a user's relevant items among the first k: ``hits / relevant``."""
    return _hits(ranked, k) / _at_least_one(ranked)


def precision(ranked: Ranked, *, k: int) -> Array:
    """Share of the first k that are relevant: ``hits / k``."""
    return _hits(ranked, k) / k


def hit(ranked: Ranked, *, k: int) -> Array:
    """1 if any of the first k is relevant, else 0."""
    return (_hits(ranked, k) > 0).astype(float)


def mrr(ranked: Ranked, *, k: int) -> Array:
    """Reciprocal of the place of the first relevant item, 0 if it is not among the first k."""
    inside = ranked.relevant & (ranked.ranks < k)
    return jnp.max(jnp.where(inside, 1 / (ranked.ranks.astype(float) + 1), 0), axis=1, initial=0)


def ndcg(ranked: Ranked, *, k: int) -> Array:
    """``sum_hits 1 / log2(place + 1)`` over its largest possible value, binary relevance."""
    gain = 1 / jnp.log2(ranked.ranks.astype(float) + 2)
    found = jnp.sum(jnp.where(ranked.relevant & (ranked.ranks < k), gain, 0), axis=1)
    ideal = jnp.cumsum(1 / jnp.log2(jnp.arange(k, dtype=float) + 2))
    count = jnp.minimum(jnp.sum(ranked.relevant, axis=1), k)
    return found / ideal[jnp.maximum(count, 1) - 1]


def auc_unseen(ranked: Ranked) -> Array:
    """``P(relevant item ranked above an item the user never met)``, per user."""
    n = jnp.sum(ranked.relevant, axis=1).astype(float)
    others = ranked.candidates.astype(float) - n
    places = jnp.sum(jnp.where(ranked.relevant, ranked.ranks, 0), axis=1).astype(float)
    above = places - n * (n - 1) / 2
    return 1 - above / jnp.maximum(n * others, 1)


def _hits(ranked, k):
    return jnp.sum(ranked.relevant & (ranked.ranks < k), axis=1).astype(float)


def _at_least_one(ranked):
    return jnp.maximum(jnp.sum(ranked.relevant, axis=1), 1).astype(float)
