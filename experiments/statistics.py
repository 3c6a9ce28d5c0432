"""Intervals over independent repetitions."""

import math
from collections.abc import Sequence
from typing import NamedTuple

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
    (Biometrics 44, 1988), and clipped to [0, 1].
    """
    high, low = np.asarray(higher, float), np.asarray(lower, float)
    n = min(len(high), len(low))
    if n < LEAST or np.isnan(high).any() or np.isnan(low).any():
        return Estimate(math.nan, math.nan, math.nan, n)
    wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    middle = float(wins.mean())
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
    """Two-sided p-value of a normal estimate against a value, by the width of its interval."""
    from scipy.special import ndtr

    error = (found.high - found.low) / (2 * 1.96)
    if error == 0:
        return float(found.value == value)
    return 2 * float(ndtr(-abs(found.value - value) / error))
