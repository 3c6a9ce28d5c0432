"""Preconditioners of influence systems, from the Gauss-Newton curvature of each row."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _checks
from jaxforget.gradient import graph
from jaxforget.gradient.vectors import add
from jaxforget.sparse import dense
from jaxforget.sparse.arithmetic import ratio, times
from jaxforget.sparse.degrees import exchange
from jaxforget.types import Factors, Interactions, MarginLoss


def preconditioner(
    kind: str,
    loss: MarginLoss,
    params: Factors,
    train: Interactions,
    weights: Array,
    edges: Array,
) -> Callable[[Factors], Callable[[Factors], Factors]]:
    """Builds ``ridge -> (r -> M r)`` with ``M`` near the inverse of the Gauss-Newton matrix.

    Propagation enters through the squares of its weights.

    Args:
      kind: ``"diagonal"`` inverts the diagonal, for two sparse products; ``"rows"`` inverts the
        ``[D, D]`` weighted Gram of every row, ``(U + I) D^2`` numbers: fewer steps, worth it where
        many requests follow or memory is wide.
      weights, edges: ``[N]`` of the loss whose curvature is meant.

    Returns:
      A function of the ridge, ``[U, 1]`` and ``[I, 1]``.
    """
    _checks.choice("preconditioner", ("diagonal", "rows"), kind=kind)
    margins = loss.margins(params, train, edges)
    bends = loss.bends(margins, train, weights)
    served = graph.propagate(params, train, edges, n_layers=loss.n_layers)
    per_row = functools.partial(_spread_squares, loss.n_layers, train, edges)
    ridges = loss.ridges(train, weights)

    def damped(ridge: Factors) -> Factors:
        return jax.tree.map(lambda r, own: r + 2 * own, ridge, ridges)

    if kind == "diagonal":
        diagonal = per_row(exchange(train, bends, jax.tree.map(jnp.square, served)))

        def scaled(ridge):
            inverse = jax.tree.map(lambda x: ratio(1, x), add(diagonal, damped(ridge)))
            return lambda r: jax.tree.map(jnp.multiply, inverse, r)

        return scaled
    blocks = _grams(train, bends, served, per_row)

    def inverted(ridge):
        inverses = Factors(*(_invert(b, r) for b, r in zip(blocks, damped(ridge))))
        product = functools.partial(jnp.einsum, "rde,re->rd", precision="highest")
        return lambda r: jax.tree.map(product, inverses, r)

    return inverted


def _spread_squares(n_layers: int, train: Interactions, edges: Array, rows: Factors) -> Factors:
    """The diagonal of ``P' B P`` for a diagonal ``B``, products of different layers left out."""
    if n_layers == 0:
        return rows
    squares = graph.Links(train, graph.normalise(train, edges) ** 2)
    spread = graph.spread(rows, squares, n_layers=n_layers)
    return jax.tree.map(lambda x: x / (n_layers + 1), spread)


def _grams(train, bends, served, per_row):
    """``[U, D, D]`` and ``[I, D, D]``, one column at a time."""

    def column(k):
        return per_row(exchange(train, bends, jax.tree.map(lambda x: x * x[:, k, None], served)))

    columns = lax.map(column, jnp.arange(served.users.shape[1]))
    return Factors(*(jnp.moveaxis(x, 0, 1) for x in columns))


def _invert(blocks: Array, ridge: Array) -> Array:
    """Inverses of ``block + ridge I`` by Cholesky."""
    return jax.vmap(_invert_one)(blocks, jnp.broadcast_to(ridge, (len(blocks), 1))[:, 0])


@dense.loop_on_cpu
def _invert_one(block: Array, ridge: Array) -> Array:
    ridge = jnp.where(ridge > 0, ridge, jnp.finfo(block.dtype).eps * (1 + jnp.trace(block)))
    root = dense.inverse_root(block + ridge * jnp.eye(len(block), dtype=block.dtype))
    return times(root, root.T)
