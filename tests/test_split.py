"""Splits: the published recipe, shares per user and over time, ids that occur in one part only."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from jaxforget.prepare import split
from jaxforget.sparse import layout

SHARES = (0.6, 0.2, 0.2)


def ratings(n=97, seed=0, n_users=9, n_items=14):
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(n_users * n_items)[:n]
    return pd.DataFrame({
        "user": np.array([f"u{u}" for u in pairs // n_items]),
        "item": 100 + pairs % n_items, "value": rng.permutation(n).astype(np.float32),
        "time": rng.integers(0, 40, n),
    })  # fmt: skip


def published(n, seed, shares):
    """The recipe of the published scripts, in their own words."""
    state = np.random.get_state()
    np.random.seed(seed)
    index = np.arange(n)
    np.random.shuffle(index)
    np.random.set_state(state)
    first, second = int(shares[0] * n), int((shares[0] + shares[1]) * n)
    return index[:first], index[first:second], index[second:]


def rows_of(part, users, items):
    """Rows of a part in original ids; values tell the rows apart."""
    return list(zip(
        users[np.asarray(part.users)].tolist(), items[np.asarray(part.items)].tolist(),
        np.asarray(part.values).tolist(), strict=True,
    ))  # fmt: skip


def rows_in(frame, index):
    return list(frame[["user", "item", "value"]].iloc[index].itertuples(index=False, name=None))


# Who goes where


@pytest.mark.parametrize("n", [5, 10, 97, 1000])
@pytest.mark.parametrize("seed", [0, 1024])
def test_the_random_split_is_the_published_recipe(n, seed):
    part = split.assign(np.zeros(n), seed=seed, shares=SHARES)
    assert part.dtype == np.int8 and part.shape == (n,)
    for number, rows in enumerate(published(n, seed, SHARES)):
        assert sorted(rows) == np.flatnonzero(part == number).tolist()


@pytest.mark.parametrize(
    ("shares", "n", "sizes"),
    [
        ((0.7, 0.1, 0.2), 10, [7, 1, 2]),
        ((0.29, 0.01, 0.7), 100, [29, 1, 70]),
        ((0.8, 0.0, 0.2), 7, [5, 0, 2]),
        ((1, 0, 0), 3, [3, 0, 0]),
        ((1 / 3, 1 / 3, 1 / 3), 9, [3, 3, 3]),
    ],
)
def test_sizes_are_whole_parts_of_the_exact_shares(shares, n, sizes):
    # in floating point 0.7 + 0.1 is just below 0.8, and 0.29 * 100 just below 29
    part = split.assign(np.zeros(n), seed=3, shares=shares)
    assert np.bincount(part, minlength=3).tolist() == sizes


def test_a_split_per_user_gives_every_user_the_shares():
    users = np.repeat(["a", "b", "c", "d"], [10, 5, 1, 2])
    users = users[np.random.default_rng(0).permutation(len(users))]
    part = split.assign(users, seed=1, shares=SHARES, by="user")
    counts = {u: np.bincount(part[users == u], minlength=3).tolist() for u in "abcd"}
    assert counts == {"a": [6, 2, 2], "b": [3, 1, 1], "c": [1, 0, 0], "d": [1, 0, 1]}
    again = split.assign(users, seed=2, shares=SHARES, by="user")
    assert (part != again).any()


def test_a_temporal_split_puts_no_training_row_after_a_test_row():
    frame = ratings()
    part = split.assign(frame["user"], seed=0, shares=SHARES, by="time", times=frame["time"])
    assert np.bincount(part).tolist() == [58, 19, 20]
    latest = [max(frame["time"][part == p]) for p in (0, 1)]
    assert latest[0] <= min(frame["time"][part == 1]) and latest[1] <= min(frame["time"][part == 2])
    for time in latest:  # equal times are cut in file order
        tied = part[frame["time"] == time]
        assert (np.diff(tied) >= 0).all()
    other = split.assign(frame["user"], seed=9, shares=SHARES, by="time", times=frame["time"])
    np.testing.assert_array_equal(part, other)


DAYS = np.array(["2021-03-01", "2020-03-01", "2022-03-01"], "datetime64[s]")


@pytest.mark.parametrize(
    "times",
    [
        [20, 10, 30], [20.5, 10, 30], np.float32([20, 10, 30]), np.array([20, 10, 30], object),
        pd.array([20, 10, 30], dtype="Int64"), DAYS, DAYS.tolist(), pd.Series(DAYS, [9, 7, 8]),
        pd.Series(DAYS).dt.tz_localize("UTC"), pd.Series(DAYS).dt.date,
    ],
)  # fmt: skip
def test_times_are_numbers_or_dates_of_any_kind(times):
    thirds = (1 / 3, 1 / 3, 1 / 3)
    part = split.assign([0, 0, 0], seed=0, shares=thirds, by="time", times=times)
    assert part.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([3, np.nan, 1], "row 1: time must be a finite number or a date; got nan"),
        ([3, 2, -np.inf], "row 2: .* got -inf"),
        ([3, None, 1], "row 1: .* got nan"),
        (pd.array([3, 2, None], dtype="Int64"), "row 2: "),
        (["10", "9", "11"], "row 0: .* got '10'"),
        ([3, "x", 1], "row 1: .* got 'x'"),
        ([3, DAYS[0].tolist(), 1], "row 1: .* got datetime.datetime"),
        (np.array(["2021", "NaT", "2022"], "M8[s]"), "row 1: .* got NaT"),
        ([pd.Timestamp(2020, 1, 1, tz="UTC"), *DAYS.tolist()[:2]], "time cannot be put in order"),
        ([3, 1], r"times must be \[3\], one per row; got \[2\]"),
        (np.zeros((3, 1)), r"times must be \[3\], one per row; got \[3, 1\]"),
    ],
)
def test_times_that_say_no_order_are_refused(times, message):
    """NumPy would take a missing time for the newest, and sort "10" before "9"."""
    with pytest.raises(ValueError, match=message):
        split.assign([0, 0, 0], seed=0, shares=SHARES, by="time", times=times)


@pytest.mark.parametrize("users", [[0, np.nan, 1], ["a", None, "b"], pd.Series(["a", pd.NA, "b"])])
def test_a_missing_user_is_refused_where_the_rows_of_each_user_are_cut(users):
    with pytest.raises(ValueError, match="row 1 has no user id: drop it"):
        split.assign(users, seed=0, shares=SHARES, by="user")


@pytest.mark.parametrize("column", ["user", "item", "value"])
def test_a_table_is_split_only_where_it_is_whole(column):
    frame = ratings().astype({"item": float})
    frame.loc[4, column] = np.nan
    with pytest.raises(ValueError, match=f"row 4.* {column}"):
        split.split_frame(frame, seed=0, shares=SHARES)


def test_a_time_may_be_missing_where_times_are_not_read():
    frame = ratings().assign(time=np.nan)
    split.split_frame(frame, seed=0, shares=SHARES)
    with pytest.raises(ValueError, match="row 0: time must be"):
        split.split_frame(frame, seed=0, shares=SHARES, by="time")


def test_one_seed_gives_one_split_and_another_seed_another():
    users = np.zeros(200)
    first, same, other = (split.assign(users, seed=s, shares=SHARES) for s in (4, 4, 5))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shares": (0.6, 0.2)}, "shares must be three numbers"),
        ({"shares": (0.6, 0.2, 0.3)}, "sum to 1"),
        ({"shares": (1.2, -0.2, 0.0)}, "at least 0"),
        ({"shares": (float("nan"), 0.5, 0.5)}, "shares must be"),
        ({"by": "item"}, "by must be one of 'interaction', 'user', 'time'; got 'item'"),
        ({"by": "time"}, "needs the times"),
        ({"shares": (0.1, 0.4, 0.5)}, "training part is empty: 5 rows"),
    ],
)
def test_a_split_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        split.assign(np.zeros(5), **{"seed": 0, "shares": SHARES} | settings)


def test_an_empty_table_has_no_training_part():
    with pytest.raises(ValueError, match="training part is empty"):
        split.split_frame(ratings(0), seed=0, shares=SHARES)


# Tables


def test_dropping_the_cold_is_the_published_recipe():
    frame = ratings(seed=3, n_users=40, n_items=60)
    prepared = split.split_frame(frame, seed=1024, shares=SHARES)

    train, valid, test = (rows_in(frame, rows) for rows in published(len(frame), 1024, SHARES))
    users = list(dict.fromkeys(row[0] for row in train))  # by first appearance in training order
    items = list(dict.fromkeys(row[1] for row in train))
    warm = [[row for row in part if row[0] in users and row[1] in items] for part in (valid, test)]
    assert len(warm[1]) < len(test), "the example has cold rows"

    assert prepared.users.tolist() == users and prepared.items.tolist() == items
    for part, wanted in zip(prepared.split, (train, *warm), strict=True):
        assert (part.n_users, part.n_items) == (len(users), len(items))
        assert Counter(rows_of(part, prepared.users, prepared.items)) == Counter(wanted)


@pytest.mark.parametrize("by", ["interaction", "user", "time"])
@pytest.mark.parametrize("cold", ["drop", "keep"])
def test_position_says_where_each_training_row_stands_in_the_shuffled_order(by, cold):
    frame = ratings(seed=4)
    prepared = split.split_frame(frame, seed=7, shares=SHARES, by=by, cold=cold)
    position = prepared.position
    n = len(prepared.split.train.values)
    assert sorted(position.tolist()) == list(range(n)) and position.dtype == np.int64
    if by == "interaction":
        shuffled = rows_in(frame, published(len(frame), 7, SHARES)[0])
        ours = rows_of(prepared.split.train, prepared.users, prepared.items)
        assert [shuffled[row] for row in position] == ours
    if by == "time":
        shuffled = rows_in(frame, np.argsort(frame["time"], kind="stable")[:n])
        ours = rows_of(prepared.split.train, prepared.users, prepared.items)
        assert [shuffled[row] for row in position] == ours


@pytest.mark.parametrize("by", ["interaction", "user", "time"])
def test_keeping_the_cold_loses_no_row_and_numbers_everything(by):
    frame = ratings(seed=5, n_users=40, n_items=60)
    prepared = split.split_frame(frame, seed=0, shares=SHARES, by=by, cold="keep")
    assert prepared.users.tolist() == list(dict.fromkeys(frame["user"]))
    assert prepared.items.tolist() == list(dict.fromkeys(frame["item"]))
    both = [row for part in prepared.split for row in rows_of(part, prepared.users, prepared.items)]
    assert Counter(both) == Counter(rows_in(frame, slice(None)))
    part = split.assign(frame["user"], seed=0, shares=SHARES, by=by, times=frame["time"])
    assert [len(p.values) for p in prepared.split] == np.bincount(part, minlength=3).tolist()


def test_what_to_do_with_the_cold_must_be_known():
    with pytest.raises(ValueError, match="cold must be one of 'drop', 'keep'; got 'warm'"):
        split.split_frame(ratings(), seed=0, shares=SHARES, cold="warm")
    with pytest.raises(ValueError, match="needs the times"):
        split.split_frame(ratings().drop(columns="time"), seed=0, shares=SHARES, by="time")


# Interactions


@pytest.mark.parametrize("by", ["interaction", "user", "time"])
def test_interactions_split_into_parts_over_the_same_ids(by):
    frame = ratings(seed=6)
    whole = layout.build(pd.factorize(frame["user"])[0], frame["item"] - 100, frame["value"],
                         n_users=12, n_items=20)  # fmt: skip
    times = np.random.default_rng(0).integers(0, 50, len(frame))
    parts = split.split(whole, seed=8, shares=SHARES, by=by, times=times)
    part = split.assign(whole.users, seed=8, shares=SHARES, by=by, times=times)
    for number, piece in enumerate(parts):
        assert (piece.n_users, piece.n_items) == (12, 20)
        for name in ("users", "items", "values"):
            wanted = np.asarray(getattr(whole, name))[part == number]
            np.testing.assert_array_equal(getattr(piece, name), wanted)
