"""Random bits of (user, item) pairs that do not depend on which other pairs there are."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget.sparse.arithmetic import gather
from jaxforget.types import Interactions


def pair_bits(key: Array, train: Interactions) -> Array:
    """Draws bits that depend on the key, the user and the item, and on no other pair.

    Tabulation hashing: one table of random words per user, one per item, and the exclusive or of
    the two. The words are three-wise independent. Sorting by them gives the other interactions the
    same order whether one is forgotten or was never loaded.

    Returns:
      ``[N]`` uint32.
    """
    tables = zip(jax.random.split(key), (train.n_users, train.n_items))
    users, items = (jax.random.bits(k, (n,), jnp.uint32) for k, n in tables)
    return gather(users, train.users) ^ gather(items, train.items)
