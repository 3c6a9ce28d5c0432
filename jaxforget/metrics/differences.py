"""How far two outcomes of a method are apart: what is served, and the state behind it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from jaxforget._jax import is_prng_key
from jaxforget.metrics.distance import prediction_distance
from jaxforget.types import Factors

Axes = list[tuple[int, ...]]  # of each part of a state, those over interactions


class Stage(NamedTuple):
    """What there is after a request."""

    state: Any
    served: Factors


class Gap(NamedTuple):
    """How far two outcomes are apart: what is served, and the state behind it."""

    distance: float  # relative, of all predictions; 0 where the factors are equal bit for bit
    bitwise: bool  # neither the factors nor the state differ in a bit
    state: Mapping[str, float] = {}  # relative difference of each part of the state

    @property
    def worst(self) -> float:
        """The largest difference of predictions and state; NaN if any is."""
        return float(np.max([self.distance, *self.state.values()]))


def distance(a: Factors, b: Factors) -> float:
    """Relative distance of all predictions, 0 for equal bits; infinite for other shapes."""
    if any(x.shape[0] != y.shape[0] for x, y in zip(a, b)):
        return float("inf")
    equal = all(np.array_equal(x, y) for x, y in zip(a, b))
    return 0.0 if equal else float(jax.jit(prediction_distance)(a, b))


def compare(other: Stage, own: Stage, axes: Axes | None = None, places: Array | None = None) -> Gap:
    """Compares two outcomes. ``places``: where the own interactions stand in the other one."""
    served = all(np.array_equal(x, y) for x, y in zip(other.served, own.served))
    apart = distance(other.served, own.served)
    leaves = jax.tree_util.tree_leaves_with_path(own.state)
    others, structure = jax.tree.flatten(other.state)
    if structure != jax.tree.structure(own.state):
        return Gap(apart, False, {"structure": float("inf")})
    state, same = {}, True
    for n, ((path, a), b) in enumerate(zip(leaves, others, strict=True)):
        a, b = (np.asarray(jax.random.key_data(x) if is_prng_key(x) else x) for x in (a, b))
        for axis in axes[n] if axes is not None else ():
            b = np.take(b, np.asarray(places), axis)
        name = jax.tree_util.keystr(path).lstrip(".") or "state"
        equal = np.array_equal(a, b)
        state[name], same = 0.0 if equal else _relative(a, b), same and equal
    return Gap(apart, served and same, state)


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    """``|b - a| / |a|``, or ``|b - a|`` where ``a`` is 0; infinite for other shapes."""
    if a.shape != b.shape:
        return float("inf")
    wide = complex if np.iscomplexobj(a) else float
    a, b = a.astype(wide), b.astype(wide)
    size = np.linalg.norm(a)
    return float(np.linalg.norm(b - a) / (size if size > 0 else 1))


def interaction_axes(own: Any, wider: Any, n: int, more: int) -> Axes:
    """Of each part of a state, the axes that padding made longer, from ``n`` to ``more``."""

    def axes(a, b):
        lengths = enumerate(zip(np.shape(a), np.shape(b)))
        return tuple(axis for axis, pair in lengths if pair == (n, more))

    return [axes(*pair) for pair in zip(jax.tree.leaves(own), jax.tree.leaves(wider))]


def largest(*states: Mapping[str, float]) -> dict[str, float]:
    """The largest number of each name; NaN if any is."""
    names = dict.fromkeys(name for state in states for name in state)
    return {
        name: float(np.max([state[name] for state in states if name in state])) for name in names
    }


def both(*gaps: Gap) -> Gap:
    """The worse of several differences, part by part."""
    apart = float(np.max([gap.distance for gap in gaps]))
    state = largest(*(gap.state for gap in gaps))
    return Gap(apart, all(gap.bitwise for gap in gaps), state)
