"""Requests that list pairs: these and no others are forgotten, and absent ones are named."""

import jax
import numpy as np
import pytest
from oracles import gone

from jaxforget.prepare import forget
from jaxforget.sparse import layout


def distinct(n=120, seed=0):
    pairs = np.random.default_rng(seed).permutation(14 * 30)[:n]
    return layout.build(pairs // 30, pairs % 30, np.ones(n), n_users=15, n_items=31)


def test_listed_pairs_are_forgotten_and_no_others():
    train = distinct()
    listed = np.random.default_rng(0).choice(120, 40, replace=False)
    users, items = np.asarray(train.users)[listed], np.asarray(train.items)[listed]
    forgotten = gone(forget.pairs(train, users, items)[1])
    assert sorted(listed.tolist()) == np.flatnonzero(forgotten).tolist()
    again = forget.pairs(train, [*users, *users], [*items, *items])[1]
    np.testing.assert_array_equal(gone(again), forgotten)


def test_an_empty_list_is_an_empty_request():
    _, request = forget.pairs(distinct(), [], [])
    assert not gone(request).any() and len(request.after) == 120


@pytest.mark.parametrize("pair", [(0, 0), (13, 5), (99, 1), (-1, 1), (1, 99), (1, -1), (2**20, 3)])
def test_a_pair_that_is_not_there_is_named(pair):
    train = layout.build([0, 1, 1, 2], [1, 0, 1, 3], np.ones(4), n_users=14)
    users, items = [1, pair[0], 2], [1, pair[1], 3]
    with pytest.raises(ValueError, match=rf"1 of 3 pairs are not .*\({pair[0]}, {pair[1]}\)"):
        forget.pairs(train, users, items)


def test_pairs_of_an_empty_training_set_are_not_there():
    train = layout.build([], [], [], n_users=2, n_items=2)
    with pytest.raises(ValueError, match=r"\(0, 1\)"):
        forget.pairs(train, [0], [1])
    assert forget.pairs(train, [], [])[1].after.shape == (0,)


def test_pairs_forgotten_before_stay_forgotten():
    train = layout.build([0, 1], [0, 1], np.ones(2))
    _, request = forget.pairs(train, [0, 1], [0, 1], before=[0.0, 1.0])
    assert gone(request).tolist() == [False, True]


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [([0.0], [1.0], "integer ids; got float64"), (["a"], ["b"], "integer ids"),
     ([0, 1], [0], "must pair up"), ([[0]], [[0]], "must be a vector")],
)  # fmt: skip
def test_pairs_must_be_two_vectors_of_ids(users, items, message):
    with pytest.raises(ValueError, match=message):
        forget.pairs(distinct(), users, items)


def test_pairs_can_be_traced():
    train = distinct()
    users, items = train.users[:24].reshape(4, 6), train.items[:24].reshape(4, 6)
    weights = jax.jit(jax.vmap(lambda u, i: forget.pairs(train, u, i)[1].after))(users, items)
    wanted = np.ones((4, 120))
    for row in range(4):
        wanted[row, 6 * row : 6 * row + 6] = 0
    np.testing.assert_array_equal(weights, wanted)
