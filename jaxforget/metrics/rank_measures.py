"""Measures of the ranking that one user is shown; ``ranking`` makes it and averages over users.

Each takes the ranks ``[R, L]`` of the held-out items of R users and gives one number per user,
``[R]``. Ranks count from 0, relevance is binary, and a user without a relevant item gets a number
that ``ranking.over_users`` leaves out.
"""

import jax.numpy as jnp
from jax import Array

from jaxforget.metrics.ranking import Ranked


def recall(ranked: Ranked, *, k: int) -> Array:
    """Share of a user's relevant items that are among the first k: ``hits / relevant``."""
    return _hits(ranked, k) / _at_least_one(ranked)


def precision(ranked: Ranked, *, k: int) -> Array:
    """Share of the first k items that are relevant: ``hits / k``."""
    return _hits(ranked, k) / k


def hit(ranked: Ranked, *, k: int) -> Array:
    """1 if any of the first k items is relevant, else 0."""
    return (_hits(ranked, k) > 0).astype(float)


def mrr(ranked: Ranked, *, k: int) -> Array:
    """Reciprocal rank: ``1 / (rank + 1)`` of the first relevant item; 0 if not in the top k."""
    inside = ranked.relevant & (ranked.ranks < k)
    return jnp.max(jnp.where(inside, 1 / (ranked.ranks.astype(float) + 1), 0), axis=1, initial=0)


def ndcg(ranked: Ranked, *, k: int) -> Array:
    """Discounted gain ``sum_hits 1 / log2(rank + 2)``, over its largest possible value."""
    gain = 1 / jnp.log2(ranked.ranks.astype(float) + 2)
    gain = jnp.sum(jnp.where(ranked.relevant & (ranked.ranks < k), gain, 0), axis=1)
    ideal = jnp.cumsum(1 / jnp.log2(jnp.arange(k, dtype=float) + 2))
    count = jnp.minimum(jnp.sum(ranked.relevant, axis=1), k)
    return gain / ideal[jnp.maximum(count, 1) - 1]


def auc_unseen(ranked: Ranked) -> Array:
    """AUC of a ranking: ``P(a relevant item ranks above one neither relevant nor hidden)``."""
    n = jnp.sum(ranked.relevant, axis=1).astype(float)
    others = ranked.candidates.astype(float) - n
    ranks = jnp.sum(jnp.where(ranked.relevant, ranked.ranks, 0), axis=1).astype(float)
    lost = ranks - n * (n - 1) / 2  # pairs in which the other item ranks above the relevant one
    return 1 - lost / jnp.maximum(n * others, 1)


def _hits(ranked, k):
    return jnp.sum(ranked.relevant & (ranked.ranks < k), axis=1).astype(float)


def _at_least_one(ranked):
    return jnp.maximum(jnp.sum(ranked.relevant, axis=1), 1).astype(float)
