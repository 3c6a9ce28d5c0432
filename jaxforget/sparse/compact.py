"""Leaves interactions out: the others move to the front, the arrays keep their shape or shrink."""

import dataclasses
import functools

import jax.numpy as jnp
from jax import Array

from jaxforget.sparse import layout
from jaxforget.types import Interactions, Side


def compact(train: Interactions, mask: Array) -> tuple[Interactions, Array]:
    """Moves the interactions of a mask to the front, in their order; the rest becomes padding.

    Every shape stays ``[N]``, so that one compiled program serves every mask, but the work of the
    kernels follows the number of interactions that are left.

    Args:
      train: the interactions.
      mask: ``[N]`` bool, True for those that stay.

    Returns:
      the interactions, and ``source [N]`` int32: the position in ``train`` that each one had, N for
      padding. Weights follow by ``weights.at[source].get(mode="fill", fill_value=0)``, which gives
      padding the weight 0.
    """
    n = len(train.users)
    slots = jnp.arange(n, dtype=jnp.int32)
    occupied = slots < jnp.sum(mask, dtype=jnp.int32)
    target = jnp.cumsum(mask, dtype=jnp.int32) - 1  # new position of an interaction that stays

    def reorient(old: Side, mask: Array, ids: Array, target: Array) -> Side:
        """One orientation; ``mask``, ``ids`` and ``target`` come in its order."""
        before = jnp.append(jnp.zeros(1, jnp.int32), jnp.cumsum(mask, dtype=jnp.int32))
        slot = jnp.where(mask, before[:-1], n)
        moved, order = (slots.at[slot].set(x, mode="drop") for x in (ids, target))
        indptr, indices = before[old.indptr], jnp.where(occupied, moved, 0)
        ranked, starts = layout.rank(jnp, indptr, old.widths)
        return Side(order, indptr, indices, ranked, starts, old.widths)

    by_item = train.by_item
    source = jnp.full(n, n, jnp.int32).at[jnp.where(mask, target, n)].set(slots, mode="drop")
    read = functools.partial(jnp.take, indices=source, axis=0, mode="fill")
    smaller = dataclasses.replace(
        train,
        # so that both sides stay sorted, which the sums of an accelerator are told
        users=read(train.users, fill_value=max(train.n_users - 1, 0)),
        items=read(train.items, fill_value=max(train.n_items - 1, 0)),
        values=read(train.values, fill_value=0),
        by_user=reorient(train.by_user, mask, train.items, target),
        by_item=reorient(by_item, mask[by_item.order], by_item.indices, target[by_item.order]),
    )
    return smaller, source


def shorten(train: Interactions, size: int) -> Interactions:
    """Cuts the arrays of ``compact`` to ``[size]``, for which only padding may be cut off."""

    def cut(side: Side) -> Side:
        # a kernel must not read past the end, even if more interactions were left than fit
        indptr = jnp.minimum(side.indptr, size)
        return dataclasses.replace(
            side, order=side.order[:size], indices=side.indices[:size], indptr=indptr
        )

    return dataclasses.replace(
        train,
        users=train.users[:size],
        items=train.items[:size],
        values=train.values[:size],
        by_user=cut(train.by_user),
        by_item=cut(train.by_item),
    )
