"""Certified unlearning keeps its promise; ``test_receipts.py`` has what others can check."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_certificate import CELLS, U, by_hand, draw, truth

from jaxforget.methods import certified_als
from jaxforget.metrics import stable
from jaxforget.models import explicit_als, ials
from jaxforget.types import Factors, ForgetSet

TOL, REG = 1e-4, 2.0


@pytest.fixture(scope="module")
def method():
    built = certified_als.build(ials.build(dim=8, reg=REG, alpha=1.0), tol=TOL, oversample=3)
    return built._replace(fit=jax.jit(built.fit), unlearn=jax.jit(built.unlearn))


@pytest.fixture(scope="module")
def train():
    return draw(1)[0]


@pytest.fixture(scope="module")
def trained(method, train):
    return method.fit(jax.random.key(0), train, jnp.ones(len(CELLS)))


def matrix(state):
    return np.asarray(state.factors.users @ state.factors.items.T)


def without(mask):
    return jnp.asarray(np.where(mask, 0.0, 1.0))


def requests():
    users, items = CELLS.T
    rng = np.random.default_rng(0)
    yield "one pair", np.arange(len(CELLS)) == 5
    yield "a tenth", rng.random(len(CELLS)) < 0.1
    yield "a user", users == 3
    yield "an item", items == 2
    yield "nothing", np.zeros(len(CELLS), bool)
    yield "everything", np.ones(len(CELLS), bool)


@pytest.mark.parametrize("name, gone", list(requests()))
def test_unlearning_ends_within_the_promised_distance_of_retraining(
    method, train, trained, name, gone
):
    after = without(gone)
    forget = ForgetSet(jnp.ones(len(CELLS)), after)
    state, info = method.unlearn(jax.random.key(1), trained[0], train, forget)
    best = truth(train, after, REG)
    distance = np.linalg.norm(matrix(state) - best)
    assert info["certified"] and info["relative_bound"] <= TOL and not info["rank_short"], name
    assert distance <= info["bound"], name
    assert distance <= TOL * np.linalg.norm(matrix(state)), name
    emptied = np.setdiff1d(np.arange(U), CELLS[~gone, 0])
    assert np.abs(matrix(state)[emptied]).max(initial=0) <= info["bound"], name


def test_two_seeds_and_a_warm_start_agree_within_the_sum_of_their_bounds(method, train, trained):
    gone = np.random.default_rng(1).random(len(CELLS)) < 0.2
    after = without(gone)
    runs = [method.fit(jax.random.key(seed), train, after) for seed in (7, 8)]
    forget = ForgetSet(jnp.ones(len(CELLS)), after)
    runs.append(method.unlearn(jax.random.key(9), trained[0], train, forget))
    for i in range(3):
        for j in range(i):
            apart = np.linalg.norm(matrix(runs[i][0]) - matrix(runs[j][0]))
            assert apart <= runs[i][1]["bound"] + runs[j][1]["bound"]


def test_a_stream_of_requests_ends_where_one_request_for_all_of_them_does(method, train, trained):
    weights, state = np.ones(len(CELLS)), trained[0]
    for k in range(4):
        before = weights.copy()
        weights[k * 7 : k * 7 + 4] = 0
        forget = ForgetSet(jnp.asarray(before), jnp.asarray(weights))
        state, info = method.unlearn(jax.random.key(k), state, train, forget)
    best = truth(train, weights, REG)
    assert info["certified"] and np.linalg.norm(matrix(state) - best) <= info["bound"]


@pytest.mark.slow
def test_a_rank_that_is_too_small_is_not_certified(train):
    small = certified_als.build(ials.build(dim=1, reg=0.5, alpha=1.0), tol=TOL, max_steps=60)
    _, info = small.fit(jax.random.key(0), train, jnp.ones(len(CELLS)))
    assert info["rank_short"] and not info["certified"]


def test_explicit_feedback_has_no_such_certificate():
    with pytest.raises(ValueError, match="objective of implicit ALS"):
        certified_als.build(explicit_als.build(dim=3, reg=1.0), tol=TOL)


@pytest.mark.parametrize(
    "setting, value",
    [
        ("tol", 0.0),
        ("tol", float("nan")),
        ("dim", -1),
        ("oversample", 0.5),
        ("max_steps", 0),
        ("retries", 0),
        ("failure", 5),
        ("failure", 0.0),
        ("proof", "hope"),
    ],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"certified_als: {setting} must be"):
        certified_als.build(ials.build(dim=2, reg=1.0, alpha=1.0), **{setting: value})


def test_repeated_pairs_and_factors_that_are_not_finite_are_not_certified(method, train, trained):
    repeated, n = by_hand(*CELLS.T, np.asarray(train.values), 3)
    _, info = method.fit(jax.random.key(0), repeated, jnp.ones(n))
    assert not info["certified"] and info["bound"] == jnp.inf
    state = trained[0]
    broken = state._replace(
        directions=jax.tree.map(lambda x: x * jnp.asarray(jnp.nan, x.dtype), state.directions)
    )
    forget = ForgetSet(jnp.ones(len(CELLS)), without(np.arange(len(CELLS)) == 5))
    _, info = method.unlearn(jax.random.key(1), broken, train, forget)
    assert not info["certified"] and not info["bound"] < jnp.inf


def test_stable_items_of_a_certified_model_stay_recommended(method, train, trained):
    state, info = trained
    weights = jnp.ones(len(CELLS))
    items, certain = stable.stable_items(state.factors, train, weights, info["pair_bound"], k=3)
    best = truth(train, weights, REG)
    best[tuple(CELLS.T)] = -np.inf
    assert np.asarray(certain).any()
    for user in range(U):
        top = np.argsort(-best[user])[:3]
        assert set(np.asarray(items)[user][np.asarray(certain)[user]]) <= set(top)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_from_elsewhere_is_unlearnt_and_certified(method, train, dtype):
    """As a library for recommendation gives it: factors alone, in its own precision."""
    ones = jnp.ones(len(CELLS))
    served, _ = ials.build(dim=8, reg=REG, alpha=1.0, max_sweeps=30).fit(
        jax.random.key(0), train, ones
    )
    served = Factors(*(np.asarray(x, dtype) for x in served))
    after = without(np.random.default_rng(3).random(len(CELLS)) < 0.1)
    state, info = method.unlearn(jax.random.key(1), served, train, ForgetSet(ones, after))
    distance = np.linalg.norm(matrix(state) - truth(train, after, REG))
    assert info["certified"] and distance <= info["bound"]
    again, more = method.unlearn(jax.random.key(2), state, train, ForgetSet(after, 0 * after))
    assert more["certified"] and not np.asarray(again.factors.users).any()


def test_factors_of_other_users_are_refused(method, train):
    ones = jnp.ones(len(CELLS))
    wrong = Factors(jnp.ones((U + 1, 8)), jnp.ones((train.n_items, 8)))
    with pytest.raises(ValueError, match=rf"factors of {U + 1} users and .* but interactions of"):
        method.unlearn(jax.random.key(1), wrong, train, ForgetSet(ones, ones))
