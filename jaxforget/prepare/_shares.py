"""Shares as the fractions that were meant, so that 0.07 of 100 is 7."""

import math
from fractions import Fraction


def exact(share: float) -> Fraction:
    """The decimal that a share was written as.

    Example:
      >>> exact(0.7) + exact(0.1) == exact(0.8), 0.7 + 0.1 == 0.8
      (True, False)
    """
    return Fraction(float(share)).limit_denominator(10**9)


def part(share: float, n: int) -> int:
    """A share, in (0, 1], of ``n`` rounded up, exactly; at least 1 of them if any.

    Example:
      >>> part(0.07, 100), math.ceil(0.07 * 100)
      (7, 8)
    """
    return max(min(1, n), math.ceil(exact(share) * n))
