"""Measures against arithmetic by hand, rankings against sorting each user's catalogue."""

import functools
from math import log2

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxforget import _shares, metrics
from jaxforget.metrics import counting, distance, exposure, rank_measures, ranking, top
from jaxforget.metrics.ranking import Ranked
from jaxforget.sparse import layout, serving
from jaxforget.types import Factors, ForgetSet, Split

# Three users: relevant items at ranks 0 and 3; at rank 2 only; none at all.
RANKED = Ranked(
    ranks=jnp.array([[0, 3], [2, 9], [1, 0]]),
    relevant=jnp.array([[True, True], [True, False], [False, False]]),
    candidates=jnp.array([10, 10, 10]),
)


@pytest.mark.parametrize(
    ("measure", "k", "want"),
    [
        (metrics.recall, 3, [1 / 2, 1 / 1, 0]),
        (metrics.recall, 4, [2 / 2, 1 / 1, 0]),
        (metrics.precision, 4, [2 / 4, 1 / 4, 0]),
        (metrics.hit, 2, [1, 0, 0]),
        (metrics.mrr, 3, [1 / 1, 1 / 3, 0]),
        (metrics.mrr, 2, [1 / 1, 0, 0]),
        (
            metrics.ndcg,
            4,
            [
                (1 / log2(2) + 1 / log2(5)) / (1 / log2(2) + 1 / log2(3)),
                (1 / log2(4)) / (1 / log2(2)),
                0,
            ],
        ),
        (metrics.ndcg, 1, [1, 0, 0]),
    ],
)
def test_a_ranking_measure_equals_hand_arithmetic(measure, k, want):
    np.testing.assert_allclose(measure(RANKED, k=k), want, rtol=1e-12)


def test_auc_against_unseen_items_equals_hand_arithmetic():
    # user 1: 8 others, none above the first, 2 above the second; user 2: 9 others, 2 above
    np.testing.assert_allclose(metrics.auc_unseen(RANKED)[:2], [1 - 2 / 16, 1 - 2 / 9])


def test_auc_counts_ties_half_and_ignores_rows_that_do_not_count():
    scores = jnp.array([0.2, 0.5, 0.5, 0.9, 7.0])
    labels = jnp.array([0.0, 1.0, 0.0, 1.0, 0.0])
    where = jnp.array([True, True, True, True, False])
    np.testing.assert_allclose(metrics.auc(scores, labels, where), (1 + 0.5 + 1 + 1) / 4)
    monotone = metrics.auc(jax.nn.sigmoid(scores), labels, where)
    assert monotone == metrics.auc(scores, labels, where)


def test_auc_of_a_single_class_is_undefined_and_does_not_crash():
    assert np.isnan(metrics.auc(jnp.ones(3), jnp.ones(3), jnp.ones(3, bool)))


def test_rmse_equals_hand_arithmetic():
    got = metrics.rmse(
        jnp.array([1.0, 5.0, 0.0]), jnp.array([3.0, 4.0, 9.0]), jnp.array([True, True, False])
    )
    np.testing.assert_allclose(got, np.sqrt((4 + 1) / 2))


def problem(seed=0, n_users=9, n_items=14, dim=3):
    rng = np.random.default_rng(seed)
    cells = rng.permutation(n_users * n_items)[:70]
    users, items = np.divmod(cells, n_items)
    values = rng.integers(0, 2, 70).astype(float)
    parts = [slice(0, 40), slice(40, 52), slice(52, 70)]
    split = Split(
        *(
            layout.build(
                users[p],
                items[p],
                np.maximum(values[p], p.start == 0),
                n_users=n_users,
                n_items=n_items,
            )
            for p in parts
        )
    )
    f = Factors(
        jnp.asarray(rng.normal(size=(n_users, dim))), jnp.asarray(rng.normal(size=(n_items, dim)))
    )
    weights = jnp.ones(40)
    return f, split, ForgetSet(weights, weights.at[:6].set(0.0))


def by_hand(f, split, forget, part, k):
    """Recall and NDCG by sorting each user's catalogue, in Python."""
    scores = np.asarray(f.users) @ np.asarray(f.items).T
    hidden = {
        (u, i)
        for u, i, w in zip(
            split.train.users.tolist(), split.train.items.tolist(), forget.after.tolist()
        )
        if w > 0
    }
    if part is split.test:
        hidden |= set(zip(split.valid.users.tolist(), split.valid.items.tolist()))
    recalls, gains = [], []
    for u in range(len(scores)):
        wanted = {
            i
            for v, i, y in zip(part.users.tolist(), part.items.tolist(), part.values.tolist())
            if v == u and y > 0 and (u, i) not in hidden
        }
        if wanted:
            shown = [i for i in np.argsort(-scores[u], kind="stable") if (u, i) not in hidden]
            hits = [i in wanted for i in shown[:k]]
            recalls.append(sum(hits) / len(wanted))
            ideal = sum(1 / log2(n + 2) for n in range(min(len(wanted), k)))
            gains.append(sum(h / log2(n + 2) for n, h in enumerate(hits)) / ideal)
    return np.mean(recalls), np.mean(gains)


@pytest.mark.parametrize("cells", [1, 30, 1 << 21])
def test_full_ranking_equals_sorting_each_users_catalogue(cells, monkeypatch):
    monkeypatch.setattr(serving, "SCORES_AT_ONCE", cells)  # chunks of one user, of two, of all
    f, split, forget = problem()
    found = metrics.evaluate(f, split, forget, ks=(2, 5))
    for name, part in (("", split.test), ("_valid", split.valid)):
        for k in (2, 5):
            recall, ndcg = by_hand(f, split, forget, part, k)
            np.testing.assert_allclose(found[f"recall{name}@{k}"], recall)
            np.testing.assert_allclose(found[f"ndcg{name}@{k}"], ndcg)


@pytest.mark.parametrize("way", [metrics.prediction_distance, distance._by_rows])  # accelerators
def test_the_distance_of_all_predictions_equals_the_dense_one_and_does_not_change_by_a_rotation(
    way,
):
    a, b = problem(0)[0], problem(1)[0]
    dense = [np.asarray(f.users) @ np.asarray(f.items).T for f in (a, b)]
    want = np.linalg.norm(dense[0] - dense[1]) / np.linalg.norm(dense[1])
    np.testing.assert_allclose(way(a, b), want)
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0])
    turned = Factors(b.users @ turn, b.items @ turn)
    assert way(turned, b) < 1e-14  # not the square root of it
    wider = Factors(*(jnp.pad(x, ((0, 0), (0, 2))) for x in a))
    np.testing.assert_allclose(way(wider, b), want)


def test_distances_on_cells_and_overlap_equal_loops():
    f, split, forget = problem()
    other = problem(3)[0]
    found = metrics.evaluate(f, split, forget, ks=(3,), reference=other)
    ours, theirs = (np.asarray(x.users) @ np.asarray(x.items).T for x in (f, other))
    users, items = np.asarray(split.train.users), np.asarray(split.train.items)
    gone = np.asarray(forget.after) == 0
    for name, rows in (("forgotten", gone), ("retained", ~gone)):
        a, b = (m[users[rows], items[rows]] for m in (ours, theirs))
        np.testing.assert_allclose(
            found[f"distance_{name}"], np.linalg.norm(a - b) / np.linalg.norm(b)
        )
    for m in (ours, theirs):
        m[users[~gone], items[~gone]] = -np.inf
    tops = [np.argsort(-m, axis=1)[:, :3] for m in (ours, theirs)]
    shared = np.mean([len(set(a) & set(b)) / 3 for a, b in zip(*tops)])
    np.testing.assert_allclose(found["overlap@3"], shared)


@pytest.mark.parametrize("levels", [2, 5, 10**6])  # of scores: many, some and no ties
@pytest.mark.parametrize("ks", [(1, 3), (3, 7), (9, 12)])  # the catalogue has 9 items
def test_what_two_lists_share_is_the_sum_of_the_smaller_chances(levels, ks):
    rng = np.random.default_rng(0)
    scores = [jnp.asarray(rng.integers(0, levels, (40, 9)) / 4.0) for _ in range(2)]
    shown = jnp.asarray(rng.random((40, 9)) < 0.8)
    scores = [jnp.where(shown, x, -jnp.inf) for x in scores]
    chances = [top.chances(x, shown, ks) for x in scores]
    want = [jnp.sum(jnp.minimum(a, b), axis=1) for a, b in zip(*chances, strict=True)]
    found = top.in_common(*scores, shown, ks)
    np.testing.assert_allclose(found, want, rtol=1e-12)
    assert levels < 10**6 or max(np.max(x) for x in found) > 0


# on CPUs, and on accelerators
COUNTS = (counting._in_blocks, functools.partial(counting._count, places=2))


@pytest.mark.parametrize("users", [1, 6, 8, 24])
def test_ranks_that_are_counted_block_by_block_are_those_of_all_users(users, monkeypatch):
    monkeypatch.setattr(counting, "BLOCK_BYTES", 8 * 50 * 4)  # four users
    rng = np.random.default_rng(users)
    scores = jnp.asarray(rng.integers(0, 20, (users, 50)).astype(float))
    lengths = jnp.asarray(rng.integers(0, 6, users), jnp.int32)
    own = scores[:, :5]
    found, whole = (f(scores, own, lengths) for f in COUNTS)
    real = np.arange(5) < np.asarray(lengths)[:, None]
    for blocks, once, compare in zip(found, whole, (np.greater, np.greater_equal), strict=True):
        want = compare(scores[:, None], own[:, :, None]).sum(axis=2)
        np.testing.assert_array_equal(np.asarray(blocks)[real], want[real])
        np.testing.assert_array_equal(np.asarray(once)[real], want[real])


@pytest.mark.parametrize("items", [65_535, 65_536, 140_000])  # of which one sum counts 65,535
def test_ranks_in_a_long_catalogue_are_those_of_a_slow_count(items):
    scores = np.random.default_rng(0).integers(0, 9, (2, items)).astype(np.float32)
    scores[1] = 1  # all alike: every sum is as large as it can be
    own, lengths = jnp.asarray(scores[:, :3]), jnp.full(2, 3, jnp.int32)
    for count in COUNTS:
        above, upto = count(jnp.asarray(scores), own, lengths)
        np.testing.assert_array_equal(above, (scores[:, None] > own[..., None]).sum(axis=2))
        np.testing.assert_array_equal(upto, (scores[:, None] >= own[..., None]).sum(axis=2))


def test_every_place_of_a_history_hides_its_item(monkeypatch):
    monkeypatch.setattr(ranking, "PLACES", 3)
    rng = np.random.default_rng(0)
    shown = rng.random((7, 11)) < [[0.0], [0.1], [0.3], [0.9], [1.0], [0.5], [0.0]]
    train = layout.build(*np.nonzero(shown), np.ones(shown.sum()), n_users=7, n_items=11)
    weights = rng.integers(0, 2, shown.sum())
    dense = np.zeros((8, 11), bool)  # and a user whom nobody knows
    dense[np.asarray(train.users), np.asarray(train.items)] = weights > 0
    users = jnp.array([6, 3, 7, 0, 4, 2, 5, 1], jnp.int32)
    found = jax.jit(ranking.hide, static_argnums=2)([(train, jnp.asarray(weights))], users, 11)
    np.testing.assert_array_equal(found, dense[users])


def test_a_model_against_itself_is_at_distance_zero_with_full_overlap():
    f, split, forget = problem()
    found = metrics.evaluate(f, split, forget, ks=(3,), reference=f)
    assert max(float(v) for k, v in found.items() if k.startswith("distance")) < 1e-14
    assert found["overlap@3"] == 1.0


def test_models_of_other_sizes_are_not_compared():
    f, split, _ = problem()
    forget = ForgetSet(np.ones(len(split.train.users)), np.zeros(len(split.train.users)))
    n_users, n_items = serving.sizes(f)
    fewer, more = Factors(f.users[1:], f.items), Factors(f.users, np.tile(f.items, (2, 1)))
    for other, (u, i) in ((fewer, (n_users - 1, n_items)), (more, (n_users, 2 * n_items))):
        words = f"of the model's {n_users} users and {n_items} items; got {u} and {i}: give both"
        with pytest.raises(ValueError, match=f"evaluate: reference must be {words}"):
            metrics.evaluate(f, split, forget, reference=other)
        theirs = f"of the model's {u} users and {i} items; got {n_users} and {n_items}"
        with pytest.raises(ValueError, match=f"evaluate: train must be {theirs}"):
            metrics.evaluate(other, split, forget)
        with pytest.raises(ValueError, match=f"prediction_distance: b must be {words}"):
            metrics.prediction_distance(f, other)
        with pytest.raises(ValueError, match=f"overlap: b must be {words}"):
            ranking.overlap(f, other, [], ks=[1])


def test_without_ks_everything_but_the_rankings_is_measured():
    f, split, forget = problem()
    every = metrics.evaluate(f, split, forget, ks=(3,), reference=problem(3)[0])
    found = metrics.evaluate(f, split, forget, ks=(), reference=problem(3)[0])
    left = {k: v for k, v in every.items() if "@" not in k and not k.startswith("auc_unseen")}
    assert found.keys() == left.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(found[name], value)


def test_membership_is_the_chance_that_a_forgotten_pair_outscores_a_test_pair():
    f, split, forget = problem()
    scores = np.asarray(f.users) @ np.asarray(f.items).T
    forgotten = scores[np.asarray(split.train.users)[:6], np.asarray(split.train.items)[:6]]
    kept = np.asarray(split.test.values) > 0
    test = scores[np.asarray(split.test.users)[kept], np.asarray(split.test.items)[kept]]
    want = np.mean(forgotten[:, None] > test[None, :])
    np.testing.assert_allclose(metrics.evaluate(f, split, forget)["membership"], want)


def test_an_empty_request_and_an_empty_test_part_do_not_crash():
    f, split, forget = problem()
    nothing = forget._replace(after=forget.before)
    assert np.isnan(metrics.evaluate(f, split, nothing)["membership"])
    empty = layout.build([], [], [], n_users=9, n_items=14)
    found = metrics.evaluate(f, split._replace(test=empty), forget, reference=f)
    assert "ndcg@10" not in found and np.isnan(found["distance_test"])


@pytest.mark.parametrize("fpr", [0.0, 0.01, 0.1, 0.5, 0.9, 1.0])
def test_the_share_found_at_a_rate_of_false_alarms_is_that_of_every_threshold(fpr):
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 30, 400) / 10, rng.random(400) < 0.3
    thresholds = [-1.0, *np.unique(scores)]
    rates = [(np.mean(scores[~labels] > t), np.mean(scores[labels] > t)) for t in thresholds]
    want = max(found for alarms, found in rates if alarms <= fpr)
    got = metrics.tpr_at_fpr(jnp.asarray(scores), jnp.asarray(labels, float), fpr=fpr)
    np.testing.assert_allclose(got, want)


def test_without_a_class_or_with_nan_no_share_is_found():
    ones = jnp.ones(3)
    for scores, labels in (
        (ones, ones),
        (ones, 0 * ones),
        (ones.at[0].set(jnp.nan), ones.at[1].set(0)),
    ):
        assert np.isnan(metrics.tpr_at_fpr(scores, labels, fpr=0.1))
    with pytest.raises(ValueError, match="fpr must be"):
        metrics.tpr_at_fpr(ones, ones, fpr=1.5)


def test_a_catalogue_of_more_pairs_than_32_bits_number_is_measured():
    """70,000 users and 50,000 items, as with MovieLens-20M."""
    ones = Factors(jnp.ones((70_000, 1), jnp.float32), jnp.ones((50_000, 1), jnp.float32))
    with jax.enable_x64(False):
        assert float(distance.mean_square(ones)) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("dtype", [bool, jnp.int32, jnp.uint8, float])
def test_a_mask_of_numbers_is_a_mask(dtype):
    """Of integers ``~`` is no negation: a score of NaN was counted as one."""
    scores, labels = jnp.array([jnp.nan, 1.0, 2.0]), jnp.array([0, 0, 1])
    yes, some = (jnp.array(x, dtype) for x in ([1, 1, 1], [0, 1, 1]))
    for where, known in ((yes, False), (some, True)):
        found = (
            metrics.auc(scores, labels, where),
            metrics.auc_between(scores[1:], yes[1:], scores, where),
            metrics.auc_between(scores, where, scores[1:], yes[1:]),
            metrics.rmse(scores, jnp.zeros(3), where),
        )
        assert [bool(np.isfinite(x)) for x in found] == [known] * 4
    one = jnp.array([[1.0]])
    model, part = Factors(one, scores[:, None]), layout.build([0, 0, 0], [0, 1, 2], [0.0, 0.0, 1.0])
    assert metrics.label_auc(model, part, some) == 1 and np.isnan(metrics.label_auc(model, part))


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8, jnp.int32])
def test_scores_that_are_integers_are_numbers(dtype):
    scores, values = jnp.array([100, 100, 3], dtype), jnp.array([0, 1, 3], dtype)
    yes = jnp.ones(3, bool)
    np.testing.assert_allclose(metrics.rmse(scores, values, yes), ((1e4 + 99**2) / 3) ** 0.5)
    assert metrics.auc(scores, jnp.array([1, 0, 0]), yes) == 0.75
    assert metrics.auc_between(scores, yes, values, yes) == pytest.approx((6 + 2.5) / 9)
    assert metrics.tpr_at_fpr(scores, jnp.array([0, 0, 1]), fpr=0.5) == 0


@pytest.mark.parametrize("fpr", [0.53, 0.29, 0.57, 0.58, 1 / 3, 0.07, 1, 0, 1e-9])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
def test_a_rate_of_false_alarms_is_the_decimal_that_was_written(fpr, dtype):
    """.53 of 100 negatives are 53: 53 of them may be above, and 54 of 100 positives are."""
    n = 100
    scores = jnp.arange(2 * n, dtype=jnp.float32).astype(dtype)
    labels = jnp.arange(2 * n) % 2  # every positive stands right above a negative
    allowed = round(fpr * 1e9) * n // 10**9
    for measure in (metrics.tpr_at_fpr, jax.jit(metrics.tpr_at_fpr, static_argnames="fpr")):
        found = measure(scores, labels, fpr=fpr)
        assert found == pytest.approx(min(allowed + 1, n) / n, abs=1e-6)
    traced = jax.jit(lambda rate: metrics.tpr_at_fpr(scores, labels, fpr=rate))
    rate = jnp.asarray(fpr, jnp.float64 if dtype == jnp.float64 else jnp.float32)
    assert abs(float(traced(rate)) - float(found)) <= 1.01 / n


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(0, 2**31 - 1))
def test_a_share_is_rounded_down_exactly(above, under, n):
    share = min(above, under) / max(above, under)
    found = jax.jit(_shares.below, static_argnums=0)
    wanted = int(_shares.exact(share) * n // 1)
    assert _shares.below(share, jnp.array(n, jnp.int32)) == wanted
    assert found(0.53, jnp.array([n, 100], jnp.int32)).tolist() == [53 * n // 100, 53]


WIDE = {"bfloat16": 3e-3, "float16": 1e-3}


@pytest.mark.parametrize("dtype", WIDE)
def test_means_over_many_users_do_not_stop_growing_in_16_bits(dtype):
    """Of 100,000 users a sum in bfloat16 stays at 256 of them."""
    rng, n_users, n_items = np.random.default_rng(0), 3_000, 40
    sides = (jnp.asarray(rng.integers(-8, 9, (n, 2)) / 8.0) for n in (n_users, n_items))
    exact = Factors(*(x.astype(jnp.float32) for x in sides))  # all numbers fit 16 bits
    narrow = Factors(*(x.astype(dtype) for x in exact))
    users, items = np.arange(n_users), rng.integers(0, n_items, n_users)
    part = layout.build(users, items, np.ones(n_users), n_users=n_users, n_items=n_items)
    yes, some = jnp.ones(n_users, bool), jnp.arange(n_items) < 9

    def measured(model):
        lists = ranking.over_users(
            lambda r: {"recall": rank_measures.recall(r, k=5).astype(model.users.dtype)},
            model, part, [],
        )  # fmt: skip
        other = Factors(model.users, -model.items)
        return lists | {
            "exposure": ranking.exposure(model, jnp.int32(3), yes, [], ks=[5])[5],
            "items": exposure.of_items(model, some, yes, [], ks=[5])[5],
            "pairs": exposure.of_pairs(model, part, yes, [], ks=[5])[5],
            "overlap": ranking.overlap(model, other, [], ks=[30])[30],
            "distance": distance.prediction_distance(other, model),
        }

    found, wanted = measured(narrow), measured(exact)
    for name, value in found.items():
        assert value.dtype == jnp.float32
        # scores of the narrow model are rounded, and tie where others do not
        np.testing.assert_allclose(value, wanted[name], rtol=0.05, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("dtype", WIDE)
def test_areas_of_many_scores_in_16_bits_are_those_in_32(dtype):
    """The number of pairs of 2,000 scores is infinite in float16."""
    rng = np.random.default_rng(0)
    scores = jnp.asarray(rng.integers(0, 200, 4_000) / 8).astype(dtype)
    positive, yes = jnp.asarray(rng.random(4_000) < 0.5), jnp.ones(4_000, bool)
    labels = positive.astype(jnp.int32)
    for x in (scores, scores.astype(jnp.float32)):
        found = [
            metrics.auc(x, labels, yes),
            metrics.auc_between(x, positive, x, ~positive),
            metrics.tpr_at_fpr(x, labels, fpr=0.1),
            metrics.rmse(x, 0 * x, yes),
        ]
        assert {value.dtype.name for value in found} == {"float32"}
        if x is scores:
            narrow = found
    np.testing.assert_array_equal(narrow, found)
