"""Variance components of nested random draws."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .intervals import LEAST


class Component(NamedTuple):
    """What one level of nested draws adds to the spread of a number."""

    value: float  # standard deviation; a negative estimate of its square counts as 0
    low: float  # of its 95 % interval; NaN of too few draws
    high: float
    n: int  # draws of this level
    variance: float
    share: float  # of the sum of all variances; NaN where nothing varies
    freedom: int


def components(values: Sequence[float] | np.ndarray, *levels: Sequence[Any]) -> list[Component]:
    """Variance components of nested random draws: analysis of variance, by the method of moments.

    Every draw of a level has its own draws of the next one, of any number (Searle, Casella and
    McCulloch, Variance Components, 1992, section 5.3). What is negative is set to 0, so that small
    components are estimated too high in the mean. The interval is that of a difference of two mean
    squares by Ting, Burdick, Graybill, Jeyaratnam and Lu (J. Stat. Comput. Simul. 35, 1990); the
    mean square below a level is a synthesised one where the draws are unbalanced, with
    Satterthwaite's degrees of freedom, and the interval is approximate there.

    Args:
      values: finite numbers, one of each draw of the innermost level.
      levels: what a value was drawn under, from the outermost level to the last but one; equal
        labels under different labels of the level before are different draws.

    Returns:
      One component of each level, and last that of the values within them.

    Raises:
      ValueError: a level has no draws to compare within the level before, or values are missing.
    """
    found = np.asarray(values, float)
    if not np.isfinite(found).all() or any(len(level) != len(found) for level in levels):
        raise ValueError("components: values must be finite, with a label of every level each")
    groups = _nested(levels, len(found))
    counts = np.array([int(group.max(initial=-1)) + 1 for group in groups])
    freedom = np.diff(counts)
    if (freedom < 1).any():
        raise ValueError(
            "components: every level needs draws that differ within the one before; got "
            f"{counts.tolist()} draws from the whole to the values; leave a level out"
        )
    expected, squares = _mean_squares(found, groups, freedom)
    variances = np.linalg.solve(expected, squares)  # upper triangular: a level holds those below
    total, parts = float(np.maximum(variances, 0).sum()), []
    for level, n in enumerate(counts[1:]):
        variance = max(float(variances[level]), 0.0)
        below, below_freedom = _synthesised(expected, squares, freedom, level)
        ends = _ends((squares[level], below), (freedom[level], below_freedom))
        low, high = ends if n >= LEAST else (math.nan, math.nan)
        low, high = (math.sqrt(max(x / expected[level, level], 0.0)) for x in (low, high))
        share = variance / total if total > 0 else math.nan
        found_here = (math.sqrt(variance), low, high, int(n), variance, share, int(freedom[level]))
        parts.append(Component(*found_here))
    return parts


def _nested(levels: Sequence[Sequence[Any]], n: int) -> list[np.ndarray]:
    """Of each value, the number of its draw: of the whole, of each level, and its own."""
    groups = [np.zeros(n, int)]
    for level in levels:
        both = np.stack([groups[-1], np.unique(np.asarray(level), return_inverse=True)[1]])
        groups.append(np.unique(both, axis=1, return_inverse=True)[1].reshape(-1))
    return [*groups, np.arange(n)]


def _mean_squares(
    values: np.ndarray, groups: list[np.ndarray], freedom: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How often each variance is in the mean square of each level ``[L, L]``, and these ``[L]``."""
    centred = values - values.mean()
    sizes = [np.bincount(group) for group in groups]
    sums = [np.bincount(g, centred) ** 2 / size for g, size in zip(groups, sizes)]
    squares = np.diff([float(x.sum()) for x in sums])
    times = np.zeros((len(groups), len(groups) - 1))
    for outer, group in enumerate(groups):
        for inner in range(1, len(groups)):
            own = sizes[inner][groups[inner]] / sizes[outer][group]  # of each value
            times[outer, inner - 1] = own.sum()
    expected = np.triu(np.diff(times, axis=0)) / freedom[:, None]
    return expected, np.maximum(squares, 0.0) / freedom


def _synthesised(
    expected: np.ndarray, squares: np.ndarray, freedom: np.ndarray, level: int
) -> tuple[float, float]:
    """A mean square that has all of a level's but its own variance, with its freedom."""
    if level == len(squares) - 1:
        return 0.0, 1.0
    rest = slice(level + 1, None)
    weights = np.linalg.solve(expected[rest, rest].T, expected[level, rest])
    terms = weights * squares[rest]
    spread = float((terms**2 / freedom[rest]).sum())
    below = max(float(terms.sum()), 0.0)
    return below, below**2 / spread if below and spread else 1.0


def _ends(squares: tuple[float, float], freedom: tuple[float, float]) -> tuple[float, float]:
    """95 % interval of the difference of two expected mean squares."""
    from scipy.special import chdtri, fdtri

    (above, below), (n, m) = squares, freedom
    ends = []
    for tail, sign in ((0.025, -1), (0.975, 1)):  # the upper tail, of the lower end and the other
        own = n / float(chdtri(n, tail)) - 1  # how far one mean square alone would go
        other = m / float(chdtri(m, 1 - tail)) - 1
        ratio = float(fdtri(n, m, 1 - tail))
        cross = ((ratio - 1) ** 2 - (own * ratio) ** 2 - other**2) / ratio
        spread = (own * above) ** 2 + (other * below) ** 2 + cross * above * below
        ends.append(above - below + sign * math.sqrt(max(spread, 0.0)))
    return ends[0], ends[1]
