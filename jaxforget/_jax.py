"""The parts of jax in use that a release of jax may change: only this file imports them.

``tests/test_jax_seams.py`` has a test for each, which names the part that changed.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, export, lax
from jax.core import Tracer
from jax.custom_batching import custom_vmap
from jax.dtypes import prng_key
from jax.extend.core import Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

__all__ = [
    "Primitive",
    "ad",
    "axes_of",
    "batching",
    "csr_product",
    "custom_vmap",
    "is_prng_key",
    "is_traced",
    "jaxpr_as_fun",
    "lower_by_platform",
    "mlir",
    "serialisable",
    "vary_alike",
    "vary_over",
]

Kind = TypeVar("Kind", bound=type)


def csr_product(
    data: Array, indices: Array, indptr: Array, dense: Array, *, shape: tuple[int, int]
) -> Array:
    """Multiplies a matrix in compressed rows (CSR) with a dense one, by the kernel for CPUs.

    Args:
      data: ``[N]`` entries, row after row.
      indices: ``[N]`` int32, their columns.
      indptr: ``[rows + 1]`` int32, where each row starts.
      dense: ``[columns, D]``.
      shape: rows and columns of the sparse matrix.

    Returns:
      ``[rows, D]``.
    """
    from jax.experimental.sparse import BCSR  # takes 0.6 s to import: only where it is used

    return BCSR((data, indices, indptr), shape=shape) @ dense


def is_traced(*values: Any) -> bool:
    """Whether any of the values is known only when a compiled program runs."""
    return any(isinstance(value, Tracer) for value in values)


def is_prng_key(array: Any) -> bool:
    """Whether the array holds typed keys."""
    return jnp.issubdtype(array.dtype, prng_key)


def vary_alike(tree: Any, *others: Any) -> Any:
    """Marks arrays as varying over every axis of ``shard_map`` that any of the values varies over.

    What enters a loop must vary over the axes that its result varies over, and the branches of a
    condition over the same ones; most operations of jax see to that themselves, these do not.
    Outside ``shard_map`` nothing changes.

    Args:
      tree: the arrays to mark.
      others: what else the values they will be replaced by, or stand beside, depend on.
    """
    axes = frozenset().union(*map(axes_of, jax.tree.leaves((tree, others))))
    return jax.tree.map(lambda array: vary_over(array, axes), tree)


def vary_over(array: Any, axes: frozenset[Any]) -> Any:
    """Marks an array as varying over some axes of ``shard_map``; it keeps those it has."""
    missing = tuple(axes - axes_of(array))
    return lax.pcast(array, missing, to="varying") if missing else array


def axes_of(value: Any) -> frozenset[Any]:
    """The axes of ``shard_map`` over which a value differs between devices.

    Args:
      value: an array, or the type of one.
    """
    kind = value if hasattr(value, "mat") else jax.typeof(value)
    return kind.mat.varying


def lower_by_platform(
    primitive: Primitive, *, on_cpu: Callable, general: Callable, on_tpu: Callable | None = None
) -> None:
    """States how a primitive is computed: by a function for CPUs, one for all else, or for TPUs.

    ``jax.export`` takes the general one on a CPU too: it refuses calls into a library that may
    change with the next release, such as the sparse kernel for CPUs.
    """
    lowering, cpu = (mlir.lower_fun(f, multiple_results=False) for f in (general, on_cpu))

    def choose(context: Any, *args: Any, **params: Any) -> Any:
        exported = context.module_context.lowering_parameters.for_export
        return (lowering if exported else cpu)(context, *args, **params)

    mlir.register_lowering(primitive, lowering)
    mlir.register_lowering(primitive, choose, platform="cpu")
    if on_tpu is not None:
        on_tpu = mlir.lower_fun(on_tpu, multiple_results=False)
        mlir.register_lowering(primitive, on_tpu, platform="tpu")


def serialisable(kind: Kind) -> Kind:
    """Lets ``jax.export`` write programs that take or return a NamedTuple or a dataclass."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    if hasattr(kind, "_fields"):
        export.register_namedtuple_serialization(kind, serialized_name=name)
    else:
        export.register_pytree_node_serialization(
            kind,
            serialized_name=name,
            serialize_auxdata=lambda static: json.dumps(static).encode(),
            deserialize_auxdata=lambda text: _tuples(json.loads(text)),
        )
    return kind


def _tuples(value: Any) -> Any:
    """The tuples that JSON wrote as lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
