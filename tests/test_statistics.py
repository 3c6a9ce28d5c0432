"""Intervals and tests: their coverage and their errors, by simulation with known truth."""

import itertools
import math

import numpy as np
import pytest
from scipy.special import ndtri

from experiments import statistics

RNG = np.random.default_rng(0)


def test_an_interval_of_a_mean_holds_the_truth_as_often_as_it_says():
    for n in (3, 10):
        found = [statistics.mean(x) for x in RNG.normal(2.0, 3.0, (2_000, n))]
        held = np.mean([e.low <= 2.0 <= e.high for e in found])
        assert abs(held - 0.95) < 0.02 and found[0].n == n


def test_of_two_values_no_interval_is_stated_and_none_leaves_the_bounds():
    assert math.isnan(statistics.mean([0.9, 1.0]).low)
    assert statistics.mean([]).n == 0 and math.isnan(statistics.mean([math.nan]).value)
    found = statistics.mean([0.9, 1.0, 1.0], bounds=(0.0, 1.0))
    assert found.high == 1.0 and found.low < found.value
    assert statistics.mean([1.0, math.nan, 2.0, 3.0]).n == 3


def test_a_difference_of_two_samples_is_found_as_often_as_it_says():
    draws = RNG.normal(0, 1, (2_000, 9)), RNG.normal(0.5, 4, (2_000, 14))
    found = [statistics.difference(a, b) for a, b in zip(*draws)]
    assert abs(np.mean([e.low <= -0.5 <= e.high for e in found]) - 0.95) < 0.02
    same = statistics.difference(np.ones(4), np.zeros(5))
    assert (same.value, same.low, same.high) == (1, 1, 1)
    assert math.isnan(statistics.difference(np.ones(2), np.zeros(5)).low)


def test_the_spread_of_halves_is_the_error_of_the_whole():
    held, draw = 0, np.random.default_rng(1)
    for sample in draw.normal(0, 1, (400, 60)):
        halves = [np.var(draw.permutation(sample)[:30], ddof=1) for _ in range(60)]
        found = statistics.replicated(halves, 60, float(np.var(sample, ddof=1)))
        held += found.low <= 1.0 <= found.high
    assert 0.90 < held / 400 < 0.98
    assert math.isnan(statistics.replicated([1.0, math.inf, 2.0], 9).low)


def test_the_interval_of_an_area_holds_the_truth_as_often_as_it_says():
    """The AUC of two unit normals at distance 1 is Phi(1 / sqrt 2) = 0.760."""
    draws = RNG.normal(1, 1, (1_500, 40)), RNG.normal(0, 1, (1_500, 50))
    found = [statistics.area(a, b) for a, b in zip(*draws)]
    assert abs(np.mean([e.low <= 0.76025 <= e.high for e in found]) - 0.95) < 0.025
    assert abs(np.mean([e.value for e in found]) - 0.76025) < 0.005
    assert math.isnan(statistics.area(np.ones(2), np.ones(5)).value)
    assert math.isnan(statistics.area(np.array([1, 2, math.nan]), np.ones(5)).value)


def test_where_all_pairs_of_values_end_alike_the_interval_of_an_area_is_by_counting():
    """0.025^(1/3) = 0.2924 and 0.025^(1/4) = 0.3976, the exact bounds of 3 of 3 and 4 of 4."""
    apart = statistics.area(np.array([2, 3, 4]), np.array([0, 0.5, 1]))
    np.testing.assert_allclose(apart, (1, 0.29240, 1, 3), atol=1e-5)
    other = statistics.area(np.arange(4) - 9, np.arange(60))
    np.testing.assert_allclose(other, (0, 0, 1 - 0.39764, 4), atol=1e-5)
    tied = statistics.area(np.ones(4), np.ones(6))
    np.testing.assert_allclose(tied, (0.5, 0.19882, 1 - 0.19882, 4), atol=1e-5)
    chances = [statistics.chance(x, 0.5) for x in (apart, other)]
    assert np.allclose(chances, 0.1, atol=0.07) and statistics.chance(tied, 0.5) == 1
    assert statistics.chance(apart, 0.25) < 0.05 < statistics.chance(apart, 0.35)


def test_few_values_that_are_all_told_hold_the_truth_as_often_as_stated():
    """In the worst case: one value, against which each of four wins with the true chance."""
    draw, n, times = np.random.default_rng(3), 4, 4_000
    bound = 0.025 ** (1 / n)
    for truth in (0.3, bound - 0.01, bound + 0.01, 0.6):
        wins = draw.random((times, n)) < truth
        apart = [statistics.area(np.where(x, 1.0, -1.0), np.zeros(6)) for x in wins if x.all()]
        missed = sum(not e.low <= truth <= e.high for e in apart) / times
        assert missed < 0.025 + 3 * (0.025 * 0.975 / times) ** 0.5
        assert truth < bound or not missed
        if truth == bound - 0.01:
            assert missed > 0.015  # the bound is as high as it can be


def test_halves_say_no_more_than_their_models_do():
    """40 halves of eight models: the factor is Student's for eight, not that of a normal."""
    draw, values = np.random.default_rng(5), [0.4, 0.5, 0.7]
    found, wide = (statistics.replicated(values, n) for n in (8, 10_000))
    np.testing.assert_allclose(found.high - found.value, 2.36462 * np.std(values, ddof=1), 1e-5)
    np.testing.assert_allclose(wide.high - wide.value, 1.96 * np.std(values, ddof=1), 1e-3)
    wrong, times = 0, 1_500
    for sample in draw.normal(0, 1, (times, 8)):
        halves = [sample[draw.permutation(8)[:4]].mean() for _ in range(40)]
        own = statistics.replicated(halves, 8, float(sample.mean()))
        wrong += statistics.chance(own, 0.0, 7) < 0.05
        assert (statistics.chance(own, 0.0, 7) < 0.05) == (not own.low <= 0 <= own.high)
    assert wrong / times < 0.05 + 3 * (0.05 * 0.95 / times) ** 0.5


def test_a_share_of_halves_stays_in_its_bounds_and_is_never_certain():
    """8 and 8 models that are all told apart: the chance is at least 0.025^(1/8) = 0.6306."""
    bounds = {"bounds": (0.0, 1.0)}
    apart = statistics.replicated(np.ones(40), 8, **bounds)
    np.testing.assert_allclose(apart, (1, 0.63058, 1, 40), atol=1e-5)
    none = statistics.replicated(np.zeros(40), 8, **bounds)
    np.testing.assert_allclose(none, (0, 0, 1 - 0.63058, 40), atol=1e-5)
    near = statistics.replicated([1.0, 0.9, 1.0, 0.95], 8, **bounds)
    assert near.high == 1 and near.low < near.value
    free = statistics.replicated([1.0, 0.9, 1.0, 0.95], 8)
    assert free.high > 1 and free.low == near.low
    assert math.isnan(statistics.replicated(np.ones(40), 2, **bounds).low)


def counted(n, m, area, times, draw):
    """How often the lower and the upper end of an interval miss a known AUC, of unit normals."""
    shift = ndtri(area) * 2**0.5
    draws = draw.normal(shift, 1, (times, n)), draw.normal(0, 1, (times, m))
    found = [statistics.area(a, b) for a, b in zip(*draws)]
    return np.mean([e.low > area for e in found]), np.mean([e.high < area for e in found])


@pytest.mark.parametrize("n", [8, 15, 30])
def test_beside_complete_separation_too_the_truth_is_held_on_either_side(n):
    draw, times = np.random.default_rng(n), 600
    for truth in (0.5, 0.7, 0.9, 0.95, 0.99):
        missed = counted(n, n, truth, times, draw)
        assert max(missed) < 0.025 + 3 * (0.025 * 0.975 / times) ** 0.5, (truth, missed)


def test_of_one_value_against_many_the_share_that_wins_is_held():
    """The worst case: all of the other sample is one value, and wins are binomial."""
    draw, times = np.random.default_rng(7), 400
    for n, truth in itertools.product((8, 15, 30), (0.5, 0.7, 0.8, 0.9, 0.95)):
        wins = np.where(draw.random((times, n)) < truth, 1.0, -1.0)
        found = [statistics.area(x, np.zeros(n)) for x in wins]
        assert np.mean([e.low > truth for e in found]) < 0.025 + 3 * (0.025 * 0.975 / times) ** 0.5


def test_weaker_evidence_never_has_the_narrower_interval():
    """One value after the other goes over to the other side: the ends go down with the AUC."""
    low = np.arange(15.0)
    apart = statistics.area(low + 100, low)
    ends = [(apart.value, apart.low, apart.high)]
    for last in (99.99, 100, 100.5, 101, 102.5, 105, 109, 115):
        found = statistics.area(low + 100, np.append(low[:-1], last))
        ends.append((found.value, found.low, found.high))
        mirrored = statistics.area(np.append(low[:-1], last), low + 100)
        turned = 1 - found.value, 1 - found.high, 1 - found.low
        np.testing.assert_allclose(mirrored[:3], turned, atol=1e-12)
    falls = np.diff(np.array(ends), axis=0)
    assert (falls <= 1e-12).all() and (falls[2:, :2] < 0).all()
    assert ends[2][1] == pytest.approx(apart.low, abs=0.006)  # a tie: hardly less
    tied = statistics.area(np.ones(15), np.ones(15))
    one = statistics.area(np.append(np.ones(14), 2), np.ones(15))  # no certainty from one value
    assert one.low < tied.low + 0.04 and one.high >= tied.high


def test_away_from_the_edge_an_interval_of_an_area_is_delongs():
    draw = np.random.default_rng(8)
    for truth in (0.3, 0.5, 0.7):
        shift = ndtri(truth) * 2**0.5
        for _ in range(20):
            high, low = draw.normal(shift, 1, 60), draw.normal(0, 1, 60)
            wins = (high[:, None] > low).astype(float)
            error = sum(np.var(wins.mean(axis=k), ddof=1) / 60 for k in (0, 1)) ** 0.5
            found, half = statistics.area(high, low), 1.96 * error
            if 0.2 <= found.value <= 0.8:
                mean = wins.mean()
                np.testing.assert_allclose(found[:3], (mean, mean - half, mean + half), rtol=1e-12)


def test_adjusted_p_values_are_holms_and_keep_what_was_not_tested():
    found = statistics.holm([0.01, 0.04, math.nan, 0.03, 0.005])
    np.testing.assert_allclose(found, [0.03, 0.06, math.nan, 0.06, 0.02])
    assert statistics.holm([0.6, 0.7]).tolist() == [1.0, 1.0] and statistics.holm([]).size == 0


def test_among_many_tests_one_is_wrong_as_seldom_as_stated():
    """Ten methods that do nothing, and ten where half of them do: one error in twenty families."""
    draw = np.random.default_rng(2)
    for shift in (np.zeros(10), np.repeat([0.0, 4.0], 5)):
        wrong = 0
        for values in draw.normal(1 + shift, 1, (2_000, 10)):
            found = [statistics.Estimate(x, x - 1.96, x + 1.96, 40) for x in values]
            chances = statistics.holm([statistics.chance(x, 1.0) for x in found])
            wrong += bool((chances[shift == 0] < 0.05).any())
        assert wrong / 2_000 < 0.05 + 3 * (0.05 * 0.95 / 2_000) ** 0.5


def test_an_estimate_without_spread_is_certain():
    assert statistics.chance(statistics.Estimate(1.0, 1.0, 1.0, 4), 1.0) == 1
    assert statistics.chance(statistics.Estimate(2.0, 2.0, 2.0, 4), 1.0) == 0
    assert math.isnan(statistics.chance(statistics.Estimate(2.0, math.nan, math.nan, 2), 1.0))
