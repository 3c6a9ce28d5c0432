"""Random bits that belong to a (user, item) pair, whatever other pairs there are."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget.sparse.kernels import take
from jaxforget.types import Interactions


def pair_bits(key: Array, train: Interactions) -> Array:
    """Draws ``[N]`` uint32 that depend on the key, the user and the item, and on no other pair.

    Tabulation hashing, three-wise independent: the order it gives is the same with a forgotten
    interaction and without ever having loaded it.
    """
    tables = zip(jax.random.split(key), (train.n_users, train.n_items))
    users, items = (jax.random.bits(k, (n,), jnp.uint32) for k, n in tables)
    return take(users, train.users) ^ take(items, train.items)
