"""Preprocessing steps: cores against slow removal, labels, repeated pairs, refusals."""

import numpy as np
import pandas as pd
import pytest

from jaxforget.prepare import preprocess


def table(rows, *, times=None):
    users, items, values = zip(*rows, strict=True)
    frame = pd.DataFrame({"user": users, "item": items, "value": np.array(values, np.float32)})
    return frame if times is None else frame.assign(time=times)


def triples(frame):
    return list(frame[["user", "item", "value"]].itertuples(index=False, name=None))


def slow_core(rows, k, sides):
    """Removes one offending row at a time, until there is none."""
    rows = list(rows)
    while True:
        for row in rows:
            if any(sum(other[side] == row[side] for other in rows) < k for side in sides):
                rows.remove(row)
                break
        else:
            return rows


@pytest.mark.parametrize(("by", "sides"), [("both", (0, 1)), ("user", (0,)), ("item", (1,))])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_core_is_what_is_left_when_nothing_more_falls_out(k, by, sides):
    rng = np.random.default_rng(k)
    rows = [(f"u{u}", int(i), float(n)) for n, (u, i) in enumerate(rng.integers(0, 12, (45, 2)))]
    assert triples(preprocess.k_core(table(rows), k=k, by=by)) == slow_core(rows, k, sides)


@pytest.mark.parametrize("k", [0, -1, 2.5, float("nan"), "5", True])
def test_k_must_be_a_positive_integer(k):
    with pytest.raises(ValueError, match="k must be an integer, 1 or more"):
        preprocess.k_core(table([("a", 1, 1.0)]), k=k)


RATED = [("a", 1, 3.0), ("a", 2, 4.0), ("b", 1, 5.0)]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, [("a", 2, 1.0), ("b", 1, 1.0)]),
        ({"strict": True}, [("b", 1, 1.0)]),
        ({"negatives": "keep"}, [("a", 1, 0.0), ("a", 2, 1.0), ("b", 1, 1.0)]),
        ({"strict": True, "negatives": "keep"}, [("a", 1, 0.0), ("a", 2, 0.0), ("b", 1, 1.0)]),
    ],
)
def test_values_become_labels_at_the_threshold(settings, wanted):
    labelled = preprocess.binarise(table(RATED), threshold=4, **settings)
    assert triples(labelled) == wanted
    assert labelled["value"].dtype == np.float32 and labelled.index.tolist() == list(
        range(len(wanted))
    )


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), "4", True])
def test_a_threshold_that_is_no_number_is_refused(threshold):
    with pytest.raises(ValueError, match="binarise: threshold must be finite; got"):
        preprocess.binarise(table(RATED), threshold=threshold)


REPEATED = [("a", 1, 1.0), ("b", 1, 7.0), ("a", 1, 5.0), ("a", 2, 3.0), ("a", 1, 3.0)]


@pytest.mark.parametrize(
    ("how", "wanted", "times"),
    [
        ("keep", REPEATED, [5, 1, 9, 2, 4]),
        ("first", [("a", 1, 1.0), ("b", 1, 7.0), ("a", 2, 3.0)], [5, 1, 2]),
        ("last", [("b", 1, 7.0), ("a", 2, 3.0), ("a", 1, 3.0)], [1, 2, 4]),
        ("sum", [("a", 1, 9.0), ("b", 1, 7.0), ("a", 2, 3.0)], [9, 1, 2]),
        ("mean", [("a", 1, 3.0), ("b", 1, 7.0), ("a", 2, 3.0)], [9, 1, 2]),
    ],
)
def test_repeated_pairs_are_decided_as_asked(how, wanted, times):
    merged = preprocess.duplicates(table(REPEATED, times=[5, 1, 9, 2, 4]), how=how)
    assert triples(merged) == wanted and merged["time"].tolist() == times
    assert merged["value"].dtype == np.float32 and merged["time"].dtype == np.int64


def test_repeated_pairs_can_be_an_error_that_names_the_first():
    with pytest.raises(ValueError, match=r"2 rows repeat.*\(a, 1\)"):
        preprocess.duplicates(table(REPEATED), how="error")
    assert len(preprocess.duplicates(table(RATED), how="error")) == 3


def test_rows_of_value_0_are_dropped_or_kept():
    rows = [("a", 1, 0.0), ("a", 2, -1.0), ("b", 1, 5.0)]
    assert triples(preprocess.zeros(table(rows))) == rows[1:]
    assert triples(preprocess.zeros(table(rows), how="keep")) == rows


def test_log1p_takes_counts_and_refuses_what_has_no_logarithm():
    logged = preprocess.log1p(table([("a", 1, 0.0), ("a", 2, 352_698.0)]))
    np.testing.assert_allclose(logged["value"], [0.0, np.log(352_699)], rtol=1e-6)
    assert logged["value"].dtype == np.float32
    with pytest.raises(ValueError, match="above -1; the smallest is -1"):
        preprocess.log1p(table([("a", 1, -1.0)]))


@pytest.mark.parametrize(
    ("step", "settings", "message"),
    [
        ("k_core", {"k": 2, "by": "all"}, "by must be one of 'both', 'user', 'item'; got 'all'"),
        (
            "binarise",
            {"threshold": 1, "negatives": "no"},
            "negatives must be one of 'drop', 'keep'",
        ),
        ("duplicates", {"how": "max"}, "how must be one of 'error', 'first'"),
        ("zeros", {"how": "no"}, "how must be one of 'drop', 'keep'"),
    ],
)
def test_an_unknown_choice_lists_the_known_ones(step, settings, message):
    with pytest.raises(ValueError, match=f"{step}: {message}"):
        getattr(preprocess, step)(table(RATED), **settings)


def test_steps_are_applied_in_order():
    steps = [{"use": "duplicates", "how": "mean"}, {"use": "binarise", "threshold": 3}]
    merged_first = preprocess.apply(table(REPEATED), steps)
    assert triples(merged_first) == [("a", 1, 1.0), ("b", 1, 1.0), ("a", 2, 1.0)]
    cut_first = preprocess.apply(table(REPEATED), [steps[1], {"use": "duplicates", "how": "sum"}])
    assert triples(cut_first) == [("b", 1, 1.0), ("a", 1, 2.0), ("a", 2, 1.0)]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"use": "k_cor", "k": 2}, "step 1: no step 'k_cor'; did you mean 'k_core'"),
        ({"k": 2}, "step 1: no step ''; known: binarise"),
        ({"use": "k_core", "kk": 2}, "no setting 'kk'; did you mean 'k'"),
        ({"use": "k_core"}, "step 'k_core' needs the setting 'k'"),
        ({"use": "log1p", "base": 2}, "no setting 'base'"),
    ],
)
def test_a_wrong_step_or_setting_is_one_helpful_error(step, message):
    with pytest.raises(ValueError, match=message):
        preprocess.apply(table(RATED), [step])


@pytest.mark.parametrize("name", sorted(preprocess.STEPS))
def test_steps_do_not_change_the_table_they_are_given(name):
    others = [("c", item, 0.0) for item in range(3, 8)]
    frame = table([*REPEATED, *others], times=[5, 1, 9, 2, 4, *range(len(others))])
    untouched = frame.copy(deep=True)
    settings = {
        "k_core": {"k": 2},
        "binarise": {"threshold": 3},
        "duplicates": {"how": "sum"},
        "sampled_negatives": {"seed": 0},
    }
    result = preprocess.apply(frame, [{"use": name, **settings.get(name, {})}])
    result.loc[:, "value"] = -1
    if result is not frame:
        pd.testing.assert_frame_equal(frame, untouched)
    with pytest.raises(ValueError, match="lacks value"):
        preprocess.apply(untouched.drop(columns="value"), [{"use": name, **settings.get(name, {})}])


def test_rows_that_are_not_positive_go_and_a_core_that_leaves_nothing_blames_its_k():
    frame = table([(1, 1, 2.0), (1, 2, -3.0), (2, 1, 0.0)])
    assert preprocess.positive(frame).value.tolist() == [2.0]
    with pytest.raises(ValueError, match="positive: none of 2 rows has a value above 0"):
        preprocess.positive(frame.iloc[1:])
    with pytest.raises(ValueError, match=r"of 3 rows none is left with k=9, by='both'"):
        preprocess.k_core(frame, k=9)


# Sampled negatives


def likes(n_users=40, n_items=60, chance=0.2):
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((n_users, n_items)) < chance)
    values = rng.integers(0, 2, len(users)).astype(np.float32)
    return pd.DataFrame(
        {"user": users, "item": items + 100, "value": values, "time": users + items}
    )


def test_negatives_are_new_pairs_as_many_as_asked_for_each_like():
    frame = likes()
    found = preprocess.sampled_negatives(frame, seed=1, per_positive=2)
    pd.testing.assert_frame_equal(found.iloc[: len(frame)], frame)
    added = found.iloc[len(frame) :]
    assert not found.duplicated(["user", "item"]).any() and not added["value"].any()
    assert set(added["item"]) <= set(frame["item"])
    positive = frame[frame["value"] > 0]
    assert dict(added["user"].value_counts()) == dict(2 * positive["user"].value_counts())
    times = added.groupby("user")["time"].apply(sorted)
    twice = positive.groupby("user")["time"].apply(lambda x: sorted([*x, *x]))
    assert times.to_dict() == twice.to_dict()


def test_each_free_item_is_drawn_alike():
    frame = table([(0, 2, 1.0), (1, 0, 0.0), (1, 1, 0.0), (1, 3, 0.0), (1, 4, 0.0)])
    counts = np.zeros(5)
    for seed in range(2000):
        counts[preprocess.sampled_negatives(frame, seed=seed)["item"].iloc[-1]] += 1
    assert counts[2] == 0
    np.testing.assert_allclose(counts[[0, 1, 3, 4]], 500, atol=90)  # 4.6 standard deviations


def test_negatives_are_those_of_their_seed():
    first, again, other = (preprocess.sampled_negatives(likes(), seed=x) for x in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first["item"].equals(other["item"])


def test_a_user_can_take_all_items_left_and_no_more():
    frame = table([("a", 1, 1.0), ("a", 2, 1.0), ("b", 3, 0.0), ("b", 4, 0.0)])
    found = preprocess.sampled_negatives(frame, seed=0)
    assert sorted(triples(found)[4:]) == [("a", 3, 0.0), ("a", 4, 0.0)]
    with pytest.raises(ValueError, match=r"user a needs 4 items .* there are 2: ask for fewer"):
        preprocess.sampled_negatives(frame, seed=0, per_positive=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "sampled_negatives: seed must .*; got -1"),
        ({"seed": 2**32}, "sampled_negatives: seed must .*; got 4294967296"),
        ({"seed": True}, "sampled_negatives: seed must .*; got True"),
        ({"seed": 0, "per_positive": 0}, "sampled_negatives: per_positive must .*; got 0"),
        ({"seed": 0, "per_positive": 1.0}, "sampled_negatives: per_positive must .*; got 1.0"),
    ],
)
def test_settings_of_sampled_negatives_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        preprocess.sampled_negatives(likes(), **settings)


def test_negatives_need_every_id():
    frame = likes().astype({"item": "Int64"})
    frame.loc[3, "item"] = pd.NA
    with pytest.raises(ValueError, match="row 3 has no item id: drop it"):
        preprocess.sampled_negatives(frame, seed=0)


def test_a_table_without_rows_or_likes_gets_no_negatives():
    for frame in (likes().iloc[:0], likes().assign(value=np.float32(0))):
        pd.testing.assert_frame_equal(preprocess.sampled_negatives(frame, seed=0), frame)


# What is missing

STEPS = {
    "k_core": {"k": 1},
    "binarise": {"threshold": 1.0},
    "duplicates": {"how": "mean"},
    "sampled_negatives": {"seed": 0},
} | {name: {} for name in ("zeros", "positive", "log1p")}


@pytest.mark.parametrize("name", preprocess.STEPS)
@pytest.mark.parametrize(
    ("column", "entries", "message"),
    [
        ("user", ["a", None, "a"], "row 1 has no user id: drop it"),
        ("item", [1.0, np.nan, 2.0], "row 1 has no item id: drop it"),
        ("value", [2.0, np.nan, 1.0], "row 1: value must be a finite number; got nan"),
        ("value", [2.0, -np.inf, np.nan], "row 1: value must be a finite number; got -inf"),
        ("value", ["2", "1", "1"], "row 0: value must be a finite number; got '2'"),
        ("value", [2.0, None, "1"], "row 1: value must be a finite number; got None"),
        ("value", [2.0, "1", 1.0], "row 1: value must be a finite number; got '1'"),
        ("value", pd.array([2, 1, None], dtype="Int64"), "row 2: value must be a finite number"),
        ("value", pd.array([2.0, None, 1], dtype="Float64"), "row 1: value must be a finite"),
    ],
)
def test_every_step_refuses_what_is_missing_and_values_that_are_no_numbers(
    name, column, entries, message
):
    """A value that is not known is no dislike: it is not below the threshold either."""
    frame = table([("a", 1, 2.0), ("b", 1, 1.0), ("a", 2, 1.0)]).assign(**{column: entries})
    with pytest.raises(ValueError, match=message):
        preprocess.apply(frame, [{"use": name} | STEPS[name]])


@pytest.mark.parametrize("dtype", [np.int64, np.float16, bool, "Int64", "Float64", object])
def test_values_of_every_kind_of_number_are_taken(dtype):
    frame = table([("a", 1, 1), ("b", 1, 0)])
    frame["value"] = frame["value"].astype(dtype)
    assert preprocess.binarise(frame, threshold=0.5)["user"].tolist() == ["a"]


@pytest.mark.parametrize("how", ["sum", "mean"])
def test_the_latest_of_times_is_one_of_known_times(how):
    frame = table([("a", 1, 2.0), ("a", 1, 1.0)], times=[5.0, np.nan])
    with pytest.raises(ValueError, match="row 1: time must be a finite number or a date; got nan"):
        preprocess.duplicates(frame, how=how)
    assert preprocess.duplicates(frame, how="first")["time"].tolist() == [5.0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int64, bool, np.float16, "Int8"])
def test_logarithms_of_small_integers_have_32_bits(dtype):
    """ln 201 is 5.303305; of an uint8 it was taken in 16 bits, 5.304688."""
    values = np.array([0, 1]) if dtype in (bool, "Int8") else np.array([100, 127])
    frame = table([("a", 1, 0.0), ("b", 1, 0.0)])
    frame["value"] = values
    frame["value"] = frame["value"].astype(dtype)
    logged = preprocess.log1p(frame)["value"]
    assert logged.dtype == np.float32
    np.testing.assert_array_equal(logged, np.log1p(values.astype(float)).astype(np.float32))
