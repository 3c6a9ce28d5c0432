"""Ranks the whole catalogue for each user, users in chunks: no ``[U, I]`` array is ever held.

``rank_measures`` holds what is then computed of one user's ranking.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _checks, _varying, _weights
from jaxforget.metrics import _fits, counting, top
from jaxforget.sparse import layout, search, serving
from jaxforget.sparse.arithmetic import ratio, wide
from jaxforget.sparse.serving import Served
from jaxforget.types import Interactions

USERS_AT_ONCE = 256  # at most, of similar history length
PLACES = 64  # of every history that a CPU hides at a time: few of its users have as many
MANY_PLACES = 1024  # an accelerator: it takes longer to begin than to write

# interactions and their [N] weights: an item with a positive weight is not ranked for that user
Hidden = Sequence[tuple[Interactions, Array]]


class Ranked(NamedTuple):
    """The held-out items of R users, and the rank of each among the items that are not hidden.

    The order of items with one and the same score is random: an item stands with equal chance at
    any of the ranks ``ranks .. ranks + ties``.
    """

    ranks: Array  # [R, L] int32, how many items score more; 0 = first
    relevant: Array  # [R, L] bool; False is padding, a negative label or a hidden item
    candidates: Array  # [R] int32, how many items were ranked
    ties: Array | int = 0  # [R, L] int32, how many other items have the same score


def over_users(
    measure: Callable[[Ranked], dict[str, Array]],
    factors: Served,
    held_out: Interactions,
    hidden: Hidden,
    counts: Array | None = None,
) -> dict[str, Array]:
    """Averages a per-user measure over the users who have a relevant held-out item.

    Args:
      measure: maps ``Ranked`` to per-user values ``{name: [R]}``.
      factors: the model that serves.
      held_out: interactions to find; relevant where their value is positive.
      hidden: interactions and their weights; an item is not ranked for a user who has it here
        with a positive weight.
      counts: ``[T]`` bool, the held-out rows that count; all of them if None.

    Returns:
      ``{name: scalar}``; NaN where no user has a relevant item or where a score of a user who
      counts is not finite; empty where nothing is held out.

    Raises:
      ValueError: the interactions are not of the model's numbers of users and items.

    Example:
      >>> from jaxforget.metrics import rank_measures
      >>> from jaxforget.types import Factors
      >>> model = Factors(jnp.array([[1.0]]), jnp.array([[3.0], [2.0], [1.0]]))
      >>> test = layout.build([0], [1], [1.0], n_items=3)
      >>> found = over_users(lambda r: {"mrr": rank_measures.mrr(r, k=3)}, model, test, hidden=[])
      >>> float(found["mrr"])  # the item stands second
      0.5
    """
    _fits.check("over_users", factors, hidden, held_out=held_out)
    side, n_users = held_out.by_user, held_out.n_users
    if not side.widths:
        return {}
    size = min(USERS_AT_ONCE, serving.users_at_once(factors), max(1, n_users))
    relevant = held_out.values > 0
    if counts is not None:
        _checks.shape("over_users", held_out.users.shape, counts=counts)
        relevant &= counts.astype(bool)

    def sums(users: Array) -> tuple[dict[str, Array], Array]:
        """Sums of the measure over some users, and the number of users who count."""
        ranked, known = _rank(factors, held_out, relevant, hidden, users)
        counted = jnp.any(ranked.relevant, axis=1)
        values = {k: jnp.where(known, v, jnp.nan) for k, v in measure(ranked).items()}
        values = {k: jnp.where(counted, v, 0) for k, v in values.items()}
        values = {k: jnp.sum(v, dtype=wide(v.dtype)) for k, v in values.items()}
        return values, jnp.sum(counted, dtype=serving.precision(factors))

    first = side.starts[0]  # users without a held-out item stand before all others

    def add(chunk: Array, total: tuple) -> tuple:
        users = layout.members(side, first + chunk * size, jnp.int32(n_users), size)
        return jax.tree.map(jnp.add, total, sums(users))

    shapes = jax.eval_shape(sums, jax.ShapeDtypeStruct((size,), jnp.int32))
    total = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    values, n_counted = _varying.fori_loop(0, -(-(n_users - first) // size), add, total)
    return {name: ratio(value, n_counted, otherwise=jnp.nan) for name, value in values.items()}


def overlap(a: Served, b: Served, hidden: Hidden, *, ks: Sequence[int]) -> dict[int, Array]:
    """Mean share of items that two models' top-k lists have in common.

    ``sum_i min(p_a(i), p_b(i)) / k`` with ``p(i)`` the chance of item ``i`` to be in the list: 0 or
    1, or between them where items with the score of the last place are more than the places left.
    A list is shorter than ``k`` where fewer items can be shown; then its length divides.

    Args:
      a: one model.
      b: the other one, over the same users and items.
      hidden: interactions and their weights, as in ``over_users``.
      ks: lengths of the lists.

    Returns:
      ``{k: scalar}`` in [0, 1], over the users to whom an item can be shown; NaN where there is no
      such user or where a score of one is not finite.

    Raises:
      ValueError: the models or the interactions differ in their numbers of users or items.
    """
    _checks.count("overlap", 1, **{f"ks[{n}]": k for n, k in enumerate(ks)})
    _fits.check("overlap", a, hidden, b=b)
    n_items, dtype = serving.sizes(a)[1], serving.precision(a)

    def common(users: Array) -> tuple[dict[int, Array], Array]:
        shown = ~hide(hidden, users, n_items)
        scores, finite = zip(*(_scores(f, users) for f in (a, b)), strict=True)
        length = jnp.sum(shown, axis=1, dtype=dtype)
        counted = length > 0
        own, other = (jnp.where(shown, s, -jnp.inf) for s in scores)
        shares = top.in_common(own, other, shown, ks)
        found = {}
        for k, both in zip(ks, shares, strict=True):
            share = jnp.where(finite[0] & finite[1], both / jnp.clip(length, 1, k), jnp.nan)
            found[k] = jnp.sum(jnp.where(counted, share, 0).astype(dtype))
        return found, jnp.sum(counted, dtype=dtype)

    totals, n_users = serving.sum_over_users(common, a)
    return {k: ratio(total, n_users, otherwise=jnp.nan) for k, total in totals.items()}


def exposure(
    factors: Served, target: Array, where: Array, hidden: Hidden, *, ks: Sequence[int]
) -> dict[int, Array]:
    """Share of users whose top-k list holds one item, among those to whom it can be shown.

    ``|{u in where : target not hidden from u, rank_u(target) < k}| / |{u ... not hidden}|``, where
    an item that ties with others counts by its chance to be in the list.

    Args:
      factors: the model that serves.
      target: scalar id of the item, an integer of any type.
      where: ``[U]`` bool, users who count.
      hidden: interactions and their weights, as in ``over_users``.
      ks: lengths of the lists.

    Returns:
      ``{k: scalar}``; NaN where the item can be shown to nobody, where a score of a user who
      counts is not finite, or where a traced target is no item.

    Raises:
      ValueError: the target is no item, or interactions or users are not as many as the model's.
    """
    _checks.count("exposure", 1, **{f"ks[{n}]": k for n, k in enumerate(ks)})
    _fits.check("exposure", factors, hidden)
    (n_users, n_items), dtype = serving.sizes(factors), serving.precision(factors)
    _checks.shape("exposure", (n_users,), where=where)
    _checks.ids("exposure", n_items, target=target)
    target = search.inside(target, n_items)  # -1 reads the last item, and makes NaN of it below

    def counts(users: Array) -> tuple[dict[int, Array], Array]:
        masked, (scores, known) = hide(hidden, users, n_items), _scores(factors, users)
        own = scores[:, target][:, None]
        above = jnp.sum((scores > own) & ~masked, axis=1)
        equal = jnp.sum((scores == own) & ~masked, axis=1)
        possible = where[users].astype(bool) & ~masked[:, target]
        found = {}
        for k in ks:
            chance = jnp.clip((k - above) / jnp.maximum(equal, 1), 0, 1)
            chance = jnp.where(known & (target >= 0), chance, jnp.nan)
            found[k] = jnp.sum(jnp.where(possible, chance, 0).astype(dtype))
        return found, jnp.sum(possible, dtype=dtype)

    shown, possible = serving.sum_over_users(counts, factors)
    return {k: ratio(count, possible, otherwise=jnp.nan) for k, count in shown.items()}


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
            args = (mask, users, interactions, _weights.floating(interactions, weights))
            few, many = (functools.partial(_mark, places=n) for n in (PLACES, MANY_PLACES))
            mask = lax.platform_dependent(*args, cpu=few, default=many)
    return mask


def _mark(
    mask: Array, users: Array, interactions: Interactions, weights: Array, *, places: int
) -> Array:
    """Sets ``[R, I]`` to True where a user has an item with a positive weight."""
    first, end = serving.spans(interactions, users)
    size = min(places, max(interactions.by_user.widths))
    rows = jnp.arange(len(users), dtype=jnp.int32)[:, None]

    def add(part: Array, mask: Array) -> Array:
        index, items, real = serving.histories(interactions, users, size, after=part * size)
        items = jnp.where(real & (weights[index] > 0), items, mask.shape[1])
        return mask.at[rows, items].set(True, mode="drop")

    longest = jnp.max(end - first, initial=0)  # of these users: of all it may be far longer
    return _varying.fori_loop(0, -(-longest // size), add, mask)


def _scores(factors, users):
    """Scores ``[R, I]``, and ``[R]`` whether all of a user's are finite, to be compared."""
    scores = serving.scores(factors, users)
    return scores, jnp.all(jnp.isfinite(scores), axis=1)


def _rank(factors, held_out, relevant, hidden, users):
    """``Ranked`` of some users, and ``[R]`` whether their scores are finite."""
    scores, known = _scores(factors, users)
    masked = hide(hidden, users, held_out.n_items)
    index, items, real = serving.histories(held_out, users, max(held_out.by_user.widths))
    shown = ~jnp.take_along_axis(masked, items, axis=1)
    own = jnp.take_along_axis(scores, items, axis=1)
    scores = jnp.where(masked, -jnp.inf, scores)

    # users of like length stand together: few have places up to the longest history of all
    lengths = jnp.sum(real, axis=1, dtype=jnp.int32)
    above, upto = counting.above_and_upto(scores, own, lengths)
    candidates = held_out.n_items - jnp.sum(masked, axis=1, dtype=jnp.int32)
    ties = jnp.maximum(upto - above - 1, 0)  # an item that is hidden is not counted itself
    return Ranked(above, real & shown & relevant[index], candidates, ties), known
