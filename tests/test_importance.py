"""How far a request reaches, which rows are chosen, and reading and writing them."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget.gradient.influence import importance
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet


@pytest.fixture
def train():
    """40 interactions of 9 users and 8 items; user 4 and item 6 have none."""
    rng = np.random.default_rng(3)
    rows, columns = np.divmod(rng.permutation(8 * 7)[:40], 7)
    users, items = (
        np.array([0, 1, 2, 3, 5, 6, 7, 8])[rows],
        np.array([0, 1, 2, 3, 4, 5, 7])[columns],
    )
    return layout.build(users, items, rng.integers(0, 2, 40).astype(float), n_users=9, n_items=8)


def request(train, rows=(3, 17), before=None):
    before = np.ones(len(train.users)) if before is None else before
    after = before.copy()
    after[list(rows)] = 0
    return ForgetSet(jnp.asarray(before), jnp.asarray(after))


def scores_by_matrix(train, forget, hops):
    """deg counts rows and the node itself; B is 0/1."""
    n, users, items = train.n_users, np.asarray(train.users), np.asarray(train.items)
    nodes = n + train.n_items
    b, degree, gone = np.eye(nodes), np.ones(nodes), np.zeros(nodes)
    for u, i, known, left in zip(users, items, *map(np.asarray, forget)):
        if known > 0:
            b[u, n + i] = b[n + i, u] = 1
            degree[[u, n + i]] += 1
            gone[[u, n + i]] += known > left
    scores = gone / degree
    for _ in range(hops):
        scores = b @ scores / degree
    return scores


@pytest.mark.parametrize("hops", [0, 1, 2, 3])
@pytest.mark.parametrize("earlier", [False, True])
def test_scores_equal_the_matrix_formula(train, hops, earlier):
    before = np.ones(40)
    if earlier:  # some rows, repeated pairs among them, were forgotten before
        before[::5] = 0
    forget = request(train, before=before)
    found = importance.reach(train, forget, hops=hops)
    want = scores_by_matrix(train, forget, hops)
    np.testing.assert_allclose(np.concatenate(found[:2]), want, atol=1e-13)


def test_scores_start_inside_the_unit_interval_and_ignore_labels(train):
    forget = request(train)
    found = importance.reach(train, forget, hops=0)
    asked = np.concatenate(found[2:])
    scores = np.concatenate(found[:2])
    assert np.all((scores[asked] > 0) & (scores[asked] < 1)) and np.all(scores[~asked] == 0)
    other = importance.reach(dataclasses.replace(train, values=1 - train.values), forget, hops=2)
    np.testing.assert_array_equal(other.users, importance.reach(train, forget, hops=2).users)


def test_negative_hops_are_refused(train):
    with pytest.raises(ValueError, match="hops must be an integer, 0 or more"):
        importance.reach(train, request(train), hops=-1)


def test_keeping_everything_keeps_all_that_is_reached_and_less_keeps_a_subset(train):
    found = importance.reach(train, request(train), hops=1)
    sets = [np.concatenate(importance.select(found, keep=k)) for k in (1.0, 0.8, 0.5, 0.2)]
    assert np.array_equal(sets[0], np.concatenate(found[:2]) > 0)
    for larger, smaller in itertools.pairwise(sets):
        assert np.all(larger >= smaller) and smaller.sum() < larger.sum()
    asked = np.concatenate(found[2:])
    assert all(np.all(kept >= asked) for kept in sets)


@pytest.mark.parametrize("keep", [0.6, 0.35])
def test_the_released_threshold_is_the_quantile_of_the_reached_and_may_drop_the_asked(train, keep):
    forget = request(train)
    found = importance.reach(train, forget, hops=1)
    scores = scores_by_matrix(train, forget, 1)
    bar = np.quantile(scores[scores > 0], 1 - keep)
    want = scores > bar
    got = np.concatenate(importance.select(found, keep=keep, always=False))
    np.testing.assert_array_equal(got, want)


def test_an_empty_request_reaches_nobody(train):
    empty = request(train, rows=())
    found = importance.reach(train, empty, hops=2)
    assert not np.concatenate(importance.select(found, keep=0.5)).any()
    rows = importance.top(found, n_users=3, n_items=3)
    assert np.all(np.asarray(rows.users) == 9) and np.all(np.asarray(rows.items) == 8)


def test_top_picks_the_asked_first_then_the_highest_scores_and_leaves_places_unused(train):
    found = importance.reach(train, request(train), hops=1)
    rows = importance.top(found, n_users=9, n_items=4)
    asked = np.flatnonzero(found.requested_users)
    picked = np.asarray(rows.users)
    assert set(picked[: len(asked)]) == set(asked)
    rest = picked[len(asked) :]
    rest = rest[rest < 9]
    assert np.all(np.diff(np.asarray(found.users)[rest]) <= 0)
    assert set(picked[picked < 9]) == set(np.flatnonzero(found.users > 0)) and 9 in picked
    assert rows.items.shape == (4,)


def test_put_changes_the_chosen_rows_alone_and_take_reads_them_back(train):
    rng = np.random.default_rng(0)
    params = Factors(jnp.asarray(rng.normal(size=(9, 2))), jnp.asarray(rng.normal(size=(8, 2))))
    rows = importance.Rows(jnp.array([4, 9, 1], jnp.int32), jnp.array([7, 8], jnp.int32))
    taken = importance.take(params, rows)
    np.testing.assert_array_equal(taken.users, np.stack([params.users[4], [0, 0], params.users[1]]))
    new = importance.put(params, rows, Factors(taken.users + 1, taken.items + 1))
    changed = np.any(np.asarray(new.users) != np.asarray(params.users), axis=1)
    assert list(np.flatnonzero(changed)) == [1, 4]
    assert list(
        np.flatnonzero(np.any(np.asarray(new.items) != np.asarray(params.items), axis=1))
    ) == [7]


def test_meeting_leaves_the_interactions_of_the_chosen_rows_in_one_trace_for_all(train):
    traces = []

    @jax.jit
    def live(train, users, items):
        traces.append(1)
        smaller, places = importance.meeting(train, users, items)
        return places, smaller.by_item.indptr[-1]

    for seed in range(3):
        rng = np.random.default_rng(seed)
        users, items = jnp.asarray(rng.random(9) < 0.3), jnp.asarray(rng.random(8) < 0.2)
        places, count = live(train, users, items)
        want = np.flatnonzero(np.asarray(users)[train.users] | np.asarray(items)[train.items])
        np.testing.assert_array_equal(places[: len(want)], want)
        assert np.all(places[len(want) :] == 40) and count == len(want)
    assert len(traces) == 1
