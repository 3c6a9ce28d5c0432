"""The regularised Gram matrix of items, its inverse, and what a change of the data does to it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget.sparse import dense, layout
from jaxforget.sparse.arithmetic import gather, ratio, times
from jaxforget.sparse.degrees import degrees
from jaxforget.sparse.kernels import spmm
from jaxforget.sparse.serving import histories
from jaxforget.types import Interactions

ROWS = 256  # users whose rows are dense at a time
RANK = 32  # rows or columns that one low-rank step changes
PROBES = 4  # vectors by which an inverse is checked


class Change(NamedTuple):
    """Matrices ``X`` before and after, as their values at the interactions."""

    before: Array  # [N]
    after: Array  # [N]


def dense_rows(train: Interactions, x: Array, users: Array) -> Array:
    """The rows ``[R, I]`` of ``X`` of some users ``[R]``; 0 for ids past the end."""
    rows, items, real = histories(train, users, max(train.by_user.widths, default=0))
    values = jnp.where(real, gather(x, rows), 0)
    out = jnp.zeros((len(users), train.n_items), x.dtype)
    return out.at[jnp.arange(len(users))[:, None], items].add(values)


def gram(train: Interactions, x: Array) -> Array:
    """``X' X``, ``[I, I]``."""
    n_chunks = -(-train.n_users // ROWS)

    def add(k: Array, total: Array) -> Array:
        rows = dense_rows(train, x, k * ROWS + jnp.arange(ROWS, dtype=jnp.int32))
        return total + times(rows.T, rows)

    return _varying.fori_loop(0, n_chunks, add, jnp.zeros((train.n_items,) * 2, x.dtype))


def invert(train: Interactions, x: Array, reg: Array | float) -> Array:
    """``(X' X + reg I)^-1`` by a Cholesky factorisation."""
    root = dense.inverse_root(gram(train, x) + reg * jnp.eye(train.n_items, dtype=x.dtype))
    return times(root, root.T)


def update(
    inverse: Array, train: Interactions, change: Change, reg: Array | float
) -> tuple[Array, dict[str, Array]]:
    """The inverse after a change of the data, by low-rank steps where they are the cheaper way.

    Woodbury: ``(A + V' D V)^-1 = P - P V' (D^-1 + V P V')^-1 V P``, with the rows of changed users
    before and after in ``V``; where fewer items than users change, with their columns. It is
    inverted anew where that costs less, or where the result is no inverse, up to the root of the
    precision, as random vectors show.

    Returns:
      ``[I, I]``, and ``rank``, how many users or items changed; ``residual`` of the check,
      ``|A P v - v| / |v|``; and ``inverted``, 1 where it was inverted anew.
    """
    moved = (change.before != change.after).astype(change.after.dtype)
    users, items = (n > 0 for n in degrees(train, moved))
    n_users, n_items = (jnp.sum(side, dtype=jnp.int32) for side in (users, items))
    least = jnp.minimum(n_users, n_items)
    anew = least > (train.n_users + train.n_items) // 4
    way = jnp.where(anew, 2, jnp.where(n_users <= n_items, 0, 1))
    found = _varying.switch(
        way,
        [
            lambda: _by_users(inverse, train, change, users),
            lambda: _by_items(inverse, train, change, items),
            lambda: invert(train, change.after, reg),
        ],
    )
    found = (found + found.T) / 2
    residual = check(found, train, change.after, reg)
    broken = ~(residual <= jnp.sqrt(jnp.finfo(residual.dtype).eps))
    found = _varying.cond(broken & ~anew, lambda: invert(train, change.after, reg), lambda: found)
    info = {"rank": least, "residual": residual, "inverted": (anew | broken).astype(jnp.int32)}
    return found, info


def check(inverse: Array, train: Interactions, x: Array, reg: Array | float) -> Array:
    """``|(X' X + reg I) P v - v| / |v|`` for random signs ``v``."""
    v = jax.random.rademacher(jax.random.key(0), (train.n_items, PROBES), inverse.dtype)
    z = times(inverse, v)
    back = spmm(train, x, spmm(train, x, z, by="user"), by="item") + reg * z
    return jnp.sqrt(ratio(jnp.sum((back - v) ** 2), jnp.sum(v**2)))


def _in_front(chosen: Array) -> tuple[Array, Array]:
    """The ids that are chosen, before all others, and how many there are."""
    return jnp.argsort(~chosen, stable=True).astype(jnp.int32), jnp.sum(chosen, dtype=jnp.int32)


def _by_users(inverse: Array, train: Interactions, change: Change, chosen: Array) -> Array:
    listed, n = _in_front(chosen)
    signs = jnp.repeat(jnp.array([1.0, -1.0], inverse.dtype), RANK)

    def step(k: Array, inverse: Array) -> Array:
        ids = layout.part(listed, k * RANK, n, RANK)
        rows = jnp.concatenate([dense_rows(train, x, ids) for x in (change.after, change.before)])
        return _woodbury(inverse, rows, jnp.diag(signs))

    return _varying.fori_loop(0, -(-n // RANK), step, inverse)


def _by_items(inverse: Array, train: Interactions, change: Change, chosen: Array) -> Array:
    """``A' - A = E H' + H E'`` with ``E`` the unit vectors of some items, step by step."""
    listed, n = _in_front(chosen)
    order = jnp.arange(len(listed), dtype=jnp.int32)
    place = jnp.zeros_like(order).at[listed].set(order)
    place = gather(place, train.items)  # of each interaction's item in the list
    swap = jnp.kron(jnp.array([[0.0, 1.0], [1.0, 0.0]]), jnp.eye(RANK)).astype(inverse.dtype)

    def step(k: Array, inverse: Array) -> Array:
        ids = layout.part(listed, k * RANK, n, RANK)
        unit = (jnp.arange(train.n_items, dtype=jnp.int32)[:, None] == ids[None]).astype(
            inverse.dtype
        )

        def columns(done: Array) -> Array:
            """``X' X E`` with the items of the steps before ``done`` changed."""
            x = jnp.where(place < done * RANK, change.after, change.before)
            return spmm(train, x, spmm(train, x, unit, by="user"), by="item")

        gap = columns(k + 1) - columns(k)
        half = gap - times(unit, times(unit.T, gap)) / 2
        return _woodbury(inverse, jnp.concatenate([unit, half], axis=1).T, swap)

    return _varying.fori_loop(0, -(-n // RANK), step, inverse)


def _woodbury(inverse: Array, rows: Array, middle: Array) -> Array:
    """``(A + V' M V)^-1`` from ``P = A^-1``, with ``M`` its own inverse."""
    right = times(rows, inverse)
    return inverse - times(right.T, _solve(middle + times(right, rows.T), right))


@dense.loop_on_cpu
def _solve(matrix: Array, rhs: Array) -> Array:
    return jnp.linalg.solve(matrix, rhs)
