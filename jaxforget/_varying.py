"""Loops, conditions and gradients that may stand inside ``shard_map``.

There the type of a value says over which axes of the mesh it differs between devices. jax refuses
a loop whose start is the same everywhere while its body's result is not, and a condition whose
branches differ so; and the gradient by what is the same everywhere is added up over the devices,
as if their losses were one. The functions here take the arguments of those in jax and mark what is
missing, so that every device computes what it would compute alone. Outside ``shard_map`` they are
those of jax.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget._jax import axes_of, jaxpr_as_fun, vary_over


def while_loop(unfinished: Callable[[Any], Array], step: Callable[[Any], Any], start: Any) -> Any:
    """``lax.while_loop``."""
    if _inside():
        start, step = _settled(step, start, unfinished)
    return lax.while_loop(unfinished, step, start)


def fori_loop(
    first: int | Array, end: int | Array, step: Callable[[Any, Any], Any], start: Any
) -> Any:
    """``lax.fori_loop``."""
    if _inside():
        count = first  # of the type that the loop gives it
        if not isinstance(first, int) or not isinstance(end, int):
            count = jnp.asarray(first, jnp.result_type(first, end))
        start, step = _settled(step, start, lambda *_: (first, end), count)
    return lax.fori_loop(first, end, step, start)


def cond(chosen: Any, yes: Callable, no: Callable, *operands: Any) -> Any:
    """``lax.cond``."""
    return lax.cond(chosen, *_alike([yes, no], operands, chosen), *operands)


def switch(index: Array, branches: list[Callable], *operands: Any) -> Any:
    """``lax.switch``."""
    return lax.switch(index, _alike(branches, operands, index), *operands)


def grad(loss: Callable[..., Array]) -> Callable[..., Any]:
    """``jax.grad``, by the first argument."""
    return lambda params, *more: jax.grad(loss)(_as_result(loss, params, more), *more)


def value_and_grad(loss: Callable[..., Array]) -> Callable[..., tuple[Array, Any]]:
    """``jax.value_and_grad``, by the first argument."""
    return lambda params, *more: jax.value_and_grad(loss)(_as_result(loss, params, more), *more)


def _as_result(function: Callable[..., Any], first: Any, more: tuple) -> Any:
    """The first argument, marked as the function's result is."""
    if not _inside():
        return first
    axes = frozenset().union(*_traced(function, first, *more)[1])
    return jax.tree.map(lambda leaf: vary_over(leaf, axes), first)


def _inside() -> bool:
    """Whether this is traced inside ``shard_map``."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def _settled(
    step: Callable[..., Any], start: Any, decides: Callable[..., Any], *count: int | Array
) -> tuple[Any, Callable[..., Any]]:
    """The start, marked until a step changes none of its marks, and that step.

    Args:
      decides: what the number of steps depends on.
      count: what ``step`` takes before the value.
    """
    while True:
        often = frozenset().union(*_traced(decides, *count, start)[1])
        leaves, tree = jax.tree.flatten(start)
        traced, found = _traced(step, *count, start)
        wanted = [axes | often for axes in found]
        if all(axes <= axes_of(leaf) for leaf, axes in zip(leaves, wanted, strict=True)):
            return start, traced
        start = tree.unflatten(map(vary_over, leaves, wanted))


def _alike(branches: list[Callable], operands: tuple, choice: Any) -> list[Callable]:
    """The branches, with the marks of all of them and of what chooses among them."""
    if not _inside():
        return branches
    runs, found = zip(*(_traced(branch, *operands) for branch in branches), strict=True)
    wanted = [frozenset().union(axes_of(choice), *axes) for axes in zip(*found, strict=True)]

    def marked(branch):
        def run(*args):
            leaves, tree = jax.tree.flatten(branch(*args))
            return tree.unflatten(map(vary_over, leaves, wanted))

        return run

    return [marked(run) for run in runs]


def _traced(function: Callable, *args: Any) -> tuple[Callable, list[frozenset[Any]]]:
    """The function, and over which axes each array of its result differs.

    What is returned is not traced from Python again: else a loop within loops would be, three times
    for each loop around it.
    """
    traced, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    tree = jax.tree.structure(shapes)

    def run(*args: Any) -> Any:
        return tree.unflatten(jaxpr_as_fun(traced)(*jax.tree.leaves(args)))

    return run, [axes_of(result) for result in traced.out_avals]
