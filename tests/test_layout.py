"""The layout of the interactions: sorted, complete, and padded within stated limits."""

import numpy as np
import pytest

from jaxforget.sparse import layout


def test_interactions_are_sorted_by_user_then_item_and_repeats_keep_their_order():
    train = layout.build([1, 0, 1, 1], [2, 1, 0, 2], [1.0, 2.0, 3.0, 4.0])
    assert train.users.tolist() == [0, 1, 1, 1]
    assert train.items.tolist() == [1, 0, 2, 2]
    assert train.values.tolist() == [2.0, 3.0, 1.0, 4.0]


@pytest.mark.parametrize("seed", range(3))
def test_each_row_is_in_exactly_one_class_that_is_wide_enough(seed):
    rng = np.random.default_rng(seed)
    users, items = rng.zipf(1.5, 500) % 40, rng.integers(0, 90, 500)
    train = layout.build(users, items, np.ones(500), n_users=41, n_items=90)
    for side, rows, n in ((train.by_user, users, 41), (train.by_item, items, 90)):
        lengths = np.bincount(rows, minlength=n)
        assert np.array_equal(np.diff(side.indptr), lengths)
        ranked, starts = np.asarray(side.ranked), side.starts.tolist()
        assert sorted(ranked.tolist()) == list(range(n))
        assert np.all(lengths[ranked[: starts[0]]] == 0) and starts[-1] == n
        narrower = 0
        for first, end, width in zip(starts, starts[1:], side.widths):
            found = lengths[ranked[first:end]]
            assert np.all((narrower < found) & (found <= width))
            narrower = width


def test_both_orientations_hold_the_same_pairs(toy):
    order = np.asarray(toy.by_item.order)
    assert np.array_equal(np.asarray(toy.users)[order], toy.by_item.indices)
    assert np.all(np.diff(np.asarray(toy.items)[order]) >= 0)
    assert np.array_equal(toy.by_user.order, np.arange(60))


def test_padding_stays_under_two_thirds_of_a_long_row_and_under_all_of_a_short_one():
    lengths = np.arange(5, 5000)
    widths = np.array([layout._width(n) for n in lengths])
    assert np.all(widths >= lengths)
    assert np.max((widths / lengths)[lengths > 32]) < 1.65
    assert np.max(widths / lengths) < 2


@pytest.mark.parametrize(
    ("users", "items", "values", "message"),
    [
        ([0, -1], [0, 1], [1.0, 1.0], "users must lie in"),
        ([0, 1], [0, 9], [1.0, 1.0], "items must lie in"),
        ([0.5, 1.0], [0, 1], [1.0, 1.0], "vector of integers"),
        ([0, 1], [0, 1], [1.0, np.nan], "must be finite; got nan at position 1"),
        ([0, 1], [0, 1], [1.0], "one shape"),
    ],
)
def test_bad_input_is_one_clear_error(users, items, values, message):
    with pytest.raises(ValueError, match=message):
        layout.build(users, items, values, n_users=2, n_items=2)


def test_no_interactions_at_all_is_a_training_set_too():
    train = layout.build([], [], [], n_users=3, n_items=2)
    assert train.users.shape == (0,)
    assert train.by_user.widths == () and train.by_user.starts.tolist() == [3]
