"""How often lists still show what somebody asked to forget: some items, or the very pairs.

Forgotten items are ranked as all others that their user does not hold: hidden are only those that
``hidden`` names, such as what is remembered now. Items that tie over the last places of a list
count by their chance to be in it.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from jaxforget import _checks
from jaxforget.metrics import _fits, ranking, top
from jaxforget.metrics.ranking import Hidden
from jaxforget.sparse import serving
from jaxforget.sparse.arithmetic import ratio
from jaxforget.sparse.serving import Served
from jaxforget.types import Interactions


def of_items(
    factors: Served, items: Array, people: Array, hidden: Hidden, *, ks: Sequence[int]
) -> dict[int, Array]:
    """Share of people's top-k lists that some items take up: a mean over the people.

    ``mean_u |{i in items : rank_u(i) < k}| / k``. A list is shorter than ``k`` where fewer items
    can be shown; then its length divides.

    Args:
      factors: the model that serves.
      items: ``[I]`` bool, the items that are looked for.
      people: ``[U]`` bool, whose lists count.
      hidden: interactions and their weights, as in ``ranking.over_users``.
      ks: lengths of the lists.

    Returns:
      ``{k: scalar}`` in [0, 1]; NaN where nobody counts to whom an item can be shown, or where a
      score of one who counts is not finite.

    Raises:
      ValueError: items, people or interactions are not as many as the model's.

    Example:
      >>> from jaxforget.types import Factors
      >>> model = Factors(jnp.array([[1.0]]), jnp.array([[3.0], [2.0], [2.0]]))
      >>> found = of_items(model, jnp.array([False, True, False]), jnp.array([True]), [], ks=[1, 2])
      >>> {k: float(share) for k, share in found.items()}  # the second place is drawn from two
      {1: 0.0, 2: 0.25}

    Source: the share of sensitive items in ERASE, arXiv 2603.08341.
    """
    owner, (n_users, n_items) = "exposure.of_items", serving.sizes(factors)
    _checks.count(owner, 1, **{f"ks[{n}]": k for n, k in enumerate(ks)})
    _fits.check(owner, factors, hidden)
    _checks.shape(owner, (n_items,), items=items)
    _checks.shape(owner, (n_users,), people=people)
    dtype = serving.precision(factors)

    def shares(users: Array) -> tuple[dict[int, Array], Array]:
        lists, shown, known = _lists(factors, users, hidden, ks)
        length = jnp.sum(shown, axis=1, dtype=dtype)
        counted = people[users] & (length > 0)
        found = {}
        for k, chance in zip(ks, lists, strict=True):
            share = jnp.sum(jnp.where(items[None], chance, 0), axis=1) / jnp.clip(length, 1, k)
            share = jnp.where(known, share, jnp.nan)
            found[k] = jnp.sum(jnp.where(counted, share, 0))
        return found, jnp.sum(counted, dtype=dtype)

    totals, n_people = serving.sum_over_users(shares, factors)
    return {k: ratio(total, n_people, otherwise=jnp.nan) for k, total in totals.items()}


def of_pairs(
    factors: Served, pairs: Interactions, where: Array, hidden: Hidden, *, ks: Sequence[int]
) -> dict[int, Array]:
    """Share of pairs whose item is in their user's top-k list.

    Args:
      factors: the model that serves.
      pairs: users and items; values are not read.
      where: ``[N]`` bool, the pairs that count, such as the forgotten of the training interactions.
      hidden: interactions and their weights, as in ``ranking.over_users``; a pair whose item is
        hidden from its user does not count.
      ks: lengths of the lists.

    Returns:
      ``{k: scalar}`` in [0, 1]; NaN where no pair counts, or where a score of a user who has one
      is not finite.

    Raises:
      ValueError: the interactions are not of the model's numbers of users and items.

    Example:
      >>> from jaxforget.sparse import layout
      >>> from jaxforget.types import Factors
      >>> model = Factors(jnp.array([[1.0]]), jnp.array([[3.0], [2.0], [1.0]]))
      >>> asked = layout.build([0, 0], [0, 2], [1.0, 1.0])
      >>> float(of_pairs(model, asked, jnp.array([True, True]), [], ks=[2])[2])
      0.5

    Source: the exposure of target items in ERASE, arXiv 2603.08341.
    """
    owner = "exposure.of_pairs"
    _checks.count(owner, 1, **{f"ks[{n}]": k for n, k in enumerate(ks)})
    _fits.check(owner, factors, hidden, pairs=pairs)
    _checks.shape(owner, pairs.users.shape, where=where)
    dtype, width = serving.precision(factors), max(pairs.by_user.widths, default=0)

    def counts(users: Array) -> tuple[dict[int, Array], Array]:
        lists, shown, known = _lists(factors, users, hidden, ks)
        index, items, real = serving.histories(pairs, users, width)
        counted = real & where[index] & jnp.take_along_axis(shown, items, axis=1)
        found = {}
        for k, chance in zip(ks, lists, strict=True):
            own = jnp.take_along_axis(chance, items, axis=1)
            own = jnp.where(known[:, None], own, jnp.nan)
            found[k] = jnp.sum(jnp.where(counted, own, 0))
        return found, jnp.sum(counted, dtype=dtype)

    totals, n_pairs = serving.sum_over_users(counts, factors)
    return {k: ratio(total, n_pairs, otherwise=jnp.nan) for k, total in totals.items()}


def _lists(
    factors: Served, users: Array, hidden: Hidden, ks: Sequence[int]
) -> tuple[list[Array], Array, Array]:
    """Of some users: each item's chance to be in a list of each length, whether it can be shown,
    and ``[R]`` whether all scores are finite."""
    scores, dtype = serving.scores(factors, users), serving.precision(factors)
    known = jnp.all(jnp.isfinite(scores), axis=1)
    shown = ~ranking.hide(hidden, users, scores.shape[1])
    chances = top.chances(jnp.where(shown, scores, -jnp.inf), shown, ks)
    return [chance.astype(dtype) for chance in chances], shown, known
