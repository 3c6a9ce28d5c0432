"""Full ranking over the catalogue, users in chunks: no [U, I] array is ever held."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget.sparse import layout
from jaxforget.types import Factors, Interactions

CELLS = 1 << 21  # scores held at a time

ROWS = 256  # users of similar history length, at a time


class Ranked(NamedTuple):
    """The held-out items of some users, and where each stands among the items not hidden."""

    ranks: Array  # [R, L] int32, 0 = first
    relevant: Array  # [R, L] bool; False is padding, a negative label or a hidden item
    candidates: Array  # [R] int32, items that were ranked


def over_users(
    measure: Callable[[Ranked], dict[str, Array]],
    factors: Factors,
    held_out: Interactions,
    hidden: Sequence[tuple[Interactions, Array]],
) -> dict[str, Array]:
    """Averages a per-user measure over the users who have a relevant held-out item.

    Args:
      measure: maps ``Ranked`` to per-user values ``{name: [R]}``.
      held_out: relevant where its value is positive.
      hidden: interactions and their weights; an item is not ranked for a user who has it here
        with a positive weight.

    Returns:
      ``{name: scalar}``; NaN where no user has a relevant item.
    """
    side = held_out.by_user
    count = max(1, min(ROWS, CELLS // held_out.n_items, held_out.n_users))

    def chunk(first, end, width):
        users = layout.members(side, first, end, count)
        ranked = _rank(factors, held_out, width, hidden, users)
        has = jnp.any(ranked.relevant, axis=1)
        values = {k: jnp.sum(jnp.where(has, v, 0)) for k, v in measure(ranked).items()}
        return values | {"": jnp.sum(has, dtype=factors.users.dtype)}

    sums = None
    for kind, width in enumerate(side.widths):
        first, end = side.starts[kind], side.starts[kind + 1]

        def add(k, sums, first=first, end=end, width=width):
            return jax.tree.map(jnp.add, sums, chunk(first + k * count, end, width))

        if sums is None:
            shapes = jax.eval_shape(lambda: chunk(first, end, width))  # noqa: B023
            sums = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        sums = lax.fori_loop(0, -(-(end - first) // count), add, sums)
    if sums is None:
        return {}
    total = sums.pop("")
    return {name: jnp.where(total > 0, value / total, jnp.nan) for name, value in sums.items()}


def overlap(
    a: Factors, b: Factors, hidden: Sequence[tuple[Interactions, Array]], *, ks: Sequence[int]
) -> dict[int, Array]:
    """Mean share of items that two models' top-k lists have in common, over all users."""
    top = min(max(ks), len(a.items))

    def chunk(_, users):
        masks = hide(hidden, users, len(a.items))
        lists = [lax.top_k(jnp.where(masks, -jnp.inf, _scores(f, users)), top)[1] for f in (a, b)]
        same = lists[0][:, :, None] == lists[1][:, None, :]
        return {
            k: jnp.sum(same[:, :k, :k], axis=(1, 2)).sum().astype(a.users.dtype) / k for k in ks
        }

    users = jnp.arange(len(a.users), dtype=jnp.int32)
    found = _sum_over_chunks(chunk, users, per_chunk=max(1, CELLS // len(a.items)))
    return {k: value / len(a.users) for k, value in found.items()}


def exposure(
    factors: Factors,
    target: Array,
    where: Array,
    hidden: Sequence[tuple[Interactions, Array]],
    *,
    ks: Sequence[int],
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

    def chunk(_, users):
        masked = hide(hidden, users, n_items)
        scores = jnp.where(masked, -jnp.inf, _scores(factors, users))
        own = scores[:, target][:, None]
        first = jnp.arange(n_items, dtype=jnp.int32)[None] < target
        rank = jnp.sum((scores > own) | ((scores == own) & first), axis=1, dtype=jnp.int32)
        open_ = where[users] & ~masked[:, target]
        return {k: jnp.sum(open_ & (rank < k)) for k in ks} | {0: jnp.sum(open_)}

    users = jnp.arange(len(factors.users), dtype=jnp.int32)
    found = _sum_over_chunks(chunk, users, per_chunk=max(1, CELLS // n_items))
    n = found.pop(0).astype(factors.users.dtype)
    return {k: jnp.where(n > 0, v.astype(n.dtype) / n, jnp.nan) for k, v in found.items()}


def _sum_over_chunks(chunk, users, *, per_chunk):
    whole = len(users) // per_chunk * per_chunk
    total = chunk(None, users[whole:]) if whole < len(users) else None
    if whole:
        mapped = lax.map(lambda u: chunk(None, u), users[:whole].reshape(-1, per_chunk))
        mapped = jax.tree.map(lambda x: jnp.sum(x, axis=0), mapped)
        total = mapped if total is None else jax.tree.map(jnp.add, total, mapped)
    return total


def _scores(factors, users):
    return jnp.matmul(factors.users[users], factors.items.T, precision="highest")


def _rows(interactions, users, width):
    """The padded histories of some users: slots, items and where they are real, all [R, L]."""
    side = interactions.by_user
    slots = side.indptr[users][:, None] + jnp.arange(width, dtype=jnp.int32)[None]
    real = slots < side.indptr[users + 1][:, None]
    slots = jnp.where(real, slots, 0)
    return slots, interactions.items[slots], real


def hide(hidden: Sequence[tuple[Interactions, Array]], users: Array, n_items: int) -> Array:
    """Marks what is not to be ranked: ``[R, I]`` bool for the ``users`` ``[R]``; an id past the last is nobody."""
    mask = jnp.zeros((len(users), n_items), bool)
    for interactions, weights in hidden:
        if interactions.by_user.widths:
            slots, items, real = _rows(interactions, users, max(interactions.by_user.widths))
            items = jnp.where(real & (weights[slots] > 0), items, n_items)
            mask = mask.at[jnp.arange(len(users), dtype=items.dtype)[:, None], items].set(
                True, mode="drop"
            )
    return mask


def _rank(factors, held_out, width, hidden, users):
    scores = _scores(factors, users)
    masked = hide(hidden, users, held_out.n_items)
    slots, items, real = _rows(held_out, users, width)
    shown = ~jnp.take_along_axis(masked, items, axis=1)
    own = jnp.take_along_axis(scores, items, axis=1)
    scores = jnp.where(masked, -jnp.inf, scores)
    catalogue = jnp.arange(held_out.n_items, dtype=jnp.int32)[None]

    def rank(column):  # ties go to the smaller id, as in lax.top_k
        item, score = (x[:, None] for x in column)
        before = (scores > score) | ((scores == score) & (catalogue < item))
        return jnp.sum(before, axis=1, dtype=jnp.int32)

    ranks = lax.map(rank, (items.T, own.T)).T
    relevant = real & shown & (held_out.values[slots] > 0)
    return Ranked(ranks, relevant, held_out.n_items - jnp.sum(masked, axis=1, dtype=jnp.int32))
