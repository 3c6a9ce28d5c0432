"""Intervals over independent repetitions, and tests of several of them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SEEN = 4  # pairs that end otherwise: fewer than five, of which a normal distribution begins to hold
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


def replicated(
    values: Sequence[float] | np.ndarray,
    models: int,
    whole: float | None = None,
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """A statistic of random halves of a sample, and the 95 % interval of the one of all of it.

    Half of a sample, drawn without replacement, varies about the whole as much as the whole varies
    about the truth: so the spread of the halves is the standard error (McCarthy, 1969). More halves
    say no more than the sample does: the factor is Student's for its size. Where all halves lie at
    one of the bounds their spread says nothing, and the other end is by counting, as in ``area``.

    Args:
      values: the statistic, of each half; one that is not finite makes all of it so.
      models: the size of the sample.
      whole: the statistic of all of the sample; their mean if None.
      bounds: what the statistic can be, such as (0, 1) for an AUC or a share.
    """
    found = np.asarray(values, float)
    middle = float(found.mean()) if whole is None else whole
    if not np.isfinite(found).all() or min(len(found), models) < LEAST:
        return Estimate(middle, math.nan, math.nan, len(found))
    half = student(float(found.std(ddof=1)), models - 1)
    (least, most), unseen = bounds, 1 - 0.025 ** (1 / models)
    low, high = max(middle - half, least), min(middle + half, most)
    if math.isfinite(most - least) and (found == most).all():
        low = min(low, most - (most - least) * unseen)
    if math.isfinite(most - least) and (found == least).all():
        high = max(high, least + (most - least) * unseen)
    return Estimate(middle, low, high, len(found))


def area(higher: np.ndarray, lower: np.ndarray) -> Estimate:
    """AUC of independent values, ``P(higher > lower)`` with ties as half, and its 95 % interval.

    ``n`` is the smaller number of values. The interval is normal, with DeLong's variance
    (Biometrics 44, 1988), and clipped to [0, 1]. Where all pairs of values end alike, as in
    complete separation, that variance is 0, and the bound is by counting: ``n`` pairs without a
    value in common are independent, so all end in a way of chance c with at most ``c^n``, which is
    2.5 % at ``c = 0.025^(1 / n)`` (Clopper and Pearson, Biometrika 26, 1934). No bound for all
    distributions is narrower: the longer sample may be of one value only.

    Where nearly all pairs end alike the variance is too small as well (at 15 against 15 values and
    an AUC of .95 the lower end was above the truth one time in eight), and weaker evidence must not
    have the narrower interval. So no end is further in than counting allows with as many of ``n``
    pairs on the other side as there are, or ``SEEN`` if they are more; that much of them shows in
    the variance, and of many values with an AUC in the middle the interval is DeLong's.
    """
    high, low = np.asarray(higher, float), np.asarray(lower, float)
    n = min(len(high), len(low))
    if n < LEAST or np.isnan(high).any() or np.isnan(low).any():
        return Estimate(math.nan, math.nan, math.nan, n)
    above, level = high[:, None] > low, high[:, None] == low
    middle, half = _delong(above + 0.5 * level)
    # an AUC is the mean of two shares, of pairs that win and of pairs that do not lose
    down = (_short(above) + _short(above | level)) / 2
    up = (_short(~above) + _short(~(above | level))) / 2
    return Estimate(middle, max(0.0, middle - half - down), min(1.0, middle + half + up), n)


def _delong(wins: np.ndarray) -> tuple[float, float]:
    """The mean of what pairs of values give, and half of its normal 95 % interval."""
    parts = (np.var(wins.mean(axis=1 - k), ddof=1) / wins.shape[k] for k in (0, 1))
    return float(wins.mean()), 1.96 * math.sqrt(sum(parts))


def _short(won: np.ndarray) -> float:
    """How far the lower end of a share of pairs lies above what counting allows; 0 if below."""
    from scipy.special import betaincinv

    share, half = _delong(won)
    n = min(won.shape)
    lost = min(n * (1 - share), SEEN)
    least = float(betaincinv(n - lost, lost + 1, 0.025)) if lost < n else 0.0
    return max(0.0, share - half - least)


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


def chance(found: Estimate, value: float, freedom: float = math.inf) -> float:
    """Two-sided p-value of an estimate against a value, by its interval's longer side.

    Args:
      found: the estimate, with a 95 % interval.
      value: what it may be by chance.
      freedom: degrees of freedom of Student's distribution, by which the interval was made; a
        normal one if infinite.
    """
    from scipy.special import ndtr, stdtr

    normal = math.isinf(freedom)
    error = max(found.high - found.value, found.value - found.low)
    error /= 1.96 if normal else student(1.0, freedom)
    apart = abs(found.value - value)
    if error == 0:
        return float(apart == 0)
    return 2 * float(ndtr(-apart / error) if normal else stdtr(freedom, -apart / error))
