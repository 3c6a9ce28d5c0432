"""The first k items of a ranking: the chance of each to be there, and what two lists share."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _varying
from jaxforget.sparse.arithmetic import wide

PAIRS = 4  # pairs of places in two lists, per item of the catalogue, that are compared at most


def chances(scores: Array, shown: Array, ks: Sequence[int]) -> list[Array]:
    """The chance of each item to be in the list of the k largest scores, for every k.

    It is 0 or 1, or between them where items with the score of the last place are more than the
    places left: these stand in random order.

    Args:
      scores: ``[R, I]``, -inf for an item that is not shown.
      shown: ``[R, I]`` bool.
      ks: lengths of the lists.

    Returns:
      ``[R, I]`` for each of them.
    """
    most = min(max(ks, default=1), scores.shape[1])
    # The barrier keeps what reads the list out of the search for it: for a part of the list, XLA
    # for CPUs sorts the whole catalogue, which takes 60 times as long.
    first = lax.optimization_barrier(lax.top_k(scores, most)[0])
    found = []
    for k in ks:
        last = first[:, min(k, most) - 1][:, None]
        above, equal = (scores > last), (scores == last) & shown
        left = k - jnp.sum(above, axis=1, keepdims=True)
        chance = jnp.clip(left / jnp.maximum(jnp.sum(equal, axis=1, keepdims=True), 1), 0, 1)
        found.append(jnp.where(above, 1, jnp.where(equal, chance, 0)))
    return found


def in_common(a: Array, b: Array, shown: Array, ks: Sequence[int]) -> list[Array]:
    """``sum_i min(p_a(i), p_b(i))`` with the ``chances`` of two models, for every k.

    Where no item ties for the last place of a list, this is how many items both lists hold, and
    read off the lists.

    Args:
      a, b: ``[R, I]`` scores, -inf for an item that is not shown.
      shown: ``[R, I]`` bool.
      ks: lengths of the lists.

    Returns:
      ``[R]`` for each of them.
    """
    n_items = a.shape[1]
    most = min(max(ks, default=1), n_items)

    def by_chance(a: Array, b: Array) -> list[Array]:
        both = zip(chances(a, shown, ks), chances(b, shown, ks), strict=True)
        return [jnp.sum(jnp.minimum(x, y), axis=1).astype(wide(a.dtype)) for x, y in both]

    if most**2 > PAIRS * n_items:
        return by_chance(a, b)
    length = min(most + 1, n_items)  # one more: does it have the score of the last place?
    # a barrier of its own for each: jaxlib 0.10.2 ends the process over one of a whole result
    (best_a, first_a), (best_b, first_b) = (
        map(lax.optimization_barrier, lax.top_k(x, length)) for x in (a, b)
    )

    def by_list(a: Array, b: Array) -> list[Array]:
        same = (first_a[:, :, None] == first_b[:, None]) & (best_a > -jnp.inf)[:, :, None]
        return [jnp.sum(same[:, :k, :k], axis=(1, 2)).astype(wide(a.dtype)) for k in ks]

    tied = jnp.zeros((), bool)
    for k in (k for k in ks if k < n_items):
        for best in (best_a, best_b):
            tied |= jnp.any((best[:, k - 1] == best[:, k]) & (best[:, k] > -jnp.inf))
    return _varying.cond(tied, by_chance, by_list, a, b)
