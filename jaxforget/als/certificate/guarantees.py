"""What can be said of factors for which no global certificate exists."""

import functools
from typing import NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
from jax import Array

from jaxforget import als
from jaxforget.als.certificate import lanczos
from jaxforget.sparse.arithmetic import ratio
from jaxforget.types import Factors, Interactions, Terms


class Local(NamedTuple):
    """Where factors stand next to *a* stationary point; says nothing about other minima."""

    residual: Array  # relative optimality residual
    gradient: Array  # norm of the gradient
    curvature: Array  # smallest Ritz value of the Hessian off the gauge: from above, an estimate
    distance: Array  # gradient / curvature: a first-order estimate of the way to that point


@functools.partial(jax.jit, static_argnames="steps")
def local(factors: Factors, train: Interactions, terms: Terms, *, key: Array, steps: int = 64) -> Local:  # fmt: skip
    """Estimates the distance to the nearest stationary point, for any ALS objective.

    For small ``reg``, small rank and explicit feedback, where no global certificate exists. The
    directions that rotate both factor matrices alike change nothing and are projected out.

    Args:
      factors: at or near a stationary point.
      terms: implicit or explicit objective.
      key: typed JAX key of the random start.
      steps: Lanczos steps; the curvature is found from above.

    Returns:
      ``Local``; a curvature that is not positive gives an infinite distance.
    """
    # whiten D-space by the balance Gram, so that the gauge's projection is a division
    values, turn = jnp.linalg.eigh(
        factors.users.T @ factors.users + factors.items.T @ factors.items
    )
    users, items = factors.users @ turn, factors.items @ turn
    sums = values[:, None] + values[None]
    flat, unravel = jax.flatten_util.ravel_pytree(Factors(users, items))
    gradient = jax.grad(lambda x: als.cost(unravel(x), train, terms))

    def off_gauge(x):
        x = unravel(x)
        twist = users.T @ x.users + items.T @ x.items
        twist = ratio(twist - twist.T, sums)
        return jax.flatten_util.ravel_pytree(
            Factors(x.users - users @ twist, x.items - items @ twist)
        )[0]

    start = off_gauge(jax.random.normal(key, flat.shape, flat.dtype))
    lift = jnp.linalg.norm(jax.jvp(gradient, (flat,), (start,))[1]) / jnp.linalg.norm(start)

    def curved(block):
        x = block[:, 0]
        free = off_gauge(x)
        bent = off_gauge(jax.jvp(gradient, (flat,), (free,))[1])
        return (bent + lift * (x - free))[:, None]  # the gauge may not pass for a flat direction

    steps = min(steps, len(flat))
    basis, small = lanczos.krylov(curved, start[:, None], steps=steps)
    exhausted = jnp.sum(basis**2, axis=0) < 0.5  # such columns must not look like curvature 0
    small = small + jnp.diag(jnp.where(exhausted, 1 + jnp.max(jnp.abs(small)), 0))
    smallest = jnp.linalg.eigvalsh(small)[0]
    size = jnp.linalg.norm(gradient(flat))
    distance = ratio(size, smallest, otherwise=jnp.inf)
    return Local(als.optimality(factors, train, terms), size, smallest, distance)
