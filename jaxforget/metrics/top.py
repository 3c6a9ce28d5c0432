"""The chance of each item to be among the first k of a ranking."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax


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
