"""Updates that change only what the request changes: ``als.local``, local_als, difference_als."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget import als, methods, models
from jaxforget.als import local
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet

UPDATES = {"local_als": {"max_rounds": 3}, "difference_als": {"max_sweeps": 2}}


@pytest.fixture
def train():
    rng = np.random.default_rng(3)
    cells = rng.permutation(30 * 20)[:220]
    return layout.build(
        cells // 20, cells % 20, rng.uniform(0.5, 2, 220).astype(np.float64), n_users=30, n_items=20
    )


def asked(train, gone):
    ones = jnp.ones_like(train.values)
    return ForgetSet(ones, jnp.where(jnp.asarray(gone), 0, ones))


def whole_user(train, user=4):
    return asked(train, np.asarray(train.users) == user)


def model_of(max_sweeps, **more):
    return models.load("ials")(dim=5, reg=2.0, alpha=3.0, max_sweeps=max_sweeps, **more)


def trained(train, max_sweeps, **more):
    model = model_of(max_sweeps, **more)
    return model, model.fit(jax.random.key(0), train, jnp.ones_like(train.values))[0]


def predictions(factors):
    return np.asarray(factors.users) @ np.asarray(factors.items).T


@pytest.mark.parametrize("name", UPDATES)
def test_an_empty_request_moves_nobody_however_unfinished_the_training(name, train):
    model, served = trained(train, 1)
    method = methods.load(name)(model, **UPDATES[name])
    empty = asked(train, np.zeros(220, bool))
    new, _ = method.unlearn(jax.random.key(1), served, train, empty)
    for old, now in zip(served, new):
        np.testing.assert_array_equal(now, old)


@pytest.mark.parametrize("name", UPDATES)
def test_a_user_and_an_item_that_lost_everything_are_exactly_nought(name, train):
    model, served = trained(train, 1)
    forget = asked(train, (np.asarray(train.users) == 4) | (np.asarray(train.items) == 2))
    method = methods.load(name)(model, **UPDATES[name])
    new, _ = method.unlearn(jax.random.key(1), served, train, forget)
    np.testing.assert_array_equal(new.users[4], 0)
    np.testing.assert_array_equal(new.items[2], 0)
    assert np.abs(new.users[5]).sum() > 0


@pytest.mark.slow
def test_from_a_converged_model_small_tolerances_reach_the_retrained_optimum(train):
    model, served = trained(train, 2000)
    forget = asked(train, np.isin(np.arange(220), [3, 50, 117]))
    reference = model.fit(jax.random.key(0), train, forget.after)[0]
    method = methods.load("local_als")(model, tol=1e-10, max_rounds=4000)
    new, info = method.unlearn(jax.random.key(1), served, train, forget)
    assert info["disturbance"] < 1e-7 and info["residual"] < 1e-8
    np.testing.assert_allclose(predictions(new), predictions(reference), atol=1e-7)
    difference = methods.load("difference_als")(model, max_sweeps=2000)
    new, _ = difference.unlearn(jax.random.key(1), served, train, forget)
    np.testing.assert_allclose(predictions(new), predictions(reference), atol=1e-7)


def test_a_round_solves_the_rows_above_the_threshold_and_no_other(train):
    """Against dense normal equations, users first."""
    _, served = trained(train, 2)
    forget = asked(train, np.isin(np.arange(220), [3, 50, 117]))
    before, after = (als.implicit(train, w, reg=2.0, alpha=3.0) for w in forget)
    rest = als.objectives.gaps(served, train, before)
    tol = 0.05
    new, info = local.repair(served, train, after, forget, rest, tol=tol, max_rounds=1)
    sides = [np.asarray(train.users), np.asarray(train.items)]
    x, start = [np.array(side) for side in served], [np.array(side) for side in served]
    curvature, target = np.asarray(after.curvature), np.asarray(after.target)
    lost = [np.unique(side[[3, 50, 117]]) for side in sides]

    def system(by, row, models):
        """The matrix and right-hand side of a row."""
        mine, other = sides[by] == row, models[1 - by]
        y = other[sides[1 - by][mine]]
        matrix = other.T @ other + (y.T * curvature[mine]) @ y + 2.0 * np.eye(5)
        return matrix, y.T @ target[mine]

    def left(by, row):
        matrix, rhs = system(by, row, x)
        return matrix @ x[by][row] - rhs - np.asarray(rest[by])[row]

    first = sum(np.sum(left(by, row) ** 2) for by in (0, 1) for row in range(len(x[by])))
    solved = 0
    for by in (0, 1):
        for row, gap in [(row, left(by, row)) for row in range(len(x[by]))]:
            size = np.linalg.norm(system(by, row, start)[1])
            if row in lost[by] or np.linalg.norm(gap) > tol * size:
                x[by][row] -= np.linalg.solve(system(by, row, x)[0], gap)
                solved += 1
    assert 6 < solved < 50 and int(info["rows_solved"]) == solved
    np.testing.assert_allclose(new.users, x[0], atol=1e-10)
    np.testing.assert_allclose(new.items, x[1], atol=1e-10)
    last = sum(np.sum(left(by, row) ** 2) for by in (0, 1) for row in range(len(x[by])))
    np.testing.assert_allclose(info["disturbance"], np.sqrt(last / first), rtol=1e-9)


def test_an_unfinished_model_moves_less_than_passes_move_it_and_ends_no_further_from_retraining():
    rng = np.random.default_rng(0)
    cells = rng.permutation(80 * 60)[:900]
    train = layout.build(cells // 60, cells % 60, np.ones(900), n_users=80, n_items=60)
    model, served = trained(train, 2)
    forget = whole_user(train, 7)
    reference = model.fit(jax.random.key(0), train, forget.after)[0]
    stay = np.arange(80) != 7
    distance, moved = {}, {}
    for name, how in (UPDATES | {"unlearn_als": {"max_sweeps": 10}}).items():
        method = methods.load(name)(model, **how)
        new = method.unlearn(jax.random.key(1), served, train, forget)[0]
        for found, other in ((distance, reference), (moved, served)):
            found[name] = np.linalg.norm((predictions(new) - predictions(other))[stay])
    for name in UPDATES:
        assert moved[name] < moved["unlearn_als"] / 3, (name, moved)
        assert distance[name] < distance["unlearn_als"] / 3, (name, distance)


@pytest.mark.slow
def test_explicit_feedback_and_ridges_that_follow_the_counts_are_served_too(train):
    model = models.load("explicit_als")(dim=3, reg=1.0, nu=1.0, max_sweeps=3000)
    served = model.fit(jax.random.key(0), train, jnp.ones_like(train.values))[0]
    forget = asked(train, np.arange(220) == 9)
    method = methods.load("local_als")(model, tol=1e-10, max_rounds=6000)
    info = method.unlearn(jax.random.key(1), served, train, forget)[1]
    assert info["disturbance"] < 1e-6 and info["residual"] < 1e-7


def test_factors_that_are_no_numbers_come_out_as_such(train):
    model, served = trained(train, 1)
    broken = Factors(served.users.at[0, 0].set(jnp.nan), served.items)
    method = methods.load("local_als")(model)
    _, info = method.unlearn(jax.random.key(1), broken, train, whole_user(train))
    assert np.isnan(info["disturbance"])


@pytest.mark.parametrize("name", UPDATES)
def test_models_without_normal_equations_are_refused(name):
    model = models.load("mf")(dim=2, init_scale=0.1, lr=0.1, n_epochs=1, reg=0.1)
    with pytest.raises(ValueError, match=f"{name} needs a model trained by ALS"):
        methods.load(name)(model)
