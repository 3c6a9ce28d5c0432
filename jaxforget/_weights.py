"""Weights of interactions, as numbers to compute with."""

from typing import Any

import jax.numpy as jnp
from jax import Array


def floating(train: Any, weights: Any) -> Array:
    """Weights in floating numbers no narrower than the values of the interactions they weigh.

    A mask or integers say 1 and 0 as well. Computed with as they are, they would give what meets
    them their dtype: a mask makes every ridge 1, integers cut it off at the point.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0], [0, 1], [1.0, 1.0])
      >>> floating(train, jnp.array([True, False])).tolist()
      [1.0, 0.0]
    """
    weights, dtype = jnp.asarray(weights), train.values.dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    own = weights.dtype
    if jnp.issubdtype(own, jnp.floating) and jnp.finfo(own).bits >= jnp.finfo(dtype).bits:
        return weights
    return weights.astype(dtype)


def of_request(train: Any, forget: Any) -> Any:
    """A ``ForgetSet`` of such weights, before and after."""
    return type(forget)(*(floating(train, weights) for weights in forget))
