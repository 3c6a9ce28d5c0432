"""Greedy assignment of points to shards of limited size."""

import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _varying
from jaxforget.sparse.arithmetic import gather

NOWHERE = -1  # the shard of a point that is not assigned


def count(shards: Array, n_shards: int) -> Array:
    """``[S]`` how many entries each shard has; entries of S or more are not counted."""
    return jnp.zeros(n_shards, jnp.int32).at[shards].add(1, mode="drop")


def assign(distances: Array, remembered: Array, room: Array) -> Array:
    """Assigns each point to a shard: all (point, shard) pairs in ascending order of distance.

    A pair is taken if its point is not yet assigned and its shard not yet full; of equal distances
    the lower shard is first, then the lower point. All pairs need not be sorted for that: until
    some shard is full, every point goes to its nearest shard that has room. The shard that
    is full first, and the distance at which it is, follow from one order statistic per shard. So
    all points up to that distance are assigned at once, and this repeats at most S times.

    Args:
      distances: ``[P, S]`` float32, not negative.
      remembered: ``[P]`` bool, points to assign.
      room: scalar int32, the number of points that each shard takes.

    Returns:
      ``[P]`` int32; ``NOWHERE`` for other points.
    """
    n_shards = distances.shape[1]

    def unfinished(carry):
        shards, _ = carry
        return jnp.any(remembered & (shards < 0))

    def step(carry):
        shards, room = carry
        free = remembered & (shards < 0)
        to_open = jnp.where((room > 0)[None, :], distances, jnp.inf)
        nearest = jnp.argmin(to_open, axis=1).astype(jnp.int32)
        # as integers, floats that are not negative keep their order
        distance = lax.bitcast_convert_type(jnp.min(to_open, axis=1), jnp.int32)
        wanted = jnp.where(free, nearest, n_shards)
        last, n_last = _smallest(distance, wanted, room, n_shards)  # the last point that fits
        last = jnp.where(count(wanted, n_shards) > room, last, jnp.iinfo(jnp.int32).max)
        full = jnp.argmin(last).astype(jnp.int32)  # the shard that is full first
        tied = free & (distance == last[full]) & (nearest == full)
        fitting = tied & (jnp.cumsum(tied, dtype=jnp.int32) <= n_last[full])
        before = (distance < last[full]) | ((distance == last[full]) & (nearest < full))
        now = free & (before | fitting)
        left = room - count(jnp.where(now, nearest, n_shards), n_shards)
        return jnp.where(now, nearest, shards), left

    start = (jnp.full(remembered.shape, NOWHERE, jnp.int32), jnp.full(n_shards, room, jnp.int32))
    return _varying.while_loop(unfinished, step, start)[0]


def _smallest(values: Array, shards: Array, ranks: Array, n_shards: int) -> tuple[Array, Array]:
    """The ``ranks[s]``-th smallest of the values in each shard, by radix selection.

    From the highest byte to the lowest, a histogram of that byte among the values that agree with
    the result so far gives its next byte.

    Args:
      values: ``[P]`` int32, not negative.
      shards: ``[P]`` int32; values of shard S are left out.
      ranks: ``[S]`` int32, from 1.
      n_shards: S.

    Returns:
      The values ``[S]``, and how many of those equal to it lie up to that rank ``[S]``.
    """
    prefix, left = jnp.zeros(n_shards, jnp.int32), ranks
    for shift in (24, 16, 8, 0):
        # the bytes above this one; two shifts, for one by all 32 bits is not defined
        above = values >> (shift + 7) >> 1
        agrees = above == gather(jnp.append(prefix, -1), shards)
        bins = jnp.where(agrees, shards * 256 + ((values >> shift) & 255), n_shards * 256)
        histogram = count(bins, n_shards * 256).reshape(n_shards, 256)
        upto = jnp.cumsum(histogram, axis=1, dtype=jnp.int32)
        byte = jnp.minimum(jnp.sum(upto < left[:, None], axis=1, dtype=jnp.int32), 255)
        below = jnp.take_along_axis(upto - histogram, byte[:, None], axis=1)[:, 0]
        prefix, left = prefix * 256 + byte, left - below
    return prefix, left
