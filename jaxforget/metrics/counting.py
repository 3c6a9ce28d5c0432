"""Counts how many scores of a catalogue are above given ones: ranks without sorting."""

import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _varying

BLOCK_BYTES = 1 << 17  # of scores that a CPU counts at a time, so that a core's cache holds them
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
    return lax.platform_dependent(scores, own, lengths, cpu=_in_blocks, default=_at_once)


def _in_blocks(scores: Array, own: Array, lengths: Array) -> tuple[Array, Array]:
    """``_at_once`` of some users at a time, whose scores a cache of the CPU holds."""
    size = max(1, BLOCK_BYTES // (scores.dtype.itemsize * max(1, scores.shape[1])))
    size = 1 << size.bit_length() - 1
    if len(scores) % size:
        return _at_once(scores, own, lengths)
    blocks = [x.reshape(-1, size, *x.shape[1:]) for x in (scores, own, lengths)]
    found = lax.map(lambda block: _at_once(*block), tuple(blocks))
    return tuple(x.reshape(own.shape) for x in found)


def _at_once(scores: Array, own: Array, lengths: Array) -> tuple[Array, Array]:
    """``above_and_upto`` of all users together."""
    most = (1 << HALF) - 1
    parts = [scores[:, start : start + most] for start in range(0, scores.shape[1], most)]

    def rank(place, counts):
        """Counts, for the held-out item at one place of every history."""
        score = own[:, place][:, None]
        above = upto = jnp.zeros(len(own), jnp.uint32)
        for part in parts:
            # one sum of both: XLA for CPUs reduces to two results much slower than to one
            equal = (part == score).astype(jnp.uint32)
            both = jnp.where(part > score, jnp.uint32(1 << HALF | 1), equal)
            both = jnp.sum(both, axis=1, dtype=jnp.uint32)
            above, upto = above + (both >> HALF), upto + (both & most)
        found = jnp.stack([above, upto]).astype(jnp.int32)
        return lax.dynamic_update_index_in_dim(counts, found, place, axis=0)

    counts = jnp.zeros((own.shape[1], 2, len(own)), jnp.int32)
    counts = _varying.fori_loop(0, jnp.max(lengths), rank, counts)
    return counts[:, 0].T, counts[:, 1].T
