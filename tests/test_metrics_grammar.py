"""Measures of random rankings, with ties, hidden items and non-finite scores, against slow ones.

The slow ones average over every order in which tied items can stand, one after the other.
"""

import dataclasses
import itertools
import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from jaxforget import metrics
from jaxforget.metrics import ranking
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet, Split

N_ITEMS, KS = 5, (1, 2, 4, 9)  # 9 is beyond the catalogue
EVERY = layout.build(np.zeros(N_ITEMS, int), np.arange(N_ITEMS), np.ones(N_ITEMS), n_items=N_ITEMS)

scores = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=N_ITEMS, max_size=N_ITEMS)
flags = st.lists(st.booleans(), min_size=N_ITEMS, max_size=N_ITEMS)
any_number = st.floats(-1e3, 1e3, width=32)


def model(of_items):
    return Factors(jnp.ones((1, 1)), jnp.asarray(of_items, float)[:, None])


@jax.jit
def fast(of_items, relevant, hidden):
    """Every measure of one user's ranking."""

    def measure(ranked):
        found = {
            f"{f.__name__}@{k}": f(ranked, k=k)
            for f in (metrics.recall, metrics.precision, metrics.hit, metrics.mrr, metrics.ndcg)
            for k in KS
        }
        return found | {"auc": metrics.auc_unseen(ranked)}

    held_out = layout_with(relevant)
    return ranking.over_users(measure, model(of_items), held_out, [(EVERY, hidden)])


def layout_with(values):
    return dataclasses.replace(EVERY, values=jnp.asarray(values, float))


def orders(of_items, hidden):
    """All ways to rank the items that are not hidden: better scores first, ties in any order."""
    shown = [i for i in range(N_ITEMS) if not hidden[i]]
    for order in itertools.permutations(shown):
        if all(of_items[a] >= of_items[b] for a, b in itertools.pairwise(order)):
            yield order


def by_hand(order, relevant, hidden):
    """The measures of one order, by their definitions."""
    places = [n for n, item in enumerate(order) if relevant[item]]
    others = len(order) - len(places)
    found = {}
    for k in KS:
        hits = [n for n in places if n < k]
        ideal = sum(1 / math.log2(n + 2) for n in range(min(len(places), k)))
        found[f"recall@{k}"] = len(hits) / len(places)
        found[f"precision@{k}"] = len(hits) / k
        found[f"hit@{k}"] = float(bool(hits))
        found[f"mrr@{k}"] = 1 / (min(hits) + 1) if hits else 0.0
        found[f"ndcg@{k}"] = sum(1 / math.log2(n + 2) for n in hits) / ideal
    below = sum(1 for n in places for m in range(n + 1, len(order)) if m not in places)
    found["auc"] = below / (len(places) * others) if others else 0.5
    return found


@given(scores, flags, flags)
def test_a_measure_is_its_mean_over_all_orders_of_tied_items(of_items, relevant, hidden):
    found = fast(*(np.asarray(x, float) for x in (of_items, relevant, hidden)))
    if not any(r and not h for r, h in zip(relevant, hidden, strict=True)):
        assert all(np.isnan(x) for x in found.values())  # nobody to average over
        return
    hands = [by_hand(order, relevant, hidden) for order in orders(of_items, hidden)]
    for name, value in found.items():
        np.testing.assert_allclose(value, np.mean([hand[name] for hand in hands]), rtol=1e-9)


@given(scores, st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, N_ITEMS - 1))
def test_one_score_that_is_not_finite_leaves_no_measure_a_number(of_items, bad, where):
    of_items[where] = bad
    found = fast(np.asarray(of_items), np.ones(N_ITEMS), np.zeros(N_ITEMS))
    assert all(np.isnan(x) for x in found.values())
    overlap = shared(np.asarray(of_items), np.ones(N_ITEMS), np.zeros(N_ITEMS))
    assert all(np.isnan(x) for x in overlap.values())


def test_a_model_that_scores_everything_alike_gains_nothing_by_the_numbering():
    relevant = np.eye(N_ITEMS)
    found = [fast(np.zeros(N_ITEMS), row, np.zeros(N_ITEMS)) for row in relevant]
    for one in found:
        assert one["auc"] == 0.5 and float(one["precision@1"]) == pytest.approx(1 / N_ITEMS)


@jax.jit
def shared(a, b, hidden):
    return ranking.overlap(model(a), model(b), [(EVERY, hidden)], ks=KS)


@given(scores, scores, flags)
def test_the_overlap_counts_a_tied_item_by_its_chance_to_be_listed(a, b, hidden):
    found = shared(*(np.asarray(x, float) for x in (a, b, hidden)))
    n_shown = N_ITEMS - sum(hidden)
    for k in KS:
        if not n_shown:
            assert np.isnan(found[k])
            continue
        chances = []
        for of_items in (a, b):
            lists = [order[:k] for order in orders(of_items, hidden)]
            chances.append([np.mean([i in one for one in lists]) for i in range(N_ITEMS)])
        want = np.minimum(*chances).sum() / min(k, n_shown)
        np.testing.assert_allclose(found[k], want, rtol=1e-9)
    same = shared(*(np.asarray(x, float) for x in (a, a, hidden)))
    assert all(np.isnan(x) or math.isclose(x, 1) for x in same.values())


@jax.jit
def auc(of_rows, labels, where):
    return metrics.auc(of_rows, labels, where)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0, -2.0, np.nan, np.inf]),
            st.sampled_from([-1.0, 0.0, 1.0]),
            st.booleans(),
        ),
        min_size=6,
        max_size=6,
    )
)
def test_auc_equals_counting_pairs(rows):
    of_rows, labels, where = (np.asarray(x) for x in zip(*rows, strict=True))
    found = float(auc(of_rows, labels, where))
    counted = of_rows[where]
    pairs = [
        (p > q) + 0.5 * (p == q)
        for p in of_rows[where & (labels > 0)]
        for q in of_rows[where & (labels <= 0)]
    ]
    high, low = where & (labels > 0), where & (labels <= 0)
    between = float(metrics.auc_between(of_rows, high, of_rows, low))
    if not np.isfinite(counted).all() or not pairs:
        assert np.isnan(found) and np.isnan(between)
    else:
        assert found == pytest.approx(np.mean(pairs)) and between == pytest.approx(found)


def test_auc_of_a_million_rows_keeps_its_digits_in_float32():
    of_rows = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
    labels = (np.arange(len(of_rows)) % 2).astype(np.float32)
    ranks = np.argsort(np.argsort(of_rows.astype(np.float64))) + 1.0
    n = labels.sum(dtype=float)
    want = (ranks[labels > 0].sum() - n * (n + 1) / 2) / (n * (len(labels) - n))
    found = auc(of_rows, labels, np.ones(len(labels), bool))
    assert float(found) == pytest.approx(want, abs=2e-6)
    between = metrics.auc_between(of_rows, labels > 0, of_rows, labels <= 0)
    assert float(between) == pytest.approx(want, abs=2e-6)


@given(
    st.lists(any_number, min_size=12, max_size=12),
    st.floats(0.01, 100),
    st.floats(0.01, 100),
    st.integers(0, 2**31),
)
def test_no_change_of_gauge_is_a_distance_in_float32(numbers, first, second, seed):
    """Columns of the users times what divides the columns of the items, and a rotation."""
    rng = np.random.default_rng(seed)
    users, items = (rng.normal(size=(n, 3)) for n in (6, 4))
    users[:4] += np.reshape(numbers, (4, 3)) / 100
    scale = np.array([first, second, 1.0])
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    pairs = (users * scale @ turn, items / scale @ turn), (users, items)
    a, b = (Factors(*(jnp.asarray(x, jnp.float32) for x in pair)) for pair in pairs)
    dense = [np.asarray(f.users, float) @ np.asarray(f.items, float).T for f in (a, b)]
    want = np.linalg.norm(dense[0] - dense[1]) / np.linalg.norm(dense[1])
    assert float(distance(a, b)) == pytest.approx(want, abs=2e-6 * max(scale) / min(scale))


distance = jax.jit(metrics.prediction_distance)


def test_a_small_distance_is_measured_in_float32_across_gauges():
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(200, 8)), rng.normal(size=(100, 8))
    near = users + 2e-6 * rng.normal(size=users.shape)
    a = Factors(*(jnp.asarray(x, jnp.float32) for x in (near * 3, items / 3)))
    b = Factors(*(jnp.asarray(x, jnp.float32) for x in (users, items)))
    dense = [np.asarray(f.users, float) @ np.asarray(f.items, float).T for f in (a, b)]
    want = np.linalg.norm(dense[0] - dense[1]) / np.linalg.norm(dense[1])
    assert 1e-6 < want < 3e-6
    assert float(distance(a, b)) == pytest.approx(want, rel=0.3)


def test_nothing_is_relative_to_a_model_that_predicts_nothing():
    zero = Factors(jnp.zeros((1, 1)), jnp.zeros((N_ITEMS, 1)))
    ones = model(np.ones(N_ITEMS))
    assert np.isnan(metrics.prediction_distance(ones, zero))
    one_item = model(1e-12 * np.eye(N_ITEMS)[0] + np.eye(N_ITEMS)[1])
    assert np.isnan(metrics.distance_on(ones, one_item, EVERY, jnp.asarray(np.eye(N_ITEMS)[0])))
    assert np.isnan(metrics.distance_on(ones, ones, EVERY, jnp.zeros(N_ITEMS)))


def test_held_out_rows_of_a_user_who_lost_everything_do_not_count():
    """Whatever the model says of that user, and at every stage alike."""
    train = layout.build([0, 0, 1, 1, 2], [0, 1, 2, 3, 4], np.ones(5), n_users=3, n_items=6)
    part = layout.build([0, 1, 2], [2, 0, 5], np.ones(3), n_users=3, n_items=6)
    request = ForgetSet(jnp.ones(5), jnp.asarray([1.0, 1.0, 0.0, 0.0, 1.0]))
    rng = np.random.default_rng(0)
    one = Factors(jnp.asarray(rng.normal(size=(3, 2))), jnp.asarray(rng.normal(size=(6, 2))))
    other = one._replace(users=one.users.at[1].multiply(-3.0))
    found = [
        metrics.evaluate(f, Split(train, part, part), request, ks=(2,), reference=one)
        for f in (one, other)
    ]
    held_out = [k for k in found[0] if k not in ("distance", "overlap@2", "score_forgotten")]
    for name in held_out:
        if name not in ("membership", "distance_forgotten"):  # these read the forgotten pairs
            np.testing.assert_array_equal(found[0][name], found[1][name], err_msg=name)
    nothing = request._replace(after=request.before)
    counted = [
        metrics.evaluate(f, Split(train, part, part), nothing, ks=(2,))["rmse"]
        for f in (one, other)
    ]
    assert counted[0] != counted[1]  # without the request they do count


@pytest.mark.parametrize("measure", [metrics.recall, metrics.ndcg, metrics.hit, metrics.mrr])
@pytest.mark.parametrize("k", [0, -1, 2.5, None])
def test_a_length_that_is_no_length_is_refused(measure, k):
    ranked = ranking.Ranked(jnp.zeros((1, 1)), jnp.ones((1, 1), bool), jnp.ones(1))
    with pytest.raises(ValueError, match="k must be an integer, 1 or more; got"):
        measure(ranked, k=k)
