"""Ranks one relevant item among a few sampled ones, as some published splits ask."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _checks
from jaxforget.metrics.ranking import Ranked
from jaxforget.sparse import search, serving
from jaxforget.sparse.serving import Served


def over_candidates(
    measure: Callable[[Ranked], dict[str, Array]],
    factors: Served,
    users: Array,
    candidates: Array,
) -> dict[str, Array]:
    """Averages a per-user measure where one relevant item is ranked among a few others.

    So are the leave-one-out files of neural collaborative filtering judged: the held-out item among
    99 that the user never met. Such numbers are larger than those of the whole catalogue, and
    order models differently (Krichene and Rendle, KDD 2020).

    Args:
      measure: as in ``over_users``.
      factors: the model that serves.
      users: ``[R]`` integer ids.
      candidates: ``[R, C]`` integer ids of items, the relevant one first in each row; what is named
        again in a row counts once.

    Returns:
      ``{name: scalar}``; NaN where there are no users, a score is not finite, or an item is none.

    Raises:
      ValueError: users or candidates are no integers.

    Example:
      >>> from jaxforget.metrics import rank_measures
      >>> from jaxforget.types import Factors
      >>> model = Factors(jnp.array([[1.0]]), jnp.array([[3.0], [2.0], [1.0]]))
      >>> users, items = jnp.array([0]), jnp.array([[1, 2]])
      >>> found = over_candidates(
      ...     lambda r: {"mrr": rank_measures.mrr(r, k=3)}, model, users, items
      ... )
      >>> float(found["mrr"])  # item 0 is no candidate
      1.0
    """
    n_users, n_items = serving.sizes(factors)
    _checks.integers("over_candidates", users=users, candidates=candidates)
    users, candidates = search.inside(users, n_users), search.inside(candidates, n_items)

    def rank(row: tuple[Array, Array]) -> tuple[Array, ...]:
        """Of one user: how many are above the first, equal to it, in all; and are all real?"""
        user, items = row
        real = (items >= 0) & (user >= 0)
        found = serving.scores(factors, jnp.maximum(user, 0)[None])[0]
        found = found[jnp.maximum(items, 0)]
        again = jnp.any(jnp.tril(items[:, None] == items[None], -1), axis=1)
        above, equal = found > found[0], (found == found[0]).at[0].set(False)
        counts = (jnp.sum(x & ~again, dtype=jnp.int32) for x in (above, equal, real))
        return *counts, jnp.all(real & jnp.isfinite(found))

    found = lax.map(rank, (users, candidates), batch_size=serving.users_at_once(factors))
    above, equal, count, known = found
    ranked = Ranked(above[:, None], jnp.ones((len(users), 1), bool), count, equal[:, None])
    nothing = jnp.where(jnp.all(known), 0, jnp.nan)
    return {k: jnp.mean(v) + nothing.astype(v.dtype) for k, v in measure(ranked).items()}
