"""Arithmetic of vectors that are pytrees."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def dot(a: Any, b: Any, *, scale: Any = None) -> Array:
    """Inner product of pytrees at full precision; ``<a, scale b>`` with a scale that broadcasts."""
    if scale is not None:
        b = jax.tree.map(jnp.multiply, scale, b)
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b))
    products = [jnp.vdot(x, y, precision="highest") for x, y in leaves]
    return functools.reduce(jnp.add, products)


def norm(a: Any) -> Array:
    """Euclidean norm of a pytree."""
    return jnp.sqrt(dot(a, a))


def add(a: Any, b: Any) -> Any:
    """``a + b`` on pytrees."""
    return jax.tree.map(jnp.add, a, b)


def axpy(scale: Any, x: Any, y: Any) -> Any:
    """``scale * x + y`` on pytrees."""
    return jax.tree.map(lambda x, y: scale * x + y, x, y)
