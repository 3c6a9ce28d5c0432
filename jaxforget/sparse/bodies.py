"""What the two sparse kernels compute: one body for a CPU, one for accelerators.

Every body takes the arrays of ``kernels.indices`` as positional arguments and the numbers of users
and items as ``shape``; ``kernels.spmm`` and ``kernels.sddmm`` say what the result is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _varying
from jaxforget._jax import csr_product
from jaxforget.sparse import layout
from jaxforget.sparse.arithmetic import gather

# Bytes of the rows that one step of sddmm on a CPU gathers from each side: two such blocks fit the
# last-level cache, and one is large enough for XLA to share among all cores. Blocks of 0.5 MB take
# 1.5 to 2 times as long.
BLOCK_BYTES = 1 << 22

# Likewise on a TPU, which writes the gathered rows to its memory: a block is small beside that and
# large enough to keep it busy.
TPU_BLOCK_BYTES = 1 << 26

# Dense matrices of fewer columns are padded to this many for the CPU's CSR kernel, which takes five
# times as long without.
MIN_COLUMNS = 8

# On a CPU, gathers of rows of more than 20 and fewer than 52 columns do not vectorise: they take
# three times as long as those of 64 columns, to which sddmm pads them.
SLOW_COLUMNS, PADDED_COLUMNS = range(21, 52), 64


def spmm_csr(
    values: Array,
    dense: Array,
    users: Array,
    items: Array,
    user_ptr: Array,
    order: Array,
    item_ptr: Array,
    item_users: Array,
    *,
    by: str,
    shape: tuple[int, int],
) -> Array:
    """The CPU's product with a matrix in compressed rows."""
    width = dense.shape[1]
    if 0 < width < MIN_COLUMNS:
        dense = jnp.pad(dense, ((0, 0), (0, MIN_COLUMNS - width)))
    if by == "user":
        out = csr_product(values, items, user_ptr, dense, shape=shape)
    else:
        values = gather(values, order)
        out = csr_product(values, item_users, item_ptr, dense, shape=(shape[1], shape[0]))
    return out[:, :width]


def spmm_segment(
    values: Array,
    dense: Array,
    users: Array,
    items: Array,
    user_ptr: Array,
    order: Array,
    item_ptr: Array,
    item_users: Array,
    *,
    by: str,
    shape: tuple[int, int],
) -> Array:
    """The accelerator's sum over sorted segments."""
    if by == "user":
        terms, rows, n_rows = values[:, None] * dense[items], users, shape[0]
    else:  # in item order, so that the segments are sorted
        terms, n_rows = values[order][:, None] * dense[item_users], shape[1]
        rows = items[order]
    return jax.ops.segment_sum(terms, rows, num_segments=n_rows, indices_are_sorted=True)


def block_diagonal(
    body: Callable, several: Sequence[Array], *, shape: tuple[int, int], **params: Any
) -> Array:
    """Applies a body for accelerators to ``B`` sparse matrices as to one of ``B`` blocks.

    A GPU sums a batch 130 times as fast so as by ``vmap``, which does not tell XLA that
    the segments are sorted (NVIDIA H200, 64 tables of 35,000 interactions, 64 columns).

    Args:
      body: ``spmm_segment`` or ``sddmm_gathered``.
      several: its arguments, each with a first axis of size ``B``.

    Returns:
      its results, with a first axis of size ``B``.
    """
    a, b, users, items, user_ptr, order, item_ptr, item_users = several
    size, n = users.shape
    if size * max(n, *shape) > layout.LIMIT:  # more than int32 numbers: one by one
        return lax.map(lambda one: body(*one, shape=shape, **params), tuple(several))
    block = jnp.arange(size, dtype=jnp.int32)[:, None]

    def moved(ids: Array, step: int) -> Array:
        return (ids + step * block).reshape(-1)

    # where rows begin is read by the bodies of a CPU alone, and stays
    out = body(
        *(x.reshape(-1, *x.shape[2:]) for x in (a, b)),
        *(moved(ids, step) for ids, step in ((users, shape[0]), (items, shape[1]))),
        user_ptr, moved(order, n), item_ptr, moved(item_users, shape[0]),
        shape=(size * shape[0], size * shape[1]), **params,
    )  # fmt: skip
    return out.reshape(size, len(out) // size, *out.shape[1:])


def sddmm_chunked(
    left: Array,
    right: Array,
    users: Array,
    items: Array,
    user_ptr: Array,
    *indices: Array,
    shape: tuple[int, int],
) -> Array:
    """The CPU's scores, chunk by chunk; padding of ``compact``, at the end, is not visited: 0."""
    n, width = len(users), left.shape[1]
    if width in SLOW_COLUMNS:
        left, right = (jnp.pad(x, ((0, 0), (0, PADDED_COLUMNS - width))) for x in (left, right))
    size = min(_chunk_size(left, BLOCK_BYTES), n)
    ones = jnp.ones((left.shape[1], 1), left.dtype)

    def dots(user_ids, item_ids):
        user_rows, item_rows = gather(left, user_ids), gather(right, item_ids)
        # The barrier keeps the two gathers in two loops; fused into one they vectorise less well.
        item_rows = lax.optimization_barrier(item_rows)
        # The product with ones sums rows; XLA's CPU reduction over the last axis is 4 times slower.
        return ((user_rows * item_rows) @ ones)[:, 0]

    if not n:
        return jnp.zeros(0, left.dtype)
    return _by_block(dots, users, items, size, -(-user_ptr[-1] // size), left.dtype)


def _by_block(scores, users, items, size: int, n_blocks, dtype) -> Array:
    """``[N]`` scores of the pairs, ``size`` at a time; 0 where no block comes."""
    n = len(users)

    def block(k, out):
        # The last block overlaps the one before it: code for a shorter block of its own would make
        # the whole take three times as long on a CPU.
        first = jnp.minimum(k * size, n - size)
        ids = (lax.dynamic_slice(x, (first,), (size,)) for x in (users, items))
        return lax.dynamic_update_slice(out, scores(*ids), (first,))

    return _varying.fori_loop(0, n_blocks, block, jnp.zeros(n, dtype))


def _chunk_size(table: Array, block_bytes: int) -> int:
    """Pairs per chunk: the largest power of two whose gathered rows fit a block."""
    row = max(table.shape[1], 1) * table.dtype.itemsize
    return 1 << max(block_bytes // row, 1).bit_length() - 1


def sddmm_gathered(
    left: Array,
    right: Array,
    users: Array,
    items: Array,
    *indices: Array,
    shape: tuple[int, int],
) -> Array:
    """The accelerator's scores: two gathers and a reduction that XLA fuses."""
    return jnp.einsum("nd,nd->n", left[users], right[items], precision="highest")


def sddmm_in_blocks(
    left: Array,
    right: Array,
    users: Array,
    items: Array,
    *indices: Array,
    shape: tuple[int, int],
) -> Array:
    """The TPU's scores: those of an accelerator, block by block, as it holds what it gathers."""
    n, size = len(users), _chunk_size(left, TPU_BLOCK_BYTES)
    if n <= size:
        return sddmm_gathered(left, right, users, items, shape=shape)

    def scores(user_ids, item_ids):
        return sddmm_gathered(left, right, user_ids, item_ids, shape=shape)

    return _by_block(scores, users, items, size, -(-n // size), left.dtype)
