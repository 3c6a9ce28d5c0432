"""Shares as the fractions that were meant, so that 0.07 of 100 is 7."""

import math
from fractions import Fraction
from typing import overload

import jax.numpy as jnp
from jax import Array

from jaxforget import _varying

MOST = 10**9  # of a denominator: three of it fit in 32 bits


def exact(share: float | Fraction) -> Fraction:
    """The decimal that a share was written as; a fraction is one already.

    Example:
      >>> exact(0.7) + exact(0.1) == exact(0.8), 0.7 + 0.1 == 0.8
      (True, False)
    """
    if isinstance(share, Fraction):
        return share
    return Fraction(float(share)).limit_denominator(MOST)


@overload
def part(share: float, n: int) -> int: ...
@overload
def part(share: float, n: Array) -> Array: ...
def part(share: float, n: int | Array) -> int | Array:
    """A share, in (0, 1], of ``n`` rounded up, exactly; at least 1 of them if any.

    ``n`` is a Python number or, traced too, int32.

    Example:
      >>> part(0.07, 100), math.ceil(0.07 * 100)
      (7, 8)
    """
    if isinstance(n, int):
        return max(min(1, n), math.ceil(exact(share) * n))
    return jnp.maximum(n - below(1 - exact(share), n), jnp.minimum(1, n))


def below(share: float | Fraction, n: Array) -> Array:
    """A share, in [0, 1], of ``n`` rounded down, exactly; ``n`` may be traced.

    A long division, bit by bit: the product may need more than the 32 bits that there are.

    Args:
      share: a Python number, or a fraction with a denominator of at most ``MOST``.
      n: int32, 0 or more.

    Returns:
      int32, of the shape of ``n``.

    Example:
      >>> math.floor(0.29 * 100), int(below(0.29, jnp.array(100, jnp.int32)))
      (28, 29)
    """
    above, under = (jnp.uint32(x) for x in exact(share).as_integer_ratio())

    def digit(place: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        found, rest = state
        bit = (n.astype(jnp.uint32) >> jnp.asarray(30 - place, jnp.uint32)) & jnp.uint32(1)
        rest = 2 * rest + bit * above  # less than three times the denominator
        return 2 * found + rest // under, rest % under

    nothing = jnp.zeros(n.shape, jnp.uint32)
    found, _ = _varying.fori_loop(0, 31, digit, (nothing, nothing))
    return found.astype(jnp.int32)
