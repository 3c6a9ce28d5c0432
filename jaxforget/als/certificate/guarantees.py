"""What can be said of factors for which no global certificate exists."""

import functools
from typing import NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying, als
from jaxforget.als.certificate import lanczos
from jaxforget.sparse.arithmetic import ratio
from jaxforget.types import Factors, Interactions, Terms


class Local(NamedTuple):
    """How far factors are from a nearby stationary point; silent about other minima."""

    residual: Array  # relative optimality residual
    gradient: Array  # norm of the gradient
    curvature: Array  # smallest Ritz value of the Hessian off the rotations: at least the smallest
    distance: Array  # gradient / curvature: a first-order estimate of the distance to that point


@functools.partial(jax.jit, static_argnames="steps")
def local(
    key: Array, factors: Factors, train: Interactions, terms: Terms, *, steps: int = 64
) -> Local:
    """Estimates the distance to the nearest stationary point, for any ALS objective.

    For small ``reg``, small rank and explicit feedback, where no global certificate exists. A
    rotation of both factor matrices alike changes no score and no norm: these directions, of
    curvature 0, are projected out.

    Args:
      key: typed JAX key of the random start.
      factors: at or near a stationary point.
      train: the interactions.
      terms: implicit or explicit objective.
      steps: of Lanczos; the curvature falls to the smallest eigenvalue with more of them.

    Returns:
      ``Local``; a curvature that is not positive gives an infinite distance.
    """
    # In the eigenbasis of users'users + items'items the projection is a division.
    values, turn = jnp.linalg.eigh(
        factors.users.T @ factors.users + factors.items.T @ factors.items
    )
    users, items = factors.users @ turn, factors.items @ turn
    sums = values[:, None] + values[None]
    flat, unravel = jax.flatten_util.ravel_pytree(Factors(users, items))
    gradient = _varying.grad(lambda x: als.cost(unravel(x), train, terms))

    def off_rotations(x):
        x = unravel(x)
        twist = users.T @ x.users + items.T @ x.items
        twist = ratio(twist - twist.T, sums)
        return jax.flatten_util.ravel_pytree(
            Factors(x.users - users @ twist, x.items - items @ twist)
        )[0]

    start = off_rotations(jax.random.normal(key, flat.shape, flat.dtype))
    lift = jnp.linalg.norm(jax.jvp(gradient, (flat,), (start,))[1]) / jnp.linalg.norm(start)

    def lifted_hessian(block):
        x = block[:, 0]
        free = off_rotations(x)
        bent = off_rotations(jax.jvp(gradient, (flat,), (free,))[1])
        return (bent + lift * (x - free))[:, None]  # rotations get the curvature ``lift``, not 0

    steps = min(steps, len(flat))
    basis, small = lanczos.krylov(lifted_hessian, start[:, None], steps=steps)
    # Zero columns of an exhausted space must not count as curvature 0.
    exhausted = jnp.sum(basis**2, axis=0) < 0.5
    small = small + jnp.diag(jnp.where(exhausted, 1 + jnp.max(jnp.abs(small)), 0))
    smallest = jnp.linalg.eigvalsh(small)[0]
    norm = jnp.linalg.norm(gradient(flat))
    distance = ratio(norm, smallest, otherwise=jnp.inf)
    return Local(als.optimality(factors, train, terms), norm, smallest, distance)
