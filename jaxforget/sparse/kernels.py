"""The two sparse kernels: sparse times dense, and scores at the observed pairs.

Both are bilinear and each is the other's derivative, so they are two primitives whose forward,
reverse and batching rules are written once, in terms of each other. Derivatives of any order and
mode, under ``jit``, ``lax.map`` or ``vmap``, are then products of the same two kinds, each with one
implementation for a CPU and one for accelerators.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget._jax import Primitive, ad, batching, lower_by_platform, vary_alike
from jaxforget.sparse import bodies
from jaxforget.types import Interactions


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
    return _bind(_spmm_p, values, dense, *indices(train), by=by, shape=shape_of(train))


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
    return _bind(_sddmm_p, left, right, *indices(train), shape=shape_of(train))


def _check(name: str, array: Array, shape: tuple[int, ...], dtype: Any) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"{name} must be {dtype}{list(shape)} for these interactions; "
            f"got {array.dtype}{list(array.shape)}"
        )


def shape_of(train: Interactions) -> tuple[int, int]:
    """The numbers of users and items: rows and columns of the sparse matrix."""
    return (train.n_users, train.n_items)


def indices(train: Interactions) -> tuple[Array, ...]:
    """What every body takes, as ``users, items, user_ptr, order, item_ptr, item_users``."""
    return (
        train.users,
        train.items,
        train.by_user.indptr,
        train.by_item.order,
        train.by_item.indptr,
        train.by_item.indices,
    )


def _bind(primitive: Primitive, *args: Array, **params: Any) -> Array:
    """Applies a primitive; its arguments then vary over the same axes of ``shard_map``."""
    return primitive.bind(*vary_alike(args), **params)


def _spmm_transpose(cotangent, values, dense, *indices, by, shape):
    """Transposed in the values, spmm is sddmm; in the dense matrix, spmm of the other side."""
    if ad.is_undefined_primal(values):
        left, right = (cotangent, dense) if by == "user" else (dense, cotangent)
        return (_bind(_sddmm_p, left, right, *indices, shape=shape), None, *[None] * 6)
    other = "item" if by == "user" else "user"
    return (None, _bind(_spmm_p, values, cotangent, *indices, by=other, shape=shape), *[None] * 6)


def _sddmm_transpose(cotangent, left, right, *indices, shape):
    """Transposed in either matrix, sddmm is spmm with the cotangents as values."""
    if ad.is_undefined_primal(left):
        left = _bind(_spmm_p, cotangent, right, *indices, by="user", shape=shape)
        return (left, None, *[None] * 6)
    right = _bind(_spmm_p, cotangent, left, *indices, by="item", shape=shape)
    return (None, right, *[None] * 6)


def _bilinear_jvp(primitive, primals, tangents, **params):
    """The product rule. JAX calls it only if one tangent at least is not zero."""
    (a, b, *indices), (da, db, *_) = primals, tangents
    out = _bind(primitive, a, b, *indices, **params)
    terms = []
    if type(da) is not ad.Zero:
        terms.append(_bind(primitive, da, b, *indices, **params))
    if type(db) is not ad.Zero:
        terms.append(_bind(primitive, a, db, *indices, **params))
    return out, functools.reduce(jnp.add, terms)


def _batch(primitive, general, args, dims, **params):
    """Batches by a loop over the CPU's body on a CPU, by one larger matrix elsewhere."""
    size = next(x.shape[d] for x, d in zip(args, dims) if d is not None)
    moved = [x if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(args, dims)]
    mapped = [d is not None for d in dims]

    def all_of(batched):
        batched = iter(batched)
        return [next(batched) if m else x for x, m in zip(moved, mapped)]

    def loop(*batched):
        return lax.map(lambda one: _bind(primitive, *all_of(one), **params), batched)

    def wide(*batched):
        pairs = zip(all_of(batched), mapped)
        several = [x if m else jnp.broadcast_to(x, (size, *x.shape)) for x, m in pairs]
        return bodies.block_diagonal(general, several, **params)

    batched = [x for x, m in zip(moved, mapped) if m]
    return lax.platform_dependent(*batched, cpu=loop, default=wide), 0


def _primitive(
    name: str,
    on_cpu: Callable,
    general: Callable,
    out_aval: Callable,
    transpose: Callable,
    on_tpu: Callable | None = None,
) -> Primitive:
    """Registers a bilinear operation with every rule that JAX may ask for."""
    primitive = Primitive(name)
    primitive.def_abstract_eval(out_aval)
    lower_by_platform(primitive, on_cpu=on_cpu, general=general, on_tpu=on_tpu)
    compiled = jax.jit(primitive.bind, static_argnames=("by", "shape"))

    def evaluate(*args, **params):
        with jax.disable_jit(False):  # a compiled program is the only way to evaluate it
            return compiled(*args, **params)

    primitive.def_impl(evaluate)
    ad.primitive_jvps[primitive] = functools.partial(_bilinear_jvp, primitive)
    ad.primitive_transposes[primitive] = transpose
    batching.primitive_batchers[primitive] = functools.partial(_batch, primitive, general)
    return primitive


def _spmm_aval(values, dense, *indices, by, shape):
    return dense.update(shape=(shape[0] if by == "user" else shape[1], dense.shape[1]))


def _sddmm_aval(left, right, users, *indices, shape):
    return left.update(shape=users.shape)


_spmm_p = _primitive(
    "jaxforget_spmm", bodies.spmm_csr, bodies.spmm_segment, _spmm_aval, _spmm_transpose
)

_sddmm_p = _primitive(
    "jaxforget_sddmm",
    bodies.sddmm_chunked,
    bodies.sddmm_gathered,
    _sddmm_aval,
    _sddmm_transpose,
    on_tpu=bodies.sddmm_in_blocks,
)
