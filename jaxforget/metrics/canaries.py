"""Are planted pairs remembered? Their rank among those that could as well have been planted."""

import math

import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import gammaln

from jaxforget import _checks
from jaxforget._settings import checked
from jaxforget.metrics import _fits, ranking
from jaxforget.sparse import search, serving
from jaxforget.sparse.arithmetic import ratio
from jaxforget.sparse.serving import Served
from jaxforget.types import Interactions

SMALL = 16.0  # up to here log gamma itself is small, and exact enough


@checked
def rank_exposure(
    factors: Served, users: Array, items: Array, pool: Array, train: Interactions, weights: Array
) -> Array:
    """Mean exposure of planted pairs, in bits: ``log2(n + 1) - log2(rank)``.

    ``rank``, from 1, is that of a pair's item among it and the ``n`` items of the pool that its
    user was not planted with; where some tie, the mean over their orders. A model that knows
    nothing of a pair gives it any of the ranks with equal chance, which is 1.44 bits in the mean
    for large ``n``; but compare with a retrained model, to which the rest of a profile may say
    something about the pair.

    Args:
      factors: the model that serves.
      users: ``[P]`` integer ids, of the planted pairs.
      items: ``[P]`` integer ids.
      pool: ``[I]`` bool, the items that profiles were drawn from.
      train: the interactions, planted ones included.
      weights: ``[N]``; items with a positive weight are those that a user was planted with.

    Returns:
      A scalar; NaN where no pair was planted, where a score is not finite, or where a traced id is
      none of the model's.

    Raises:
      ValueError: users and items are not two vectors of one length, an id is none of the model's,
        or the pool or the interactions are not of the model's numbers of users and items.

    Example:
      >>> from jaxforget.sparse import layout
      >>> from jaxforget.types import Factors
      >>> # the first of 4
      >>> model = Factors(jnp.array([[1.0]]), jnp.array([[3.0], [2.0], [1.0], [0.5]]))
      >>> pair = jnp.array([0]), jnp.array([0])
      >>> train = layout.build([0], [0], [1.0], n_items=4)
      >>> float(rank_exposure(model, *pair, jnp.ones(4, bool), train, jnp.ones(1)))
      2.0

    Source: Carlini et al., The Secret Sharer, USENIX Security 2019.
    """
    if users.ndim != 1 or users.shape != items.shape:
        raise ValueError(
            f"rank_exposure: users and items are two vectors of one length; got {users.shape} and "
            f"{items.shape}"
        )
    _fits.check("rank_exposure", factors, [(train, weights)])
    (n_users, n_items), dtype = serving.sizes(factors), serving.precision(factors)
    _checks.shape("rank_exposure", (n_items,), pool=pool)
    _checks.ids("rank_exposure", n_users, users=users)
    _checks.ids("rank_exposure", n_items, items=items)
    users, items = search.inside(users, n_users), search.inside(items, n_items)

    def bits(pair: tuple[Array, Array]) -> Array:
        user, item = pair
        real, user, item = (user >= 0) & (item >= 0), jnp.maximum(user, 0), jnp.maximum(item, 0)
        scores = serving.scores(factors, user[None])[0]
        others = pool & ~ranking.hide([(train, weights)], user[None], len(scores))[0]
        others = others.at[item].set(False)
        own = scores[item]
        counted = others, others & (scores > own), others & (scores == own)
        n, above, equal = (jnp.sum(x, dtype=jnp.int32).astype(dtype) for x in counted)
        known = real & jnp.all(jnp.isfinite(jnp.where(others, scores, own)))
        mean = jnp.where(equal > 0, _mean_log(above + 1, equal + 1), jnp.log(above + 1))
        return jnp.where(known, jnp.log2(n + 1) - mean / math.log(2), jnp.nan)

    total = jnp.sum(lax.map(bits, (users, items)))
    return ratio(total, jnp.asarray(len(users), dtype), otherwise=jnp.nan)


def _mean_log(first: Array, n: Array) -> Array:
    """Mean of the logarithms of ``n`` numbers from ``first`` on, each one more than the last.

    That is the difference of two ``log gamma`` over ``n``. Of large numbers these are so large that
    their difference has no digits left; there Stirling's series is subtracted term by term.
    """
    x, end = jnp.maximum(first, SMALL), first + n

    def rest(x):  # of Stirling's series
        y = 1 / x**2
        return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y / 1680))) / x

    terms = jnp.log(end) - 1 + (x - 0.5) * jnp.log1p(n / x) / n + (rest(x + n) - rest(x)) / n
    return jnp.where(first < SMALL, (gammaln(end) - gammaln(first)) / n, terms)
