"""Shards: which part of the interactions each sub-model is trained on.

``random`` looks at nothing but the key and the pair itself, so that no row's shard depends on any
other row; ``balanced`` groups what is alike, and its result is a statistic of the data.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _checks
from jaxforget.sparse.draws import pair_bits
from jaxforget.sparse.kernels import take
from jaxforget.types import Factors, Interactions

NOWHERE = -1  # the shard of an interaction that is not remembered

SIDES = ("interaction", "user", "item")


def random(key: Array, train: Interactions, *, n_shards: int, by: str = "interaction") -> Array:
    """Deals interactions to shards by a hash of the key and the pair, the user or the item.

    The shard of a row is the same whatever other rows exist: with a forgotten interaction, and
    without ever having loaded it. Shards are of nearly equal size, not of exactly equal size;
    repeated pairs share a shard.

    Args:
      key: typed JAX key; consumed.
      n_shards: static, at least 1.
      by: ``"interaction"``, or ``"user"`` / ``"item"`` to keep a history in one shard.

    Returns:
      ``[N]`` int32 in ``[0, n_shards)``.

    Raises:
      ValueError: no shard, or an unknown ``by``.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0, 1], [0, 1, 1], [1.0, 1.0, 1.0])
      >>> shards = random(jax.random.key(0), train, n_shards=2, by="user").tolist()
      >>> shards[0] == shards[1]
      True
    """
    _check(n_shards, by)
    if by == "interaction":
        bits = pair_bits(key, train)
    else:
        n_rows, ids = _rows(train, by)
        bits = take(jax.random.bits(key, (n_rows,), jnp.uint32), ids)
    return (bits % jnp.uint32(n_shards)).astype(jnp.int32)


def member(shards: Array, weights: Array, *, n_shards: int) -> Array:
    """Weighs the interactions for each shard: ``[S, N]``, the weight inside and 0 outside.

    Example:
      >>> member(jnp.array([1, 0, 1]), jnp.array([1.0, 1.0, 0.0]), n_shards=2).tolist()
      [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    inside = shards[None, :] == jnp.arange(n_shards, dtype=shards.dtype)[:, None]
    return jnp.where(inside, weights[None, :], 0)


def balanced(key: Array, train: Interactions, weights: Array, factors: Factors, *, by: str,
             n_shards: int, capacity: float = 1.2, n_rounds: int = 50,
             centroids: str = "vector") -> Array:  # fmt: skip
    """Groups interactions (or users, or items) that are alike, no shard above its capacity.

    As k-means, but with places to give away: all (point, centroid) pairs in ascending order of
    distance, each assigned if its point is still free and its shard still open (ties: the lower
    shard, then the lower index). The distance is ``|p_u - c|^2`` for users, ``|q_i - c|^2`` for
    items and the product of the two for interactions; then centroids become means, until nothing
    moves. The result depends on every remembered row, through the factors too.

    Args:
      key: typed JAX key; consumed. The first centroids are remembered points, drawn.
      weights: ``[N]``; what has weight 0 is neither placed nor looked at.
      factors: embeddings to compare by, in the published method pre-trained ones.
      by: ``"interaction"``, ``"user"`` or ``"item"``.
      capacity: at least 1; a shard holds at most ``ceil(capacity * points / n_shards)`` points.
      n_rounds: at most.
      centroids: ``"vector"``; ``"scalar"`` takes one mean over rows and dimensions together, as
        the released code does from its second round on.

    Returns:
      ``[N]`` int32; ``NOWHERE`` where the weight is 0.

    Raises:
      ValueError: a setting is out of range.

    Source: Chen et al., Recommendation Unlearning (RecEraser), WWW 2022.
    """
    _check(n_shards, by)
    check_balance("balanced", capacity=capacity, n_rounds=n_rounds, centroids=centroids)
    live = weights > 0
    points = _points(train, live, by)
    n = jnp.sum(points.live, dtype=jnp.int32)
    exact = capacity / n_shards * (1 - 1e-6) * n.astype(jnp.float32)  # so that 1.2 of 10 is 12
    room = jnp.maximum(jnp.ceil(exact).astype(jnp.int32), (n + n_shards - 1) // n_shards)
    start = _start(key, train, points, factors, by, n_shards)

    def unfinished(carry):
        _, _, moved, n = carry
        return moved & (n < n_rounds)

    def step(carry):
        old, centres, _, n = carry
        new = _fill(_distances(points, factors, centres, by), points.live, room)
        centres = _means(points, factors, new, centres, centroids == "scalar")
        return new, centres, jnp.any(new != old), n + 1

    nobody = jnp.full(points.live.shape, NOWHERE, jnp.int32)
    first = (nobody, start, jnp.ones((), bool), jnp.zeros((), jnp.int32))
    shards = lax.while_loop(unfinished, step, first)[0]
    if by != "interaction":
        shards = take(shards, _rows(train, by)[1])
    return jnp.where(live, shards, NOWHERE)


def check_balance(
    owner: str, *, capacity: float = 1.2, n_rounds: int = 50, centroids: str = "vector"
) -> None:
    """Raises a ``ValueError`` for settings of ``balanced`` that are out of range."""
    _checks.positive(owner, n_rounds=n_rounds)
    _checks.choice(owner, ("vector", "scalar"), centroids=centroids)
    if not capacity >= 1:
        raise ValueError(f"{owner}: capacity must be at least 1; got {capacity}")


def _check(n_shards, by):
    if n_shards < 1 or by not in SIDES:
        raise ValueError(
            f"a partition needs n_shards >= 1 and by in {SIDES}; got {n_shards}, {by!r}"
        )


def _rows(train, by):
    return (train.n_users, train.users) if by == "user" else (train.n_items, train.items)


class _Points(NamedTuple):
    """What is dealt out: a point may have a user row, an item row, or both."""

    live: Array  # [P] bool
    users: Array | None  # [P] int32
    items: Array | None


def _points(train, live, by):
    if by == "interaction":
        return _Points(live, train.users, train.items)
    n_rows, ids = _rows(train, by)
    met = jnp.zeros(n_rows, bool).at[ids].max(live)
    rows = jnp.arange(n_rows, dtype=jnp.int32)
    return _Points(met, rows, None) if by == "user" else _Points(met, None, rows)


def _start(key, train, points, factors, by, n_shards):
    """The rows of drawn live points; zeros should there be fewer points than shards."""
    size = (len(points.live),)
    drawn = by == "interaction"
    bits = pair_bits(key, train) if drawn else jax.random.bits(key, size, jnp.uint32)
    ranks = jnp.where(points.live, (bits >> jnp.uint32(2)).astype(jnp.int32), -1)
    ranks = jnp.pad(ranks, (0, max(n_shards - size[0], 0)), constant_values=-1)
    found, places = lax.top_k(ranks, n_shards)

    def rows(table, ids):
        if ids is None:
            return None
        return jnp.where(found[:, None] >= 0, table[ids[jnp.minimum(places, size[0] - 1)]], 0)

    return rows(factors.users, points.users), rows(factors.items, points.items)


def _distances(points, factors, centres, by):
    """``[P, S]`` float32, finite."""

    def side(table, centres, ids):
        squares = lax.map(lambda c: jnp.sum((table - c[None]) ** 2, axis=1), centres)
        return take(squares.T, ids) if by == "interaction" else squares.T

    pairs = zip(factors, centres, (points.users, points.items))
    parts = [side(*pair) for pair in pairs if pair[2] is not None]
    distances = functools.reduce(jnp.multiply, parts).astype(jnp.float32)
    return jnp.where(distances < jnp.inf, jnp.abs(distances), jnp.finfo(jnp.float32).max)


def _means(points, factors, shards, old, scalar):
    """The mean row of each shard's points; an empty shard keeps its centroid."""
    n_shards = next(len(c) for c in old if c is not None)
    places = jnp.where(shards < 0, n_shards, shards)
    sizes = jnp.zeros(n_shards, jnp.int32).at[places].add(1, mode="drop")

    def side(table, ids, old):
        if ids is None:
            return None
        counts = jnp.zeros((n_shards, len(table)), jnp.int32).at[places, ids].add(1, mode="drop")
        total = jnp.matmul(counts.astype(table.dtype), table, precision="highest")
        mean = total / jnp.maximum(sizes, 1).astype(table.dtype)[:, None]
        if scalar:
            mean = jnp.broadcast_to(jnp.mean(mean, axis=1, keepdims=True), mean.shape)
        return jnp.where(sizes[:, None] > 0, mean, old)

    return side(factors.users, points.users, old[0]), side(factors.items, points.items, old[1])


def _fill(distances: Array, live: Array, room: Array) -> Array:
    """Assigns pairs greedily in ascending order, without sorting the ``[P, S]`` of them.

    Until some shard is full every point goes to its nearest open shard; so the moment at which
    the first shard fills is one order statistic per shard, and there are at most S such moments.
    """
    n_shards = distances.shape[1]

    def unfinished(carry):
        return jnp.any(live & (carry[0] < 0))

    def step(carry):
        shards, room = carry
        free = live & (shards < 0)
        reach = jnp.where((room > 0)[None, :], distances, jnp.inf)
        near, choice = jnp.min(reach, axis=1), jnp.argmin(reach, axis=1).astype(jnp.int32)
        bits = lax.bitcast_convert_type(near, jnp.int32)  # same order: distances are not negative
        asked = jnp.where(free, choice, n_shards)
        wanted = count(asked, n_shards)
        bar, left = _smallest(bits, asked, room, n_shards)
        bar = jnp.where(wanted > room, bar, jnp.iinfo(jnp.int32).max)
        full = jnp.argmin(bar).astype(jnp.int32)  # it fills first
        level = free & (bits == bar[full]) & (choice == full)
        first = level & (jnp.cumsum(level, dtype=jnp.int32) <= left[full])
        before = (bits < bar[full]) | ((bits == bar[full]) & (choice < full))
        now = free & (before | first)
        return jnp.where(now, choice, shards), room - count(
            jnp.where(now, choice, n_shards), n_shards
        )

    start = (jnp.full(live.shape, NOWHERE, jnp.int32), jnp.full(n_shards, room, jnp.int32))
    return lax.while_loop(unfinished, step, start)[0]


def count(shards: Array, n_shards: int) -> Array:
    """``[S]`` how many entries each shard has; other numbers count nowhere."""
    return jnp.zeros(n_shards, jnp.int32).at[shards].add(1, mode="drop")


def _smallest(bits, shards, ranks, n_shards):
    """The ``ranks``-th smallest of each shard's non-negative integers, byte by byte.

    Returns:
      it ``[S]``, and how many of those equal to it lie up to that rank ``[S]``.
    """
    found, left = jnp.zeros(n_shards, jnp.int32), ranks
    for shift in (24, 16, 8, 0):
        same = (bits >> (shift + 7) >> 1) == take(jnp.append(found, -1), shards)
        slot = jnp.where(same, shards * 256 + ((bits >> shift) & 255), n_shards * 256)
        histogram = count(slot, n_shards * 256).reshape(n_shards, 256)
        upto = jnp.cumsum(histogram, axis=1, dtype=jnp.int32)
        byte = jnp.minimum(jnp.sum(upto < left[:, None], axis=1, dtype=jnp.int32), 255)
        below = jnp.take_along_axis(upto - histogram, byte[:, None], axis=1)[:, 0]
        found, left = found * 256 + byte, left - below
    return found, left
