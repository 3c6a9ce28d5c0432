"""The two sparse kernels: sparse times dense, and scores at the observed pairs.

Both are bilinear and each is the other's derivative, so they are two primitives whose forward,
reverse and batching rules are written once, in terms of each other. Whatever calculus asks for
(reverse, forward over reverse, under ``jit``, ``lax.map`` or ``vmap``) stays on the fast bodies.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget._jax import Primitive, ad, batching, csr_product, mlir
from jaxforget.types import Interactions

# One block of gathered rows of the CPU gather-dot: small enough for the last-level cache together with
# its partner, large enough that XLA deals it to every core; blocks of 0.5 MB take 1.5 to 2 times as long.
BLOCK_BYTES = 1 << 22

# columns from which the CPU's CSR kernel is fast: fewer take five times as long as eight
NARROW = 8


@functools.partial(jax.jit, static_argnames="by")
def spmm(train: Interactions, values: Array, dense: Array, *, by: str) -> Array:
    """Multiplies the sparse matrix of the interactions with a dense one.

    ``by="user"``: ``out[u] = sum_{n: users[n] = u} values[n] * dense[items[n]]``;
    ``by="item"`` is the transpose. A value of 0 changes nothing: forgotten equals never loaded.

    Args:
      train: the interactions; only their positions are used, ``train.values`` is not.
      values: ``[N]`` the entries of the sparse matrix, in the order of ``train``.
      dense: ``[I, D]`` for ``by="user"``, ``[U, D]`` for ``by="item"``; dtype of ``values``.
      by: ``"user"`` or ``"item"``.

    Returns:
      ``[U, D]`` or ``[I, D]``. On a CPU the sum runs in a fixed order, so it is bit-stable.

    Raises:
      ValueError: ``by`` is neither, or a shape or dtype does not fit.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 1, 1], [1, 0, 1], [0.0, 0.0, 0.0])
      >>> spmm(train, jnp.array([1.0, 2.0, 0.0]), jnp.eye(2), by="user").tolist()
      [[0.0, 1.0], [2.0, 0.0]]
    """
    if by not in ("user", "item"):
        raise ValueError(f"by must be 'user' or 'item'; got {by!r}")
    rows = train.n_items if by == "user" else train.n_users
    _check("values", values, train.users.shape, dense.dtype)
    _check("dense", dense, (rows, *dense.shape[1:2]), values.dtype)
    return _spmm_p.bind(values, dense, *_indices(train), by=by, shape=_shape(train))


@jax.jit
def sddmm(train: Interactions, left: Array, right: Array) -> Array:
    """Scores every interaction: ``out[n] = left[users[n]] . right[items[n]]``.

    Args:
      train: the interactions; only their positions are used.
      left: ``[U, D]``.
      right: ``[I, D]``, same dtype.

    Returns:
      ``[N]`` in the order of ``train``.

    Raises:
      ValueError: a shape or dtype does not fit.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 1], [1, 0], [0.0, 0.0])
      >>> sddmm(train, jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [5.0]])).tolist()
      [5.0, 6.0]
    """
    _check("left", left, (train.n_users, *left.shape[1:2]), right.dtype)
    _check("right", right, (train.n_items, *left.shape[1:2]), left.dtype)
    return _sddmm_p.bind(left, right, *_indices(train), shape=_shape(train))


def _check(name, array, shape, dtype):
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"{name} must be {dtype}{list(shape)} for these interactions; "
            f"got {array.dtype}{list(array.shape)}"
        )


def _shape(train):
    return (train.n_users, train.n_items)


def _indices(train):
    return (
        train.users,
        train.items,
        train.by_user.indptr,
        train.by_item.order,
        train.by_item.indptr,
        train.by_item.indices,
    )


def _spmm_csr(values, dense, users, items, user_ptr, order, item_ptr, item_users, *, by, shape):
    width = dense.shape[1]
    if 0 < width < NARROW:
        dense = jnp.pad(dense, ((0, 0), (0, NARROW - width)))
    if by == "user":
        out = csr_product(values, items, user_ptr, dense, shape=shape)
    else:
        values = take(values, order)
        out = csr_product(values, item_users, item_ptr, dense, shape=shape[::-1])
    return out[:, :width]


def _spmm_segment(values, dense, users, items, user_ptr, order, item_ptr, item_users, *, by, shape):
    if by == "user":
        terms, rows, n_rows = values[:, None] * dense[items], users, shape[0]
    else:  # in item order, so that the segments are sorted
        terms, n_rows = values[order][:, None] * dense[item_users], shape[1]
        rows = items[order]
    return jax.ops.segment_sum(terms, rows, num_segments=n_rows, indices_are_sorted=True)


def _sddmm_chunked(left, right, users, items, user_ptr, *indices, shape):
    """Chunk by chunk as far as there are interactions; 0 in places that ``compact`` emptied."""
    n, width = len(users), left.shape[1]
    if (
        20 < width < 52
    ):  # gathers of such rows do not vectorise; those of 64 take a third of the time
        left, right = (jnp.pad(side, ((0, 0), (0, 64 - width))) for side in (left, right))
    size, ones = min(_chunk(left), n), jnp.ones((left.shape[1], 1), left.dtype)

    def dots(k, out):
        # the last chunk overlaps the one before: a rest of its own size costs twice the whole loop
        first = jnp.minimum(k * size, n - size)
        own = (lax.dynamic_slice(x, (first,), (size,)) for x in (users, items))
        met, others = (take(side, index) for side, index in zip((left, right), own))
        others = lax.optimization_barrier(others)  # two gathers in one loop vectorise less well
        # a product with ones: XLA's CPU reduction over the last axis is four times slower
        return lax.dynamic_update_slice(out, ((met * others) @ ones)[:, 0], (first,))

    out = jnp.zeros(n, left.dtype)
    return lax.fori_loop(0, -(-user_ptr[-1] // size), dots, out) if n else out


def _chunk(rows):
    """Pairs per step: the largest power of two whose gathered rows fit a block."""
    row = max(rows.shape[1], 1) * rows.dtype.itemsize
    return 1 << max(BLOCK_BYTES // row, 1).bit_length() - 1


def take(array, index):
    """Gathers without the bounds checks that keep XLA's CPU gather from vectorising."""
    return array.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _sddmm_gather(left, right, users, items, *indices, shape):
    return jnp.einsum("nd,nd->n", left[users], right[items], precision="highest")


def _spmm_for(by, shape, values, dense, indices):
    return _spmm_p.bind(values, dense, *indices, by=by, shape=shape)


def _spmm_transpose(ct, values, dense, *indices, by, shape):
    if ad.is_undefined_primal(values):
        left, right = (ct, dense) if by == "user" else (dense, ct)
        return (_sddmm_p.bind(left, right, *indices, shape=shape), None, *[None] * 6)
    other = "item" if by == "user" else "user"
    return (None, _spmm_for(other, shape, values, ct, indices), *[None] * 6)


def _sddmm_transpose(ct, left, right, *indices, shape):
    if ad.is_undefined_primal(left):
        return (_spmm_for("user", shape, ct, right, indices), None, *[None] * 6)
    return (None, _spmm_for("item", shape, ct, left, indices), *[None] * 6)


def _bilinear_jvp(primitive, primals, tangents, **params):
    (a, b, *indices), (da, db, *_) = primals, tangents
    out = primitive.bind(a, b, *indices, **params)
    terms = []
    if type(da) is not ad.Zero:
        terms.append(primitive.bind(da, b, *indices, **params))
    if type(db) is not ad.Zero:
        terms.append(primitive.bind(a, db, *indices, **params))
    return out, functools.reduce(
        jnp.add, terms
    )  # JAX calls this rule only if one tangent is not zero


def _batch(primitive, fast, general, args, dims, **params):
    """Batches by a loop over the fast body on a CPU, by one wide call elsewhere."""
    size = next(x.shape[d] for x, d in zip(args, dims) if d is not None)
    moved = [x if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(args, dims)]
    mapped = [d is not None for d in dims]

    def one(batched):
        batched = iter(batched)
        return primitive.bind(*[next(batched) if m else x for x, m in zip(moved, mapped)], **params)

    def loop(*batched):
        return lax.map(one, batched)

    def wide(*batched):
        def body(*batched):
            batched = iter(batched)
            return general(*[next(batched) if m else x for x, m in zip(moved, mapped)], **params)

        return jax.vmap(body, axis_size=size)(*batched)

    batched = [x for x, m in zip(moved, mapped) if m]
    return lax.platform_dependent(*batched, cpu=loop, default=wide), 0


def _primitive(name, fast, general, out_aval, transpose):
    primitive = Primitive(name)
    primitive.def_abstract_eval(out_aval)
    mlir.register_lowering(primitive, mlir.lower_fun(general, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(fast, multiple_results=False), platform="cpu")
    primitive.def_impl(
        lambda *args, **params: jax.jit(lambda *a: primitive.bind(*a, **params))(*args)
    )
    ad.primitive_jvps[primitive] = functools.partial(_bilinear_jvp, primitive)
    ad.primitive_transposes[primitive] = transpose
    batching.primitive_batchers[primitive] = functools.partial(_batch, primitive, fast, general)
    return primitive


def _spmm_aval(values, dense, *indices, by, shape):
    return dense.update(shape=(shape[0] if by == "user" else shape[1], dense.shape[1]))


def _sddmm_aval(left, right, users, *indices, shape):
    return left.update(shape=users.shape)


_spmm_p = _primitive("jaxforget_spmm", _spmm_csr, _spmm_segment, _spmm_aval, _spmm_transpose)

_sddmm_p = _primitive(
    "jaxforget_sddmm", _sddmm_chunked, _sddmm_gather, _sddmm_aval, _sddmm_transpose
)
