"""Ranks the whole catalogue for each user, users in chunks: no ``[U, I]`` array is ever held.

``rank_measures`` holds what is then computed of one user's ranking.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget.sparse import layout
from jaxforget.sparse.arithmetic import ratio, times
from jaxforget.types import Factors, Interactions

SCORES_AT_ONCE = 1 << 21  # scores held at a time, so users times the size of the catalogue

USERS_AT_ONCE = 256  # at most, of similar history length

# interactions and their [N] weights: an item with a positive weight is not ranked for that user
Hidden = Sequence[tuple[Interactions, Array]]


class Ranked(NamedTuple):
    """The held-out items of R users, and the rank of each among the items that are not hidden."""

    ranks: Array  # [R, L] int32, 0 = first
    relevant: Array  # [R, L] bool; False is padding, a negative label or a hidden item
    candidates: Array  # [R] int32, how many items were ranked


def over_users(
    measure: Callable[[Ranked], dict[str, Array]],
    factors: Factors,
    held_out: Interactions,
    hidden: Hidden,
) -> dict[str, Array]:
    """Averages a per-user measure over the users who have a relevant held-out item.

    Args:
      measure: maps ``Ranked`` to per-user values ``{name: [R]}``.
      factors: the model that serves.
      held_out: interactions to find; relevant where their value is positive.
      hidden: interactions and their weights; an item is not ranked for a user who has it here
        with a positive weight.

    Returns:
      ``{name: scalar}``; NaN where no user has a relevant item, empty where nothing is held out.

    Example:
      >>> from jaxforget.metrics import rank_measures
      >>> model = Factors(jnp.array([[1.0]]), jnp.array([[3.0], [2.0], [1.0]]))
      >>> test = layout.build([0], [1], [1.0], n_items=3)
      >>> found = over_users(lambda r: {"mrr": rank_measures.mrr(r, k=3)}, model, test, hidden=[])
      >>> float(found["mrr"])  # the item stands second
      0.5
    """
    side = held_out.by_user
    if not side.widths:
        return {}
    size = max(1, min(USERS_AT_ONCE, SCORES_AT_ONCE // held_out.n_items, held_out.n_users))

    def sums(users: Array, width: int) -> tuple[dict[str, Array], Array]:
        """Sums of the measure over some users, and the number of users who count."""
        ranked = _rank(factors, held_out, width, hidden, users)
        counted = jnp.any(ranked.relevant, axis=1)
        values = {k: jnp.sum(jnp.where(counted, v, 0)) for k, v in measure(ranked).items()}
        return values, jnp.sum(counted, dtype=factors.users.dtype)

    users = jax.ShapeDtypeStruct((size,), jnp.int32)
    shapes = jax.eval_shape(functools.partial(sums, width=side.widths[0]), users)
    total = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    for number, width in enumerate(side.widths):
        first, end = side.starts[number], side.starts[number + 1]

        def add(chunk, total, first=first, end=end, width=width):
            users = layout.members(side, first + chunk * size, end, size)
            return jax.tree.map(jnp.add, total, sums(users, width))

        total = lax.fori_loop(0, -(-(end - first) // size), add, total)
    values, n_users = total
    return {name: ratio(value, n_users, otherwise=jnp.nan) for name, value in values.items()}


def overlap(a: Factors, b: Factors, hidden: Hidden, *, ks: Sequence[int]) -> dict[int, Array]:
    """Mean share of items that two models' top-k lists have in common, over all users.

    Args:
      a: one model.
      b: the other one, over the same users and items.
      hidden: interactions and their weights, as in ``over_users``.
      ks: lengths of the lists.

    Returns:
      ``{k: scalar}`` in [0, 1].
    """
    n_items = len(a.items)
    longest = min(max(ks), n_items)

    def common(users: Array) -> dict[int, Array]:
        masked = hide(hidden, users, n_items)
        lists = [
            lax.top_k(jnp.where(masked, -jnp.inf, _scores(f, users)), longest)[1] for f in (a, b)
        ]
        same = lists[0][:, :, None] == lists[1][:, None, :]
        return {
            k: jnp.sum(same[:, :k, :k], axis=(1, 2)).sum().astype(a.users.dtype) / k for k in ks
        }

    return {k: total / len(a.users) for k, total in _sum_over_users(common, a).items()}


def exposure(
    factors: Factors, target: Array, where: Array, hidden: Hidden, *, ks: Sequence[int]
) -> dict[int, Array]:
    """Share of users whose top-k list holds one item, among those to whom it can be shown.

    ``|{u in where : target not hidden from u, rank_u(target) < k}| / |{u ... not hidden}|``

    Args:
      factors: the model that serves.
      target: int32 scalar, the item.
      where: ``[U]`` bool, users who count.
      hidden: interactions and their weights, as in ``over_users``.
      ks: lengths of the lists.

    Returns:
      ``{k: scalar}``; NaN where the item can be shown to nobody.
    """
    n_items = len(factors.items)

    def counts(users: Array) -> tuple[dict[int, Array], Array]:
        """How many users have the item in their list, and to how many it can be shown."""
        masked = hide(hidden, users, n_items)
        scores = jnp.where(masked, -jnp.inf, _scores(factors, users))
        own = scores[:, target][:, None]
        smaller_id = jnp.arange(n_items, dtype=jnp.int32)[None] < target
        rank = jnp.sum((scores > own) | ((scores == own) & smaller_id), axis=1, dtype=jnp.int32)
        possible = where[users] & ~masked[:, target]
        return {k: jnp.sum(possible & (rank < k)) for k in ks}, jnp.sum(possible)

    shown, possible = _sum_over_users(counts, factors)
    n = possible.astype(factors.users.dtype)
    return {k: ratio(count.astype(n.dtype), n, otherwise=jnp.nan) for k, count in shown.items()}


def hide(hidden: Hidden, users: Array, n_items: int) -> Array:
    """Marks the items that are not to be ranked for some users.

    Args:
      hidden: interactions and their weights, as in ``over_users``.
      users: ``[R]`` int32; an id past the last user hides nothing.
      n_items: size of the catalogue.

    Returns:
      ``[R, I]`` bool.
    """
    mask = jnp.zeros((len(users), n_items), bool)
    for interactions, weights in hidden:
        if interactions.by_user.widths:
            index, items, real = _histories(interactions, users, max(interactions.by_user.widths))
            items = jnp.where(real & (weights[index] > 0), items, n_items)
            rows = jnp.arange(len(users), dtype=items.dtype)[:, None]
            mask = mask.at[rows, items].set(True, mode="drop")
    return mask


def _sum_over_users(function: Callable[[Array], Any], factors: Factors) -> Any:
    """Adds up ``function(users)`` over all users: equal chunks of them, and the rest in one."""
    size = max(1, SCORES_AT_ONCE // len(factors.items))
    users = jnp.arange(len(factors.users), dtype=jnp.int32)
    whole = len(users) // size * size
    if not whole:
        return function(users)
    chunks = lax.map(function, users[:whole].reshape(-1, size))
    total = jax.tree.map(lambda x: jnp.sum(x, axis=0), chunks)
    if whole == len(users):
        return total
    return jax.tree.map(jnp.add, function(users[whole:]), total)


def _scores(factors, users):
    return times(factors.users[users], factors.items.T)


def _histories(interactions, users, width):
    """Histories of some users, padded: rows of ``interactions``, items, and where they are real.

    Each is ``[R, L]`` with L the width.
    """
    side = interactions.by_user
    index = side.indptr[users][:, None] + jnp.arange(width, dtype=jnp.int32)[None]
    real = index < side.indptr[users + 1][:, None]
    index = jnp.where(real, index, 0)
    return index, interactions.items[index], real


def _rank(factors, held_out, width, hidden, users):
    scores = _scores(factors, users)
    masked = hide(hidden, users, held_out.n_items)
    index, items, real = _histories(held_out, users, width)
    shown = ~jnp.take_along_axis(masked, items, axis=1)
    own = jnp.take_along_axis(scores, items, axis=1)
    scores = jnp.where(masked, -jnp.inf, scores)
    catalogue = jnp.arange(held_out.n_items, dtype=jnp.int32)[None]

    def rank(column):  # ties go to the smaller id, as in lax.top_k
        item, score = (x[:, None] for x in column)
        above = (scores > score) | ((scores == score) & (catalogue < item))
        return jnp.sum(above, axis=1, dtype=jnp.int32)

    ranks = lax.map(rank, (items.T, own.T)).T
    relevant = real & shown & (held_out.values[index] > 0)
    return Ranked(ranks, relevant, held_out.n_items - jnp.sum(masked, axis=1, dtype=jnp.int32))
