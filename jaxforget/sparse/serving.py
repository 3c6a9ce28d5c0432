"""What a model serves, read in one way: two tables of factors, or scores computed on demand."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _checks, _varying
from jaxforget.sparse.arithmetic import times, wide
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, Interactions

SCORES_AT_ONCE = 1 << 21  # scores held at a time, so users times the size of the catalogue


class OnDemand(Protocol):
    """What ``Model.factors`` may return instead of ``Factors``: a pytree that scores whole rows."""

    @property
    def n_users(self) -> int: ...

    @property
    def n_items(self) -> int: ...

    @property
    def dtype(self) -> Any: ...

    def scores(self, users: Array, /) -> Array:
        """``[R, I]`` scores of users ``[R]`` int32; an id past the last user has any finite ones.

        A user with a score that is not finite is not ranked.
        """
        ...

    def tables(self) -> Factors:
        """The same scores as two tables, however wide: what an aggregation of models is of."""
        ...


Served = Factors | OnDemand


def tables(served: Served) -> Factors:
    """The two tables of what is served."""
    return served if isinstance(served, Factors) else served.tables()


def sizes(served: Served) -> tuple[int, int]:
    """The numbers of users and of items."""
    if isinstance(served, Factors):
        return len(served.users), len(served.items)
    return served.n_users, served.n_items


def precision(served: Served) -> Any:
    """The dtype to count and to add up the scores in: theirs, or one of 32 bits; see ``wide``."""
    return wide(served.users.dtype if isinstance(served, Factors) else served.dtype)


def scores(served: Served, users: Array) -> Array:
    """The scores ``[R, I]`` of users ``[R]`` int32 for the whole catalogue.

    Example:
      >>> served = Factors(jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [5.0]]))
      >>> scores(served, jnp.array([1])).tolist()
      [[6.0, 10.0]]
    """
    if isinstance(served, Factors):
        return times(served.users[users], served.items.T)
    return served.scores(users)


def scores_of(served: Served, cells: Interactions) -> Array:
    """The scores ``[N]`` of given user-item pairs; the values of ``cells`` are not read.

    Raises:
      ValueError: the pairs are not of the model's numbers of users and items.
    """
    _checks.sizes("scores_of", sizes(served), cells=(cells.n_users, cells.n_items))
    if isinstance(served, Factors):
        return sddmm(cells, *served)
    out = jnp.zeros(len(cells.users), served.dtype)
    if not len(out):
        return out  # and no user is scored
    size = min(users_at_once(served), max(1, served.n_users))
    width = max(cells.by_user.widths, default=0)

    def add(chunk: Array, out: Array) -> Array:
        users = chunk * size + jnp.arange(size, dtype=jnp.int32)
        index, items, real = histories(cells, users, width)
        found = jnp.take_along_axis(served.scores(users), items, axis=1)
        return out.at[jnp.where(real, index, len(out))].set(found, mode="drop")

    return _varying.fori_loop(0, -(-served.n_users // size), add, out)


def users_at_once(served: Served) -> int:
    """How many users are scored at a time."""
    return max(1, SCORES_AT_ONCE // max(1, sizes(served)[1]))


def sum_over_users(function: Callable[[Array], Any], served: Served) -> Any:
    """Adds up ``function(users)`` over all users: equal chunks of them, and the rest in one."""
    size = users_at_once(served)
    users = jnp.arange(sizes(served)[0], dtype=jnp.int32)
    whole = len(users) // size * size
    total = function(users[whole:])
    if not whole:
        return total
    chunks = lax.map(function, users[:whole].reshape(-1, size))
    return jax.tree.map(lambda rest, x: rest + jnp.sum(x, axis=0), total, chunks)


def largest(served: Served) -> Array:
    """The largest score by size, of all user-item pairs; NaN where one is not finite."""

    def most(users: Array) -> tuple[Array, Array]:
        found = scores(served, users)
        finite = jnp.isfinite(found)  # asked apart: which of NaN and a number is larger?
        return jnp.max(jnp.where(finite, jnp.abs(found), 0), initial=0), jnp.all(finite)

    n_users, size = sizes(served)[0], users_at_once(served)
    users = jnp.arange(-(-n_users // size) * size, dtype=jnp.int32)
    users = jnp.minimum(users, n_users - 1).reshape(-1, size)
    found, finite = lax.map(most, users)
    return jnp.where(jnp.all(finite), jnp.max(found, initial=0), jnp.nan)


def spans(interactions: Interactions, users: Array) -> tuple[Array, Array]:
    """The rows ``first .. end - 1`` of users ``[R]``; an id past the last user has none."""
    users = users.astype(jnp.int32)  # a narrow type may not hold the id after the last
    first, end = (interactions.by_user.indptr.at[users + k].get(mode="clip") for k in (0, 1))
    return first, end


def histories(
    interactions: Interactions, users: Array, width: int, after: int | Array = 0
) -> tuple[Array, Array, Array]:
    """Histories of users ``[R]``, ``[R, width]`` each: their rows, the items, where not padding.

    A row is the place of an interaction in ``interactions``. An id past the last user has none.
    The first ``after`` interactions of every user are left out.
    """
    first, end = spans(interactions, users)
    index = first[:, None] + after + jnp.arange(width, dtype=jnp.int32)[None]
    real = index < end[:, None]
    index = jnp.where(real, index, 0)
    return index, interactions.items[index], real
