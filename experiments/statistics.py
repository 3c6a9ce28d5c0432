"""Intervals over independent repetitions."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

LEAST = 3  # repetitions below which no interval is stated: with two, Student's factor is 12.7


class Estimate(NamedTuple):
    """A mean with its 95 % interval; ``low`` and ``high`` are NaN of too few repetitions."""

    value: float
    low: float
    high: float
    n: int


def student(error: float, freedom: float) -> float:
    """Half of the 95 % interval of what has this standard error, by Student's distribution."""
    from scipy.special import stdtrit  # takes a while to import: only where it is used

    return float(stdtrit(freedom, 0.975)) * error


def mean(
    values: Sequence[float] | np.ndarray,
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    whole: bool = False,
) -> Estimate:
    """The mean of independent values and its Student interval.

    Args:
      values: finite numbers; NaN is left out and not counted.
      bounds: what a value can be, such as (0, 1) for an AUC: the interval is clipped to it.
      whole: nothing is left out: one value of NaN makes all of it NaN.
    """
    found = np.asarray(values, float)
    if whole and np.isnan(found).any():
        return Estimate(math.nan, math.nan, math.nan, len(found))
    found = found[~np.isnan(found)]
    if not len(found):
        return Estimate(math.nan, math.nan, math.nan, 0)
    middle = float(found.mean())
    if len(found) < LEAST:
        return Estimate(middle, math.nan, math.nan, len(found))
    half = student(found.std(ddof=1) / len(found) ** 0.5, len(found) - 1)
    low, high = (float(np.clip(x, *bounds)) for x in (middle - half, middle + half))
    return Estimate(middle, low, high, len(found))


def difference(a: np.ndarray, b: np.ndarray) -> Estimate:
    """``mean(a) - mean(b)`` of two independent samples, with Welch's interval.

    ``n`` is the smaller number of values. For samples that share their seeds take ``mean(a - b)``.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    n = min(len(a), len(b))
    middle = float(a.mean() - b.mean()) if n else math.nan
    if n < LEAST:
        return Estimate(middle, math.nan, math.nan, n)
    first, second = (float(x.var(ddof=1)) / len(x) for x in (a, b))
    total, half = first + second, 0.0
    if total > 0:
        freedom = total**2 / (first**2 / (len(a) - 1) + second**2 / (len(b) - 1))
        half = student(math.sqrt(total), freedom)
    return Estimate(middle, middle - half, middle + half, n)


def replicated(values: Sequence[float] | np.ndarray, whole: float | None = None) -> Estimate:
    """A statistic of random halves of a sample, and the 95 % interval of the one of all of it.

    Half of a sample, drawn without replacement, varies about the whole as much as the whole varies
    about the truth: so the spread of the halves is the standard error (McCarthy, 1969).

    Args:
      values: the statistic, of each half; one that is not finite makes all of it so.
      whole: the statistic of all of the sample; their mean if None.
    """
    found = np.asarray(values, float)
    middle = float(found.mean()) if whole is None else whole
    if not np.isfinite(found).all() or len(found) < LEAST:
        return Estimate(middle, math.nan, math.nan, len(found))
    half = 1.96 * float(found.std(ddof=1))
    return Estimate(middle, middle - half, middle + half, len(found))


def area(higher: np.ndarray, lower: np.ndarray) -> Estimate:
    """AUC of independent values, ``P(higher > lower)`` with ties as half, and its 95 % interval.

    ``n`` is the smaller number of values. The interval is normal, with DeLong's variance
    (Biometrics 44, 1988), and clipped to [0, 1]. Where all pairs of values end alike, as in
    complete separation, that is 0, and the bound is by counting: ``n`` pairs without a value in
    common are independent, so all end in a way of chance c with at most ``c^n``, which is 2.5 % at
    ``c = 0.025^(1 / n)`` (Clopper and Pearson, Biometrika 26, 1934). No bound for all distributions
    is narrower: the longer sample may be of one value only.
    """
    high, low = np.asarray(higher, float), np.asarray(lower, float)
    n = min(len(high), len(low))
    if n < LEAST or np.isnan(high).any() or np.isnan(low).any():
        return Estimate(math.nan, math.nan, math.nan, n)
    wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    middle = float(wins.mean())
    if (wins == wins[0, 0]).all():
        least = 0.025 ** (1 / n)
        return Estimate(middle, middle * least, 1 - (1 - middle) * least, n)
    parts = (np.var(wins.mean(axis=1 - k), ddof=1) / wins.shape[k] for k in (0, 1))
    half = 1.96 * math.sqrt(sum(parts))
    return Estimate(middle, max(0.0, middle - half), min(1.0, middle + half), n)


def holm(chances: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values of several tests, adjusted so that one error in all of them has the stated chance.

    The k-th smallest of m counts ``m - k + 1`` times, and no less than those before it (Holm,
    Scandinavian Journal of Statistics 6, 1979). NaN is no test, and stays.
    """
    found = np.array(chances, float)
    tests = np.flatnonzero(~np.isnan(found))
    order = tests[np.argsort(found[tests], kind="stable")]
    times = len(order) - np.arange(len(order))
    found[order] = np.minimum(np.maximum.accumulate(found[order] * times), 1.0)
    return found


def chance(found: Estimate, value: float) -> float:
    """Two-sided p-value of a normal estimate against a value, by its interval's longer side."""
    from scipy.special import ndtr

    error = max(found.high - found.value, found.value - found.low) / 1.96
    apart = abs(found.value - value)
    return 2 * float(ndtr(-apart / error)) if error != 0 else float(apart == 0)


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
