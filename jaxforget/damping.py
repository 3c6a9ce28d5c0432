"""Solving influence systems: how much damping, and which preconditioner."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import graph, influence, lapack
from jaxforget.types import Factors, Interactions, Solution

RAISE = 4.0  # factor by which damping grows while curvature is not positive
MAX_RAISES = 40


def degree_scale(train: Interactions, weights: Array, *, power: float) -> Factors:
    """Scales damping per row: ``max(1, remembered interactions)^power``, ``[U, 1]`` and ``[I, 1]``.

    Adam divides a row's pull by the root of its mean square, which grows with how often the row is
    met: stopped early, it holds a row back like a ridge that grows with ``power = 0.5``.
    """
    return Factors(*(jnp.maximum(d, 1)[:, None] ** power for d in graph.degrees(train, weights)))


def implied_ridge(slope: Array, params: Any, scale: Any) -> Array:
    """Finds the ridge that early stopping amounts to: ``max(0, -<p, grad L>) / <p, scale p>``.

    Among all ``L + ridge/2 <p, scale p>`` this is the one whose slope along the parameters
    vanishes where training stopped. It sees the training loss alone; 0 where that had converged.

    Args:
      slope: ``<p, grad L(p)>``.

    Example:
      >>> p = jnp.array([1.0])  # (p - 3)^2, stopped at 1 on the way to the minimum
      >>> float(implied_ridge(jnp.vdot(p, 2 * (p - 3.0)), p, p))
      4.0
    """
    size = influence.dot(params, params, scale=scale)
    return jnp.maximum(0, -slope) / jnp.where(size > 0, size, 1)


def solve(matvec: Callable, rhs: Any, *, damping: Array, scale: Any, n_steps: int, tol: float,
          precondition: Callable | None = None) -> tuple[Solution, Array]:  # fmt: skip
    """Runs ``cg`` with ``damping * scale``, and again with four times the damping while it fails.

    Failing is to meet curvature that is not positive. A damping of 0 goes on from a thousandth of
    the curvature along the right-hand side.

    Args:
      scale: pytree that broadcasts against ``rhs``.
      precondition: ``damping -> (r -> M r)``.

    Returns:
      the solution, and the damping that gave it.
    """

    def attempt(damping):
        ridge = jax.tree.map(lambda s: damping * s, scale)
        inner = None if precondition is None else precondition(damping)
        return influence.cg(
            matvec, rhs, n_steps=n_steps, damping=ridge, tol=tol, precondition=inner
        )

    def failed(carry):
        found, _, n = carry
        return ~(found.min_curvature > 0) & (n < MAX_RAISES)

    def again(carry):
        _, damping, n = carry
        # a product that only a first failure needs: out of a condition nothing is hoisted
        least = lax.cond(n == 0, floor, lambda: jnp.zeros_like(damping))
        damping = RAISE * jnp.maximum(damping, least)
        return attempt(damping), damping, n + 1

    def floor():
        size = influence.dot(rhs, rhs)
        return 1e-3 * jnp.abs(influence.dot(rhs, matvec(rhs))) / jnp.where(size > 0, size, 1)

    damping = jnp.asarray(damping, jax.tree.leaves(rhs)[0].dtype)
    found, damping, _ = lax.while_loop(
        failed, again, (attempt(damping), damping, jnp.zeros((), jnp.int32))
    )
    return found, damping


def preconditioner(kind: str, loss: Any, params: Factors, train: Interactions, weights: Array,
                   edges: Array) -> Callable | None:  # fmt: skip
    """Builds ``ridge -> (r -> M r)``, ridge ``[U, 1]`` and ``[I, 1]``, from the Gauss-Newton curvature of each row.

    ``"diagonal"`` costs two sparse products; ``"rows"`` inverts the ``[D, D]`` weighted Gram of
    every row, ``(U + I) D^2`` numbers: fewer steps, worth it where many requests follow or memory
    is wide. ``"none"``: no preconditioner. Propagation enters through the squares of its weights.
    """
    if kind == "none":
        return None
    margins = loss.margins(params, train, edges)
    bend = influence.bends(loss, margins, train, weights)
    served = graph.propagate(params, train, edges, n_layers=loss.n_layers)
    per_row = functools.partial(_spread_squares, loss.n_layers, train, edges)
    if kind == "diagonal":
        diagonal = per_row(graph.exchange(train, bend, jax.tree.map(jnp.square, served)))

        def scaled(ridge):
            whole = jax.tree.map(lambda d, r: d + r + 2 * loss.reg, diagonal, ridge)
            inverse = jax.tree.map(lambda x: 1 / jnp.where(x > 0, x, 1), whole)
            return lambda r: jax.tree.map(jnp.multiply, inverse, r)

        return scaled
    blocks = _grams(train, bend, served, per_row)

    def inverted(ridge):
        inverses = Factors(*(_invert(b, r + 2 * loss.reg) for b, r in zip(blocks, ridge)))
        product = functools.partial(jnp.einsum, "rde,re->rd", precision="highest")
        return lambda r: jax.tree.map(product, inverses, r)

    return inverted


def _spread_squares(n_layers, train, edges, rows):
    """The diagonal of ``P' B P`` for a diagonal ``B``, products of different layers left out."""
    if n_layers == 0:
        return rows
    squares = graph.Links(train, graph.normalise(train, edges) ** 2)
    spread = graph.spread(rows, squares, n_layers=n_layers)
    return jax.tree.map(lambda x: x / (n_layers + 1), spread)


def _grams(train, bend, served, per_row):
    """``[U, D, D]`` and ``[I, D, D]``, one column at a time."""

    def column(k):
        return per_row(
            graph.exchange(train, bend, jax.tree.map(lambda x: x * x[:, k, None], served))
        )

    columns = lax.map(column, jnp.arange(served.users.shape[1]))
    return Factors(*(jnp.moveaxis(x, 0, 1) for x in columns))


def _invert(blocks, ridge):
    """Inverses of ``block + ridge I`` by Cholesky."""
    return jax.vmap(_invert_one)(blocks, jnp.broadcast_to(ridge, (len(blocks), 1))[:, 0])


@lapack.singly
def _invert_one(block, ridge):
    ridge = jnp.where(ridge > 0, ridge, jnp.finfo(block.dtype).eps * (1 + jnp.trace(block)))
    root = lapack.inverse_root(block + ridge * jnp.eye(len(block), dtype=block.dtype))
    return jnp.matmul(root, root.T, precision="highest")
