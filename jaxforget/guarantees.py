"""What a certificate means for one person, and what can be said where none exists."""

import functools
from typing import NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import als, lanczos, ranking
from jaxforget.types import Factors, Interactions, Terms

USERS_AT_ONCE = 64


@functools.partial(jax.jit, static_argnames="k")
def stable_items(factors: Factors, train: Interactions, weights: Array, pair_bound: Array, *,
                 k: int) -> tuple[Array, Array]:  # fmt: skip
    """Marks the recommendations that the retrained model provably makes too.

    Two unseen items of one user cannot swap if their scores differ by more than
    ``sqrt(2) * pair_bound``: so an item that leads the (k + 1)-th by that much stays in the top k.

    Args:
      factors: the certified model.
      train: interactions; remembered ones are not recommended.
      weights: ``[N]`` 1 = remembered.
      pair_bound: of the model's ``Certificate``, or ``[U]`` from ``certificate.people``.
      k: length of the list, < I.

    Returns:
      ``(items [U, k] int32, stable [U, k] bool)``.
    """
    bound = jnp.broadcast_to(jnp.sqrt(2.0) * pair_bound, (train.n_users,))

    def rank(users):
        scores = factors.users[users] @ factors.items.T
        seen = ranking.hide([(train, weights)], users, train.n_items)
        scores = jnp.where(seen, -jnp.inf, scores)
        values, items = lax.top_k(scores, k + 1)
        lead = values[:, :k] - values[:, k:]
        return items[:, :k], (lead > bound[users][:, None]) & jnp.isfinite(values[:, :k])

    chunks = -(-train.n_users // USERS_AT_ONCE)
    users = jnp.arange(chunks * USERS_AT_ONCE, dtype=jnp.int32)
    users = jnp.minimum(users, train.n_users)  # padding is nobody
    items, stable = lax.map(rank, users.reshape(chunks, -1))
    return items.reshape(-1, k)[: train.n_users], stable.reshape(-1, k)[: train.n_users]


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
        twist = (twist - twist.T) / jnp.where(sums > 0, sums, 1)
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
    distance = jnp.where(smallest > 0, size / jnp.where(smallest > 0, smallest, 1), jnp.inf)
    return Local(als.optimality(factors, train, terms), size, smallest, distance)
