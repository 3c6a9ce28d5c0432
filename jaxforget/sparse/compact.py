"""Interactions with some left out, at the front of arrays of the same shape or of a shorter one."""

import dataclasses
import functools

import jax.numpy as jnp
from jax import Array

from jaxforget.sparse import layout
from jaxforget.types import Interactions, Side


def compact(train: Interactions, kept: Array) -> tuple[Interactions, Array]:
    """Moves the kept interactions to the front and empties the other places.

    The shapes stay, so that one program serves every request, but the kernels' work follows the
    number of interactions that are left.

    Args:
      kept: ``[N]`` bool.

    Returns:
      the interactions, and ``[N]`` where each came from (N in emptied places): read weights by
      ``weights.at[places].get(mode="fill", fill_value=0)``, so that emptied places weigh nothing.
    """
    n = len(train.users)
    slots = jnp.arange(n, dtype=jnp.int32)
    live = slots < jnp.sum(kept, dtype=jnp.int32)
    new = jnp.cumsum(kept, dtype=jnp.int32) - 1  # the place of a kept interaction

    def side(old, kept, others, places):
        left = jnp.append(jnp.zeros(1, jnp.int32), jnp.cumsum(kept, dtype=jnp.int32))
        target = jnp.where(kept, left[:-1], n)
        moved, order = (slots.at[target].set(x, mode="drop") for x in (others, places))
        indptr, indices = left[old.indptr], jnp.where(live, moved, 0)
        ranked, starts = layout.rank(jnp, indptr, old.widths)
        return Side(order, indptr, indices, ranked, starts, old.widths)

    by_item = train.by_item
    places = jnp.full(n, n, jnp.int32).at[jnp.where(kept, new, n)].set(slots, mode="drop")
    read = functools.partial(jnp.take, indices=places, axis=0, mode="fill")
    smaller = dataclasses.replace(
        train,
        users=read(train.users, fill_value=max(train.n_users - 1, 0)),  # they stay sorted
        items=read(train.items, fill_value=0),
        values=read(train.values, fill_value=0),
        by_user=side(train.by_user, kept, train.items, new),
        by_item=side(by_item, kept[by_item.order], by_item.indices, new[by_item.order]),
    )
    return smaller, places


def shorten(train: Interactions, size: int) -> Interactions:
    """Cuts off emptied places at the end; see ``compact``."""

    def side(old: Side) -> Side:
        indptr = jnp.minimum(old.indptr, size)  # a kernel must not read on, whatever comes
        cut = {"order": old.order[:size], "indices": old.indices[:size], "indptr": indptr}
        return dataclasses.replace(old, **cut)

    return dataclasses.replace(
        train,
        users=train.users[:size],
        items=train.items[:size],
        values=train.values[:size],
        by_user=side(train.by_user),
        by_item=side(train.by_item),
    )
