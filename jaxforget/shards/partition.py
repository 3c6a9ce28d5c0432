"""Shards: which part of the interactions each sub-model is trained on.

With ``random`` the shard of an interaction depends on the key and the pair alone, on no other row.
``balanced`` groups similar interactions, so its result depends on all of them.
"""

import functools
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _checks, _varying
from jaxforget._settings import checked
from jaxforget.shards.assignment import NOWHERE, assign, count
from jaxforget.sparse.arithmetic import gather, times
from jaxforget.sparse.draws import pair_bits
from jaxforget.types import Factors, Interactions

__all__ = ["NOWHERE", "UNITS", "Unit", "balanced", "check_balance", "count", "member", "random"]

Unit = Literal["interaction", "user", "item"]  # what is assigned to a shard as a whole

UNITS: tuple[Unit, ...] = get_args(Unit)


@checked
def random(key: Array, train: Interactions, *, n_shards: int, by: Unit = "interaction") -> Array:
    """Assigns interactions to shards by a hash of the key and the pair, the user or the item.

    The shard of a row is the same whatever other rows exist: with a forgotten interaction, and
    without ever having loaded it. Shards are of nearly equal size, not of exactly equal size;
    repeated pairs share a shard.

    Args:
      key: typed JAX key; consumed.
      train: the interactions.
      n_shards: S; static, at least 1.
      by: ``"interaction"``, or ``"user"`` / ``"item"`` to keep a history in one shard.

    Returns:
      ``[N]`` int32 in ``[0, S)``.

    Raises:
      ValueError: no shard, or an unknown ``by``.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0, 1], [0, 1, 1], [1.0, 1.0, 1.0])
      >>> shards = random(jax.random.key(0), train, n_shards=2, by="user").tolist()
      >>> shards[0] == shards[1]
      True
    """
    if by == "interaction":
        bits = pair_bits(key, train)
    else:
        n_rows, ids = _side(train, by)
        bits = gather(jax.random.bits(key, (n_rows,), jnp.uint32), ids)
    return (bits % jnp.uint32(n_shards)).astype(jnp.int32)


@checked
def member(shards: Array, weights: Array, *, n_shards: int) -> Array:
    """Weights of the interactions for each shard: their own where they are in it, 0 elsewhere.

    Args:
      shards: ``[N]`` shard of each interaction, as ``random`` or ``balanced`` assign it.
      weights: ``[N]``.
      n_shards: S.

    Returns:
      ``[S, N]``.

    Example:
      >>> member(jnp.array([1, 0, 1]), jnp.array([1.0, 1.0, 0.0]), n_shards=2).tolist()
      [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    inside = shards[None, :] == jnp.arange(n_shards, dtype=shards.dtype)[:, None]
    return jnp.where(inside, weights[None, :], 0)


@checked
def balanced(
    key: Array,
    train: Interactions,
    weights: Array,
    factors: Factors,
    *,
    by: Unit,
    n_shards: int,
    capacity: float = 1.2,
    n_rounds: int = 50,
    centroids: Literal["vector", "scalar"] = "vector",
) -> Array:
    """Groups similar interactions (or users, or items), no shard above its capacity.

    Each round assigns points to centroids as k-means does, but under a capacity: all (point,
    centroid) pairs are taken in ascending order of distance, and a pair is assigned if its point
    is not yet assigned and its shard not yet full (ties: the lower shard, then the lower index).
    The distance is ``|p_u - c|^2`` for users, ``|q_i - c|^2`` for items and the product of the two
    for interactions. Then every centroid becomes the mean of its points. Rounds end when no point
    changes its shard. The result depends on every remembered row, through the factors too.

    Args:
      key: typed JAX key; consumed. The first centroids are remembered points, drawn.
      train: the interactions.
      weights: ``[N]``; what has weight 0 is not assigned and changes nothing.
      factors: embeddings to compare by, in the published method pre-trained ones.
      by: ``"interaction"``, ``"user"`` or ``"item"``, which are the points.
      n_shards: S; static, at least 1.
      capacity: at least 1; a shard holds at most ``ceil(capacity * points / S)`` points.
      n_rounds: at most.
      centroids: ``"vector"``; ``"scalar"`` takes one mean over rows and dimensions together, as
        the released code does from its second round on.

    Returns:
      ``[N]`` int32 in ``[0, S)``; ``NOWHERE`` where the weight is 0.

    Raises:
      ValueError: a setting is out of range.

    Source: Chen et al., Recommendation Unlearning (RecEraser), WWW 2022.
    """
    balance = {"capacity": capacity, "n_rounds": n_rounds, "centroids": centroids}
    check_balance("partition.balanced", **balance)
    points = _points(train, weights > 0, by)
    n = jnp.sum(points.remembered, dtype=jnp.int32)
    exact = capacity / n_shards * (1 - 1e-6) * n.astype(jnp.float32)  # 1.2 of 10 is 12, not 13
    room = jnp.maximum(jnp.ceil(exact).astype(jnp.int32), (n + n_shards - 1) // n_shards)

    def unfinished(carry):
        _, _, moved, n = carry
        return moved & (n < n_rounds)

    def step(carry):
        old, centres, _, n = carry
        new = assign(_distances(points, factors, centres, by), points.remembered, room)
        centres = _means(points, factors, new, centres, n_shards, centroids == "scalar")
        return new, centres, jnp.any(new != old), n + 1

    unassigned = jnp.full(points.remembered.shape, NOWHERE, jnp.int32)
    centres = _first_centres(key, train, points, factors, by, n_shards)
    first = (unassigned, centres, jnp.ones((), bool), jnp.zeros((), jnp.int32))
    shards = _varying.while_loop(unfinished, step, first)[0]
    if by != "interaction":
        shards = gather(shards, _side(train, by)[1])
    return jnp.where(weights > 0, shards, NOWHERE)


@checked
def check_balance(
    owner: str, *, capacity: float = 1.2, n_rounds: int = 50, centroids: str = "vector"
) -> None:
    """Raises ``ValueError`` for settings of ``balanced`` out of range, in the name of ``owner``."""
    _checks.choice(owner, ("vector", "scalar"), centroids=centroids)
    if not capacity >= 1:
        raise _checks.SettingError(f"{owner}: capacity must be at least 1; got {capacity}")


def _side(train: Interactions, by: str) -> tuple[int, Array]:
    """Number of users or items, and which one each interaction is of."""
    return (train.n_users, train.users) if by == "user" else (train.n_items, train.items)


class _Points(NamedTuple):
    """The P points that are assigned: each has a row of user factors, of item factors, or both."""

    remembered: Array  # [P] bool
    users: Array | None  # [P] int32
    items: Array | None  # [P] int32


_Centres = tuple[Array | None, Array | None]  # [S, D] of user and of item factors, as points have


def _points(train: Interactions, remembered: Array, by: str) -> _Points:
    if by == "interaction":
        return _Points(remembered, train.users, train.items)
    n_rows, ids = _side(train, by)
    filled = jnp.zeros(n_rows, bool).at[ids].max(remembered)
    rows = jnp.arange(n_rows, dtype=jnp.int32)
    return _Points(filled, rows, None) if by == "user" else _Points(filled, None, rows)


def _first_centres(
    key: Array, train: Interactions, points: _Points, factors: Factors, by: str, n_shards: int
) -> _Centres:
    """The factors of remembered points, drawn; zeros if there are fewer points than shards."""
    n = len(points.remembered)
    bits = pair_bits(key, train) if by == "interaction" else jax.random.bits(key, (n,), jnp.uint32)
    draws = jnp.where(points.remembered, (bits >> jnp.uint32(2)).astype(jnp.int32), -1)
    draws = jnp.pad(draws, (0, max(n_shards - n, 0)), constant_values=-1)
    largest, chosen = lax.top_k(draws, n_shards)

    def rows(table, ids):
        if ids is None:
            return None
        return jnp.where(largest[:, None] >= 0, table[ids[jnp.minimum(chosen, n - 1)]], 0)

    return rows(factors.users, points.users), rows(factors.items, points.items)


def _distances(points: _Points, factors: Factors, centres: _Centres, by: str) -> Array:
    """``[P, S]`` float32, finite."""

    def side(table, centres, ids):
        squares = lax.map(lambda c: jnp.sum((table - c[None]) ** 2, axis=1), centres)
        return gather(squares.T, ids) if by == "interaction" else squares.T

    sides = zip(factors, centres, (points.users, points.items))
    parts = [side(*each) for each in sides if each[2] is not None]
    distances = functools.reduce(jnp.multiply, parts).astype(jnp.float32)
    return jnp.where(distances < jnp.inf, jnp.abs(distances), jnp.finfo(jnp.float32).max)


def _means(
    points: _Points, factors: Factors, shards: Array, old: _Centres, n_shards: int, scalar: bool
) -> _Centres:
    """The mean factors of each shard's points; an empty shard keeps its centroid."""
    shards = jnp.where(shards < 0, n_shards, shards)
    sizes = count(shards, n_shards)

    def side(table, ids, old):
        if ids is None:
            return None
        counts = jnp.zeros((n_shards, len(table)), jnp.int32).at[shards, ids].add(1, mode="drop")
        total = times(counts.astype(table.dtype), table)
        mean = total / jnp.maximum(sizes, 1).astype(table.dtype)[:, None]
        if scalar:
            mean = jnp.broadcast_to(jnp.mean(mean, axis=1, keepdims=True), mean.shape)
        return jnp.where(sizes[:, None] > 0, mean, old)

    return side(factors.users, points.users, old[0]), side(factors.items, points.items, old[1])
