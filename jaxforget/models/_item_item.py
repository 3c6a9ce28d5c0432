"""The regularised Gram matrix of items, its inverse, and what a change of the data does to it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _varying
from jaxforget.sparse import dense, layout
from jaxforget.sparse.arithmetic import gather, ratio, times
from jaxforget.sparse.degrees import degrees
from jaxforget.sparse.kernels import spmm
from jaxforget.sparse.serving import histories, spans
from jaxforget.types import Interactions

ROWS = 256  # users, items or entries whose rows are dense at a time
SPARSE = 50  # times that an entry costs more than one of a dense product
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


def products(train: Interactions, x: Array, users: Array, matrix: Array) -> Array:
    """``X_u matrix`` of some users ``[R]`` and a matrix ``[I, J]``; 0 for ids past the end."""
    if not is_sparse(train):
        return times(dense_rows(train, x, users), matrix)
    first, end = spans(train, users)
    ends = jnp.cumsum(end - first, dtype=jnp.int32)  # of each user's entries, one after the other

    def add(k: Array, out: Array) -> Array:
        place = k * ROWS + jnp.arange(ROWS, dtype=jnp.int32)
        owner = jnp.searchsorted(ends, place, side="right").astype(jnp.int32)
        index = jnp.where(owner < len(users), gather(end - ends, owner) + place, 0)
        theirs = jax.nn.one_hot(owner, len(users), dtype=bool, axis=0)
        values = jnp.where(theirs, gather(x, index)[None], 0)
        return out + times(values, gather(matrix, gather(train.items, index)))

    out = jnp.zeros((len(users), matrix.shape[1]), x.dtype)
    n_entries = jnp.sum(end - first, dtype=jnp.int32)
    return _varying.fori_loop(0, -(-n_entries // ROWS), add, out)


def gram(train: Interactions, x: Array) -> Array:
    """``X' X``, ``[I, I]``."""
    if is_sparse(train):
        return _gram_by_items(train, x)
    n_chunks = -(-train.n_users // ROWS)

    def add(k: Array, total: Array) -> Array:
        rows = dense_rows(train, x, k * ROWS + jnp.arange(ROWS, dtype=jnp.int32))
        return total + times(rows.T, rows)

    return _varying.fori_loop(0, n_chunks, add, jnp.zeros((train.n_items,) * 2, x.dtype))


def is_sparse(train: Interactions) -> bool:
    """Whether products with ``X`` are cheaper through its entries than as dense matrices."""
    return SPARSE * len(train.items) < train.n_users * train.n_items


def _gram_by_items(train: Interactions, x: Array) -> Array:
    """``X' X`` by products of ``X`` with some columns of it at a time, which cost ``4 N I``."""
    size = min(ROWS, train.n_items)

    def put(k: Array, out: Array) -> Array:
        first = jnp.minimum(k * size, train.n_items - size)  # the last ones end where all end
        ids = first + jnp.arange(size, dtype=jnp.int32)
        columns = project(train, x, jax.nn.one_hot(ids, train.n_items, dtype=x.dtype, axis=0))
        return lax.dynamic_update_slice_in_dim(out, columns.T, first, axis=0)

    out = jnp.zeros((train.n_items,) * 2, x.dtype)
    return _varying.fori_loop(0, -(-train.n_items // size), put, out)


def project(train: Interactions, x: Array, columns: Array) -> Array:
    """``X' X columns`` of ``[I, R]``, without the Gram matrix."""
    return spmm(train, x, spmm(train, x, columns, by="user"), by="item")


def invert(train: Interactions, x: Array, reg: Array | float) -> Array:
    """``(X' X + reg I)^-1``; beside the result, little is held that grows with ``I^2``."""
    found, index = gram(train, x), jnp.arange(train.n_items, dtype=jnp.int32)
    return dense.inverse(found.at[index, index].add(reg))


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
    few = n_users <= n_items
    # in turn, each with nothing to do unless it is the way: a matrix that goes through loops is
    # changed in place, while one that conditions give is held twice
    found = _by_users(inverse, train, change, users & few & ~anew)
    found = _by_items(found, train, change, items & ~few & ~anew)
    residual = check(found, train, change.after, reg)
    wrong = anew | ~(residual <= jnp.sqrt(jnp.finfo(residual.dtype).eps))

    def invert_anew(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        found = invert(train, change.after, reg)
        return jnp.zeros_like(state[0]), found, check(found, train, change.after, reg)

    _, found, residual = _varying.while_loop(lambda s: s[0], invert_anew, (wrong, found, residual))
    info = {"rank": least, "residual": residual, "inverted": wrong.astype(jnp.int32)}
    return found, info


def check(inverse: Array, train: Interactions, x: Array, reg: Array | float) -> Array:
    """``|(X' X + reg I) P v - v| / |v|`` for random signs ``v``."""
    v = jax.random.rademacher(jax.random.key(0), (train.n_items, PROBES), inverse.dtype)
    z = times(inverse, v)
    back = project(train, x, z) + reg * z
    return jnp.sqrt(ratio(jnp.sum((back - v) ** 2), jnp.sum(v**2)))


def _in_front(chosen: Array) -> tuple[Array, Array]:
    """The ids that are chosen, before all others, and how many there are."""
    return jnp.argsort(~chosen, stable=True).astype(jnp.int32), jnp.sum(chosen, dtype=jnp.int32)


def _by_users(inverse: Array, train: Interactions, change: Change, chosen: Array) -> Array:
    listed, n = _in_front(chosen)
    signs = jnp.repeat(jnp.array([1.0, -1.0], inverse.dtype), RANK)

    def step(k: Array, inverse: Array) -> Array:
        ids = layout.part(listed, k * RANK, n, RANK)
        both = (change.after, change.before)
        rows = jnp.concatenate([dense_rows(train, x, ids) for x in both])
        right = jnp.concatenate([products(train, x, ids, inverse) for x in both])
        return _woodbury(inverse, rows, right, jnp.diag(signs))

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
        unit = jax.nn.one_hot(ids, train.n_items, dtype=inverse.dtype, axis=0)

        def columns(done: Array) -> Array:
            """``X' X E`` with the items of the steps before ``done`` changed."""
            x = jnp.where(place < done * RANK, change.after, change.before)
            return project(train, x, unit)

        gap = columns(k + 1) - columns(k)
        half = gap - times(unit, times(unit.T, gap)) / 2
        rows = jnp.concatenate([unit, half], axis=1).T
        return _woodbury(inverse, rows, times(rows, inverse), swap)

    return _varying.fori_loop(0, -(-n // RANK), step, inverse)


def _woodbury(inverse: Array, rows: Array, right: Array, middle: Array) -> Array:
    """``(A + V' M V)^-1`` from ``P = A^-1`` and ``V P``, with ``M`` its own inverse."""
    solved = _solve(middle + times(right, rows.T), right)
    return dense.mirror(dense.subtract(inverse, right.T, solved))


@dense.loop_on_cpu
def _solve(matrix: Array, rhs: Array) -> Array:
    return jnp.linalg.solve(matrix, rhs)
