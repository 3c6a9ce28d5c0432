"""How far a request reaches in the graph, and solving on the rows that matter alone."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _weights
from jaxforget._settings import checked
from jaxforget.sparse.arithmetic import gather
from jaxforget.sparse.compact import compact
from jaxforget.sparse.degrees import degrees, exchange
from jaxforget.types import Factors, ForgetSet, Interactions


class Importance(NamedTuple):
    """How much a request concerns each user and item: 0 where it does not reach."""

    users: Array  # [U]
    items: Array  # [I]
    requested_users: Array  # [U] bool, occurs in the request itself
    requested_items: Array  # [I] bool


class Rows(NamedTuple):
    """Chosen rows; an unused entry holds the number of rows, which is no row."""

    users: Array  # [K] int32
    items: Array  # [K'] int32


@checked
def reach(train: Interactions, forget: ForgetSet, *, hops: int) -> Importance:
    """Scores every user and item by what share of its neighbourhood is to be forgotten.

    ``s_0 = forgotten / deg``, ``s_k = (B s_{k-1}) / deg`` with ``deg`` = 1 + remembered
    interactions and ``B`` the 0/1 matrix of neighbour-or-self. Labels play no part.

    Args:
      hops: static, at least 0: how often a score spreads to the neighbours.

    Raises:
      ValueError: negative hops.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0, 1], [0, 1, 1], [1.0, 1.0, 1.0])
      >>> request = ForgetSet(jnp.ones(3), jnp.array([0.0, 1.0, 1.0]))
      >>> [round(x, 3) for x in reach(train, request, hops=0).users.tolist()]
      [0.333, 0.0]

    Source: arXiv 2307.02147, as its code computes it.
    """
    before, after = _weights.of_request(train, forget)
    known = (before > 0).astype(train.values.dtype)
    gone = (before > after).astype(known.dtype)
    (all_users, all_items), (users, items) = (degrees(train, x) for x in (known, gone))
    requested = users > 0, items > 0
    users, items = users / (1 + all_users), items / (1 + all_items)
    single = once(train, known)
    for _ in range(hops):
        near = exchange(train, single, Factors(users[:, None], items[:, None]))
        users = (users + near.users[:, 0]) / (1 + all_users)
        items = (items + near.items[:, 0]) / (1 + all_items)
    return Importance(users, items, *requested)


def once(train: Interactions, known: Array) -> Array:
    """``[N]`` the weights, of each pair's repetitions only the first that is not 0."""
    known = _weights.floating(train, known)
    slots = jnp.arange(len(known), dtype=jnp.int32)
    new = jnp.append(jnp.ones(1, bool), (jnp.diff(train.users) != 0) | (jnp.diff(train.items) != 0))
    first = jax.lax.cummax(jnp.where(new[: len(known)], slots, 0))  # of the same pair
    ahead = jnp.cumsum(known > 0, dtype=jnp.int32) - (known > 0).astype(jnp.int32)
    return jnp.where(ahead == ahead[first], known, 0)


@checked
def select(importance: Importance, *, keep: float, always: bool = True) -> tuple[Array, Array]:
    """Keeps the most important share of the reached users and items, as masks ``[U]``, ``[I]``.

    Args:
      keep: share in (0, 1], over both sides together: scores above their ``1 - keep`` quantile
        (linear interpolation); 1 keeps every reached row.
      always: keep the users and items of the request itself, whatever their score.
    """
    scores = jnp.concatenate([importance.users, importance.items])
    reached = scores > 0
    n = jnp.sum(reached, dtype=jnp.int32)
    ordered = jnp.sort(jnp.where(reached, scores, jnp.inf))
    rank = (1 - keep) * jnp.maximum(n - 1, 0).astype(scores.dtype)  # of the quantile
    low = jnp.floor(rank).astype(jnp.int32)
    ends = ordered[low], ordered[jnp.minimum(low + 1, jnp.maximum(n - 1, 0))]
    step = jnp.where(jnp.isfinite(ends[1] - ends[0]), ends[1] - ends[0], 0)
    bar = ends[0] + (rank - low.astype(rank.dtype)) * step
    chosen = reached if keep == 1 else reached & (scores > bar)
    requested = jnp.concatenate([importance.requested_users, importance.requested_items])
    chosen = chosen | requested if always else chosen
    n_users = len(importance.users)
    return chosen[:n_users], chosen[n_users:]


def top(importance: Importance, *, n_users: int, n_items: int) -> Rows:
    """Picks the rows of the highest scores, those of the request first; static sizes.

    Rows that are not reached are never picked: their entries stay unused. A request with more
    users or items than there are entries fills them all with its own.
    """
    users = importance.users, importance.requested_users, n_users
    items = importance.items, importance.requested_items, n_items
    picked = []
    for scores, requested, size in (users, items):
        ranks = jnp.where(requested, 1 + scores, scores)  # a score is below 1
        values, rows = jax.lax.top_k(ranks, min(size, len(scores)))
        picked.append(jnp.where(values > 0, rows, len(scores)).astype(jnp.int32))
    return Rows(*picked)


def take(params: Factors, rows: Rows) -> Factors:
    """Reads the chosen rows: ``[K, D]`` and ``[K', D]``; 0 in unused entries."""
    pairs = zip(params, rows)
    return Factors(*(x.at[r].get(mode="fill", fill_value=0) for x, r in pairs))


def put(params: Factors, rows: Rows, values: Factors) -> Factors:
    """Writes the chosen rows; every other row stays bit for bit."""
    return Factors(*(x.at[r].set(v, mode="drop") for x, r, v in zip(params, rows, values)))


def meeting(train: Interactions, users: Array, items: Array) -> tuple[Interactions, Array]:
    """Leaves only the interactions that meet a chosen user or item; see ``compact``.

    Args:
      users, items: bool masks ``[U]``, ``[I]``.
    """
    return compact(train, gather(users, train.users) | gather(items, train.items))
