"""Gradient flow on a quadratic, for as long as training of a model that stopped early lasted."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget.gradient.vectors import dot
from jaxforget.sparse.arithmetic import ratio

POWER_STEPS = 8  # of the power iteration that bounds the step size
HEADROOM = 1.3  # over its estimate, which comes from below; steps up to twice as long are stable


def duration(ridge: Array, bend: Array) -> Array:
    """Finds how long training lasted: ``T = log(1 + bend / ridge) / bend``; 1 / ridge if flat.

    A flow from 0 along a direction of curvature ``bend`` has, after ``T``, the slope that
    ``ridge = bend / (e^(bend T) - 1)`` would hold in balance: ``damping.implied_ridge`` read as a
    time. Infinite where the ridge is 0: training had converged.

    Args:
      ridge: implied by the slope along the parameters, in units of ``scale``.
      bend: ``<p, H p> / <p, scale p>``; more than ``-ridge``.

    Example:
      >>> round(float(duration(jnp.array(0.5), jnp.array(1.0))), 4)  # e^T = 1 + 1 / 0.5
      1.0986
    """
    safe = jnp.where(ridge > 0, ridge, 1)
    ratio = jnp.maximum(bend / safe, -0.999)
    flat = jnp.abs(ratio) < 1e-4
    grown = jnp.where(flat, 1 - ratio / 2, jnp.log1p(ratio) / jnp.where(flat, 1, ratio))
    return jnp.where(ridge > 0, grown / safe, jnp.inf)


def largest_curvature(matvec: Callable[[Any], Any], *, scale: Any, start: Any) -> Array:
    """Estimates the largest curvature in units of ``scale``, from below; 1 where none is met."""

    def unit(x):
        size = jnp.sqrt(dot(x, x, scale=scale))
        return jax.tree.map(lambda v: ratio(v, size), x), size

    def power(_, carry):
        return unit(jax.tree.map(jnp.divide, matvec(carry[0]), scale))

    _, top = _varying.fori_loop(0, POWER_STEPS, power, unit(start))
    return jnp.where(top > 0, top, 1)


def run(
    matvec: Callable[[Any], Any],
    rhs: Any,
    *,
    scale: Any,
    start: Any,
    duration: Array | float,
    n_steps: int,
) -> tuple[Any, dict[str, Array]]:
    """Follows ``scale x' = rhs - A x`` from 0 for the duration: ``x = (1 - e^(-T A)) A^-1 rhs``.

    Where ``A`` bends strongly this is its inverse, where it hardly bends ``T rhs``. A direction
    that bends downwards by ``b`` grows by ``e^(T b)``, as in training: finite, where a linear
    system would need damping above ``b``. Explicit steps, as few as are stable: ``T`` times the
    largest curvature. That is estimated; a step along which the energy ``x'A x / 2 - rhs'x`` rises
    is taken back, and all further steps are half as long.

    Args:
      matvec: ``x -> A x``, symmetric; definite or not.
      scale: pytree of positive numbers that broadcasts against ``rhs``.
      start: like ``rhs``, where the search for the largest curvature begins.
      n_steps: at most so many; a longer flow is cut short there.

    Returns:
      ``x``, and ``iterations`` (products, those of the search included), ``duration`` (as run) and
      ``top_curvature``. A right-hand side of 0 gives exactly 0.

    Example:
      >>> a = jnp.diag(jnp.array([0.0, 4.0]))
      >>> one = jnp.ones(2)
      >>> x, _ = run(lambda v: a @ v, one, scale=one, start=one, duration=2.0, n_steps=50)
      >>> [round(float(v), 2) for v in x]
      [2.0, 0.25]
    """

    top = HEADROOM * largest_curvature(matvec, scale=scale, start=start)
    wanted = jnp.clip(jnp.ceil(duration * top), 1, n_steps)
    length = jnp.minimum(duration / wanted, 1 / top)

    def unfinished(carry):
        *_, left, n = carry
        return (left > 0) & (n < n_steps)

    def step(carry):
        x, slope, most, left, n = carry
        part = jnp.minimum(most, left)
        there = jax.tree.map(lambda x, s, m: x + part * s / m, x, slope, scale)
        beyond = jax.tree.map(jnp.subtract, rhs, matvec(there))
        per = jax.tree.map(lambda m: 1 / m, scale)
        stable = dot(slope, beyond, scale=per) >= -dot(slope, slope, scale=per)  # the energy fell
        x, slope = jax.tree.map(
            lambda new, old: jnp.where(stable, new, old), (there, beyond), (x, slope)
        )
        # rounding must not leave a last step of nothing
        rest = jnp.where(left - part < part * 1e-3, 0, left - part)
        left = jnp.where(stable, rest, left)
        return x, slope, jnp.where(stable, most, most / 2), left, n + 1

    run = jnp.minimum(wanted * length, n_steps * length)
    start = (jax.tree.map(jnp.zeros_like, rhs), rhs, length, run, jnp.zeros((), jnp.int32))
    x, _, _, left, n = _varying.while_loop(unfinished, step, start)
    return x, {
        "iterations": n + POWER_STEPS,
        "duration": run - left,
        "top_curvature": top / HEADROOM,
    }
