"""The layout of the interactions: sorted, complete, and padded within stated limits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxforget.sparse import aligned, layout
from jaxforget.sparse.kernels import spmm


def test_interactions_are_sorted_by_user_then_item():
    train = layout.build([1, 0, 1, 1], [2, 1, 0, 3], [1.0, 2.0, 3.0, 4.0])
    assert train.users.tolist() == [0, 1, 1, 1]
    assert train.items.tolist() == [1, 0, 2, 3]
    assert train.values.tolist() == [2.0, 3.0, 1.0, 4.0]


@pytest.mark.parametrize("seed", range(3))
def test_each_row_is_in_exactly_one_class_that_is_wide_enough(seed):
    rng = np.random.default_rng(seed)
    drawn = {(u % 40, i) for u, i in zip(rng.zipf(1.5, 500), rng.integers(0, 90, 500))}
    users, items = np.array(sorted(drawn)).T
    train = layout.build(users, items, np.ones(len(drawn)), n_users=41, n_items=90)
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
        ([0, 1], [0, 1], [1.0, np.nan], "finite numbers of float64; got the value nan at pos.* 1"),
        ([0, 1], [0, 1], np.array([1e39, np.inf]), "the value inf at position 1: drop that row"),
        ([0, 1], [0, 1], [1, "2"], "values must be numbers; got <U"),
        ([0, 1], [0, 1], [1, 2j], "values must be numbers; got complex128"),
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


def test_a_repeated_pair_is_refused_and_named():
    with pytest.raises(ValueError, match=r"2 interactions .* user 7 with item 3 at position 3"):
        layout.build([0, 7, 0, 7, 0], [5, 3, 1, 3, 5], np.ones(5))
    with pytest.raises(ValueError, match="repeats must be one of 'refuse', 'sum', 'last', 'mean'"):
        layout.build([0], [0], [1.0], repeats="keep")


@pytest.mark.parametrize(
    ("repeats", "merged"), [("sum", [3.0, 8.5]), ("last", [3.0, 0.5]), ("mean", [3.0, 8.5 / 3])]
)
def test_repeated_pairs_become_one_interaction(repeats, merged):
    train = layout.build([1, 0, 1, 1], [2, 1, 2, 2], [6.0, 3.0, 2.0, 0.5], repeats=repeats)
    assert train.users.tolist() == [0, 1] and train.items.tolist() == [1, 2]
    assert train.values.tolist() == merged
    assert train.by_item.indptr.tolist() == [0, 0, 1, 2]


def test_merged_values_are_checked_too():
    with pytest.raises(ValueError, match=r"finite numbers of float32; got the merged value 6.0"):
        layout.build([0, 0], [1, 1], np.full(2, 3e38, np.float32), repeats="sum")


def test_a_value_too_large_for_32_bits_is_refused_where_jax_runs_in_32_bits():
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"float32; got the value 1e.39"):
        layout.build([0], [0], np.array([1e39]))
    assert layout.build([0], [0], np.array([1e39])).values.tolist() == [1e39]


@pytest.mark.parametrize("raw", [20_171_128_123_456_728, 2**31 - 1, 2**31, 2**32 + 3, 10**8])
def test_raw_ids_are_refused_before_anything_is_allocated(raw):
    with pytest.raises(ValueError, match=f"users go up to {raw}.*encode the ids first"):
        layout.build(np.array([0, raw]), [0, 1], [1.0, 1.0])
    if raw >= 2**31 - 1:
        with pytest.raises(ValueError, match=f"n_items must be at most {2**31 - 1}.*encode"):
            layout.build([0, 1], [0, raw], [1.0, 1.0], n_users=2, n_items=raw + 1)


def test_an_unsigned_id_past_64_bits_is_named_as_it_is():
    with pytest.raises(ValueError, match=str(2**64 - 1)):
        layout.build(np.array([2**64 - 1], np.uint64), [0], [1.0])


@pytest.mark.parametrize("n_users", [2.5, True, -1, "3"])
def test_a_number_of_users_is_a_count(n_users):
    with pytest.raises(ValueError, match=r"layout\.build: n_users must be an integer, 0 or more"):
        layout.build([0], [0], [1.0], n_users=n_users)


def test_more_interactions_than_32_bits_can_number_are_refused():
    many = np.broadcast_to(np.int32(0), (2**31,))  # one number in memory
    with pytest.raises(ValueError, match=f"at most {2**31 - 1} interactions.*got {2**31}"):
        layout.build(many, many, many)


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(-50, 50)),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from(["refuse", "sum", "last", "mean"]),
)
def test_any_rows_give_what_a_dictionary_gives(rows, repeats):
    found = {}
    for user, item, value in rows:
        found.setdefault((user, item), []).append(value)
    users, items, values = np.array(rows).T
    build = functools.partial(
        layout.build, users, items, values / 2, n_users=7, n_items=5, repeats=repeats
    )
    if repeats == "refuse" and len(found) < len(rows):
        with pytest.raises(ValueError, match=f"{len(rows) - len(found)} interactions repeat"):
            build()
        return
    train = build()
    merge = {"sum": sum, "mean": np.mean, "last": lambda v: v[-1], "refuse": lambda v: v[0]}
    pairs = zip(train.users.tolist(), train.items.tolist())
    wanted = {pair: merge[repeats](found[pair]) / 2 for pair in sorted(found)}
    assert list(pairs) == list(wanted)
    np.testing.assert_allclose(train.values, list(wanted.values()), rtol=1e-15)
    order = np.asarray(train.by_item.order)
    assert sorted(order.tolist()) == list(range(len(found)))
    assert [i for i, _ in sorted((i, u) for u, i in found)] == np.asarray(train.items)[
        order
    ].tolist()
    for side, column, n in ((train.by_user, train.users, 7), (train.by_item, train.items, 5)):
        assert np.diff(side.indptr).tolist() == np.bincount(column, minlength=n).tolist()


def test_tables_of_one_size_are_laid_out_with_the_same_classes_and_hold_what_they_held():
    rng = np.random.default_rng(0)
    tables = [
        layout.build(*np.divmod(rng.permutation(np.arange(n))[:150], 40), rng.random(150),
                     n_users=50, n_items=40)
        for n in (2_000, 400, 900)
    ]  # fmt: skip
    found = aligned.layouts(tables)
    assert len({jax.tree.structure(x) for x in found}) == 1
    assert len({x.shape for x in (t.by_user.starts for t in found)}) == 1
    for old, new in zip(tables, found):
        np.testing.assert_array_equal(old.values, new.values)
        for side in ("by_user", "by_item"):
            a, b = getattr(old, side), getattr(new, side)
            np.testing.assert_array_equal(a.indptr, b.indptr)
            lengths = np.diff(b.indptr)[np.asarray(b.ranked)]
            for k, width in enumerate(b.widths):
                assert (lengths[b.starts[k] : b.starts[k + 1]] <= width).all()
        dense = jnp.asarray(rng.random((40, 3)), new.values.dtype)
        np.testing.assert_allclose(
            spmm(new, new.values, dense, by="user"), spmm(old, old.values, dense, by="user")
        )
    with pytest.raises(ValueError, match="tables of several sizes"):
        aligned.layouts([tables[0], layout.build([0], [1], [1.0], n_users=50, n_items=40)])
