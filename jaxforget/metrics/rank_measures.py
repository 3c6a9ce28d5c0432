"""Measures of the ranking that one user is shown; ``ranking`` makes it and averages over users.

Each takes the ranks ``[R, L]`` of the held-out items of R users and gives one number per user,
``[R]``. Ranks count from 0, relevance is binary, and a user without a relevant item gets a number
that ``ranking.over_users`` leaves out.

Items with one and the same score stand in random order, and every measure is its expected value
over these orders (McSherry and Najork, ECIR 2008): no model gains by the numbering of the items.
"""

import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.metrics.ranking import Ranked
from jaxforget.sparse.arithmetic import ratio


@checked
def recall(ranked: Ranked, *, k: int) -> Array:
    """Share of a user's relevant items that are among the first k: ``hits / relevant``."""
    return _hits(ranked, k) / jnp.maximum(_relevant(ranked), 1)


@checked
def precision(ranked: Ranked, *, k: int) -> Array:
    """Share of the first k places that hold a relevant item: ``hits / k``, also if k > I."""
    return _hits(ranked, k) / k


@checked
def hit(ranked: Ranked, *, k: int) -> Array:
    """1 if any of the first k items is relevant, else 0."""
    ranks, ties = _ranks(ranked)
    # relevant items of one score share k - ranks places with others of that score: the chance that
    # all of them miss is a product, with one item and one place fewer in every factor
    split = ranked.relevant & (ranks < k) & (ranks + ties >= k)
    before = jnp.cumsum(split.astype(float), axis=1) - split.astype(float)
    others = jnp.maximum(ties + 1 - before, 1)
    missed = jnp.where(split, jnp.clip((ranks + ties + 1 - k - before) / others, 0, 1), 1)
    missed = jnp.where(ranked.relevant & (ranks + ties < k), 0, missed)
    return 1 - jnp.prod(missed, axis=1)


@checked
def mrr(ranked: Ranked, *, k: int) -> Array:
    """Reciprocal rank: ``1 / (rank + 1)`` of the first relevant item; 0 if not in the top k."""
    ranks, ties = _ranks(ranked)
    best = jnp.min(jnp.where(ranked.relevant, ranks, jnp.inf), axis=1, initial=jnp.inf)
    first = ranked.relevant & (ranks == best[:, None])  # the first, and what ties with it
    n = jnp.sum(first, axis=1).astype(float)
    size = jnp.max(jnp.where(first, ties + 1, 0), axis=1, initial=0)
    best = jnp.where(n > 0, best, k)

    def place(step, carry):
        """Adds the chance that the first relevant item stands ``step`` places further down."""
        total, none_yet = carry
        left = size - step
        here = jnp.clip(ratio(n, left, otherwise=0.0), 0, 1)
        gain = jnp.where(best + step < k, none_yet * here / (best + step + 1), 0)
        return total + gain, none_yet * (1 - here)

    start = (jnp.zeros_like(best), jnp.ones_like(best))
    return _varying.fori_loop(0, k, lambda n, x: place(jnp.asarray(n, float), x), start)[0]


@checked
def ndcg(ranked: Ranked, *, k: int) -> Array:
    """Discounted gain ``sum_hits 1 / log2(rank + 2)``, over its largest possible value."""
    ranks, ties = _ranks(ranked)
    upto = jnp.cumsum(1 / jnp.log2(jnp.arange(k, dtype=float) + 2))
    upto = jnp.concatenate([jnp.zeros(1), upto])  # [k + 1] gain of the first 0 .. k places
    first, end = (jnp.minimum(x, k).astype(int) for x in (ranks, ranks + ties + 1))
    mean = (upto[end] - upto[first]) / (ties + 1)
    gain = jnp.sum(jnp.where(ranked.relevant, mean, 0), axis=1)
    return gain / upto[jnp.clip(_relevant(ranked), 1, k).astype(int)]


def auc_unseen(ranked: Ranked) -> Array:
    """AUC of a ranking: ``P(a relevant item ranks above one neither relevant nor hidden)``.

    Ties count half, and so does a user to whom only relevant items can be shown.
    """
    n = _relevant(ranked)
    others = ranked.candidates.astype(float) - n
    ranks, ties = _ranks(ranked)
    places = jnp.sum(jnp.where(ranked.relevant, ranks + ties / 2, 0), axis=1)
    lost = places - n * (n - 1) / 2  # pairs in which the other item ranks above the relevant one
    return 1 - ratio(lost, n * others, otherwise=0.5)


def _hits(ranked, k):
    """Expected number of relevant items among the first k."""
    ranks, ties = _ranks(ranked)
    chance = jnp.clip((k - ranks) / (ties + 1), 0, 1)
    return jnp.sum(jnp.where(ranked.relevant, chance, 0), axis=1)


def _ranks(ranked):
    """Ranks and ties as floating-point ``[R, L]``."""
    ties = jnp.broadcast_to(jnp.asarray(ranked.ties), ranked.ranks.shape)
    return ranked.ranks.astype(float), ties.astype(float)


def _relevant(ranked):
    """How many relevant items each user has."""
    return jnp.sum(ranked.relevant, axis=1).astype(float)
