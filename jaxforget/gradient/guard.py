"""What keeps a step from leaving a model that is broken.

A step length, a rate or a damping that is too large for the data ends in parameters that are not
finite, or finite and far from anything trained. What remains to be learnt says so, and no label
that was forgotten, no validation and no test data need to be looked at.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget._settings import checked

ROOM = 2.0  # times the loss of knowing nothing: what is above has diverged, not merely forgotten
Retained = Callable[[Any], Array]  # params -> the loss of what remains, a scalar


def ceiling(retained: Retained, params: Any) -> Array:
    """The loss that nothing may end above: twice the larger of that at ``params`` and that at 0.

    With all parameters 0 a model knows nothing of anybody. A method may forget even more, but one
    that is confidently wrong about what remains was broken, not made to forget.
    """
    nothing = jax.tree.map(jnp.zeros_like, params)
    return ROOM * jnp.maximum(retained(params), retained(nothing))


def kept(
    retained: Retained, old: Any, new: Any, *, falling: bool = False
) -> tuple[Any, dict[str, Array]]:
    """Takes a step back whose loss of what remains is too high, or not finite.

    Args:
      retained: the loss of what remains.
      old: parameters before the step.
      new: parameters after it.
      falling: whether the loss has to be at most that at ``old``, as after a descent; otherwise it
        has to be at most the ``ceiling``.

    Returns:
      ``new`` or, where it is refused, ``old``; and ``guarded``, 1 where it was refused.

    Example:
      >>> away = jnp.array(jnp.inf)
      >>> params, info = kept(lambda x: (x - 1) ** 2, jnp.array(3.0), away)
      >>> float(params), int(info["guarded"])
      (3.0, 1)
    """
    most = retained(old) if falling else ceiling(retained, old)
    good = _finite(new) & (retained(new) <= most)
    params = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)
    return params, {"guarded": (~good).astype(jnp.int32)}


@checked
def climb(
    step: Callable[[Any], Any], retained: Retained, params: Any, *, n_steps: int
) -> tuple[Any, dict[str, Array]]:
    """Repeats a step that makes a model worse, and stops before the ``ceiling``.

    Args:
      step: ``params -> params``.
      retained: the loss of what remains; no point above its ``ceiling`` is returned.
      params: where to start.
      n_steps: static.

    Returns:
      the last good parameters, ``steps`` taken, and ``guarded``, 1 where fewer than ``n_steps``.
    """
    most = ceiling(retained, params)

    def once(n: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
        at, taken = carry
        there = step(at)
        good = (taken == n) & _finite(there) & (retained(there) <= most)
        at = jax.tree.map(lambda a, b: jnp.where(good, a, b), there, at)
        return at, taken + good.astype(jnp.int32)

    params, taken = _varying.fori_loop(0, n_steps, once, (params, jnp.zeros((), jnp.int32)))
    return params, {"steps": taken, "guarded": (taken < n_steps).astype(jnp.int32)}


def _finite(params: Any) -> Array:
    checks = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(params)]
    return jnp.all(jnp.stack(checks))
