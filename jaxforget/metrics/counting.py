"""Counts how many scores of a catalogue are above given ones: ranks without sorting."""

import functools

import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _varying

BLOCK_BYTES = 1 << 17  # of scores that a CPU counts at a time, so that a core's cache holds them
PLACES = 32  # of every history that an accelerator counts at a time, in one kernel
HALF = 16  # bits of each of the two numbers that one sum counts, of up to 65,535 scores


def above_and_upto(scores: Array, own: Array, lengths: Array) -> tuple[Array, Array]:
    """How many of ``scores [R, I]`` are above, and not below, each of ``own [R, L]``.

    Of each user the first ``lengths [R]`` places are counted, and 0 is returned for the others,
    but for those that a longer history of another user reaches.

    Returns:
      ``[R, L]`` int32 each.

    Example:
      >>> scores, own = jnp.array([[3.0, 1.0, 2.0, 2.0]]), jnp.array([[2.0]])
      >>> [x.tolist() for x in above_and_upto(scores, own, jnp.array([1]))]
      [[[1]], [[3]]]
    """
    places = min(PLACES, max(1, own.shape[1]))
    many = functools.partial(_count, places=places)
    return lax.platform_dependent(scores, own, lengths, cpu=_in_blocks, default=many)


def _in_blocks(scores: Array, own: Array, lengths: Array) -> tuple[Array, Array]:
    """Counts for some users at a time, whose scores a cache of the CPU holds."""
    size = max(1, BLOCK_BYTES // (scores.dtype.itemsize * max(1, scores.shape[1])))
    size = 1 << size.bit_length() - 1
    if len(scores) % size:
        return _count(scores, own, lengths, places=1)
    blocks = [x.reshape(-1, size, *x.shape[1:]) for x in (scores, own, lengths)]
    found = lax.map(lambda block: _count(*block, places=1), tuple(blocks))
    return tuple(x.reshape(own.shape) for x in found)


def _count(scores: Array, own: Array, lengths: Array, *, places: int) -> tuple[Array, Array]:
    """Counts for so many places of every history at a time."""
    most = (1 << HALF) - 1
    parts = [scores[:, None, start : start + most] for start in range(0, scores.shape[1], most)]
    wide = jnp.pad(own, ((0, 0), (0, -own.shape[1] % places)))

    def add(block: Array, counts: Array) -> Array:
        score = lax.dynamic_slice_in_dim(wide, block * places, places, axis=1)[:, :, None]
        above = upto = jnp.zeros(score.shape[:2], jnp.uint32)
        for part in parts:
            # one sum of both: XLA for CPUs reduces to two results much slower than to one
            equal = (part == score).astype(jnp.uint32)
            both = jnp.where(part > score, jnp.uint32(1 << HALF | 1), equal)
            both = jnp.sum(both, axis=2, dtype=jnp.uint32)
            above, upto = above + (both >> HALF), upto + (both & most)
        found = jnp.stack([above, upto]).astype(jnp.int32)
        return lax.dynamic_update_slice_in_dim(counts, found, block * places, axis=2)

    counts = jnp.zeros((2, *wide.shape), jnp.int32)
    counts = _varying.fori_loop(0, -(-jnp.max(lengths) // places), add, counts)
    above, upto = counts[:, :, : own.shape[1]]
    return above, upto
