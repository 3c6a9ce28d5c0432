"""Weights of observed pairs that depend on statistics of the remembered interactions."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget import _checks, _weights
from jaxforget._jax import is_traced
from jaxforget._settings import checked
from jaxforget.sparse.arithmetic import ratio
from jaxforget.sparse.degrees import degrees
from jaxforget.types import Interactions


@checked
def bm25(train: Interactions, weights: Array, *, b: float, k1: float) -> Array:
    """Weights values by Okapi BM25, items as documents and users as terms.

    ``v (k1 + 1) / (k1 (1 - b + b length_i / mean length) + v) * max(log I - log(1 + count_u), 0)``;
    ``length_i`` sums an item's values, ``count_u`` counts a user's interactions. Both are taken
    over the weighted interactions, so forgetting a row changes the weights of others.

    The logarithm is negative for a user who has every item, and would turn likes into dislikes;
    other than in ``implicit`` it is 0 there: such a user says nothing of one item over another.

    Args:
      train: interactions with values >= 0.
      weights: ``[N]`` 1 = counted, 0 = forgotten or padding.
      b: how far values are normalised by ``length_i``, in [0, 1].
      k1: the value at which the weight of a pair saturates, > 0.

    Returns:
      ``[N]`` weighted values, for every interaction whether counted or not.

    Raises:
      ValueError: a value is negative (where it is known): a count of terms cannot be.

    Source: ``bm25_weight`` of the library ``implicit``, on the item x user matrix.
    """
    require_counts(train)
    weights = _weights.floating(train, weights)
    _, lengths = degrees(train, weights * train.values)
    counts, _ = degrees(train, weights)
    mean = jnp.mean(lengths)
    relative = ratio(lengths, mean)
    rarity = jnp.maximum(jnp.log(float(train.n_items)) - jnp.log1p(counts), 0)
    damped = k1 * (1 - b + b * relative)[train.items] + train.values
    # with b = 1 nothing is left of the divisor where all values of an item are 0
    return ratio(train.values * (k1 + 1), damped, otherwise=0.0) * rarity[train.users]


def require_counts(train: Interactions) -> None:
    """Refuses interactions with a negative value, where the values are known."""
    if not is_traced(train.values):
        # by numpy: inside a compiled program jax would trace the minimum of known values too
        smallest = np.asarray(train.values).min(initial=0)
        _checks.not_negative("bm25", smallest_value=float(smallest))
