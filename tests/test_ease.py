"""EASE and its exact updates, against dense matrices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget import methods, metrics, models
from jaxforget.models import _item_item, ease
from jaxforget.prepare import forget, preprocess, split
from jaxforget.sparse import dense, layout, serving
from jaxforget.types import ForgetSet, Split

U, I, REG = 50, 36, 3.0
RNG = np.random.default_rng(4)
CELLS = np.sort(RNG.permutation(U * I)[:420])
TRAIN = layout.build(CELLS // I, CELLS % I, RNG.uniform(0.5, 2, 420), n_users=U, n_items=I)
ONES = jnp.ones_like(TRAIN.values)
FREE = np.setdiff1d(np.arange(U * I), CELLS)
HELD = [(c // I, c % I, np.ones(60)) for c in RNG.permutation(FREE)[:120].reshape(2, 60)]
MODEL = models.load("ease")(reg=REG)
METHOD = methods.load("closed_form")(MODEL)
FIT, UNLEARN, UPDATE = jax.jit(MODEL.fit), jax.jit(METHOD.unlearn), jax.jit(MODEL.update)


def dense_values(weights):
    out = np.zeros((U, I))
    out[np.asarray(TRAIN.users), np.asarray(TRAIN.items)] = np.asarray(weights * TRAIN.values)
    return out


def by_columns(x):
    """Each column of B by its own ridge regression on the other columns."""
    out = np.zeros((I, I))
    for j in range(I):
        others = np.arange(I) != j
        a = x[:, others]
        out[others, j] = np.linalg.solve(a.T @ a + REG * np.eye(I - 1), a.T @ x[:, j])
    return out


def without(gone):
    return ForgetSet(ONES, jnp.where(jnp.asarray(gone), 0, ONES))


REQUESTS = {
    "nothing": np.zeros(420, bool),
    "a pair": np.arange(420) == 17,
    "pairs": RNG.random(420) < 0.03,
    "a user": np.asarray(TRAIN.users) == 7,
    "an item": np.asarray(TRAIN.items) == 5,
    "items": np.isin(TRAIN.items, (5, 6, 30)),
    "most": RNG.random(420) < 0.9,
    "all": np.ones(420, bool),
}


def test_the_matrix_is_the_ridge_regression_of_each_item_on_the_others():
    weights = jnp.asarray(RNG.random(420) > 0.2, ONES.dtype)
    trained, info = FIT(jax.random.key(0), TRAIN, weights)
    want = by_columns(dense_values(weights))
    np.testing.assert_allclose(ease.item_item(trained), want, atol=1e-12)
    assert info["residual"] < 1e-12
    served, scores = MODEL.factors(trained, TRAIN, weights), dense_values(weights) @ want
    some = jnp.array([3, 0, 41])
    np.testing.assert_allclose(served.scores(some), scores[np.asarray(some)], atol=1e-12)
    tables = served.tables()
    np.testing.assert_allclose(tables.users @ tables.items.T, scores, atol=1e-12)


@pytest.mark.parametrize("beside", ["alike", pytest.param("factors", marks=pytest.mark.slow)])
@pytest.mark.parametrize("at_once", [3 * I, pytest.param(1, marks=pytest.mark.slow)])
def test_what_scores_on_demand_is_measured_as_its_tables_are(monkeypatch, at_once, beside):
    """Whatever the number of users at a time; also beside factors, and under jit."""
    monkeypatch.setattr(serving, "SCORES_AT_ONCE", at_once)
    held = [layout.build(*part, n_users=U, n_items=I) for part in HELD]
    request = without(REQUESTS["a user"])
    served, other = (
        MODEL.factors(FIT(jax.random.key(0), TRAIN, w)[0], TRAIN, w) for w in (ONES, request.after)
    )
    split, tables = Split(TRAIN, *held), (served.tables(), other.tables())
    want = metrics.evaluate(tables[0], split, request, ks=(5,), reference=tables[1])
    mixed = ((served, tables[1]), (tables[0], other))
    for own, goal in mixed if beside == "factors" else ((served, other),):
        found = jax.jit(metrics.evaluate, static_argnames="ks")(
            own, split, request, ks=(5,), reference=goal
        )
        assert found.keys() == want.keys()
        for name in found:
            np.testing.assert_allclose(found[name], want[name], rtol=1e-9, err_msg=name)
    scores = served.scores(jnp.arange(U))
    np.testing.assert_allclose(serving.scores_of(served, TRAIN), scores[TRAIN.users, TRAIN.items])
    np.testing.assert_allclose(serving.largest(served), jnp.max(jnp.abs(scores)))
    spoilt = dataclasses.replace(served, matrix=served.matrix.at[0, 1].set(jnp.inf))
    assert np.isnan(serving.largest(spoilt))


def test_the_loss_is_smallest_at_the_trained_matrix_and_is_what_is_written():
    trained, _ = FIT(jax.random.key(0), TRAIN, ONES)
    x, b = dense_values(ONES), by_columns(dense_values(ONES))
    want = np.sum((x - x @ b) ** 2) + REG * np.sum(b**2)
    np.testing.assert_allclose(MODEL.loss(trained, TRAIN, ONES, ONES), want, rtol=1e-12)
    slope = jax.jit(jax.grad(MODEL.loss))(trained, TRAIN, ONES, ONES)
    np.testing.assert_allclose(slope.inverse, 0, atol=1e-8)


@pytest.mark.parametrize("name", REQUESTS)
def test_an_update_is_training_without_the_request(name):
    request = without(REQUESTS[name])
    trained, _ = FIT(jax.random.key(0), TRAIN, ONES)
    new, info = UNLEARN(jax.random.key(1), trained, TRAIN, request)
    want, _ = FIT(jax.random.key(2), TRAIN, request.after)
    error = np.linalg.norm(new.inverse - want.inverse) / np.linalg.norm(want.inverse)
    assert error <= 1e-12 and info["residual"] < 1e-11
    assert bool(info["inverted"]) == (name in ("most", "all"))


def test_a_stream_in_any_order_is_one_request_and_what_is_added_again_is_as_before():
    trained, _ = FIT(jax.random.key(0), TRAIN, ONES)
    state, before = trained, ONES
    for name in ("a user", "pairs", "an item", "a pair"):
        after = jnp.where(jnp.asarray(REQUESTS[name]), 0, before)
        state, _ = UPDATE(state, TRAIN, before, after)
        before = after
    want, _ = FIT(jax.random.key(0), TRAIN, before)
    np.testing.assert_allclose(state.inverse, want.inverse, atol=1e-12)
    back, _ = UPDATE(state, TRAIN, before, ONES)
    np.testing.assert_allclose(back.inverse, trained.inverse, atol=1e-12)


def test_an_inverse_that_is_none_is_replaced():
    """A state of other data, or one that rounding has spoilt, is seen by random vectors."""
    trained, _ = FIT(jax.random.key(0), TRAIN, ONES)
    request = without(REQUESTS["a pair"])
    for spoilt in (1.01 * trained.inverse, trained.inverse.at[0, 0].add(0.1), jnp.nan * ONES[0]):
        state = ease.Inverse(jnp.broadcast_to(spoilt, (I, I)))
        new, info = UNLEARN(jax.random.key(1), state, TRAIN, request)
        want, _ = FIT(jax.random.key(0), TRAIN, request.after)
        np.testing.assert_allclose(new.inverse, want.inverse, atol=1e-12)
        assert info["inverted"] == 1


def test_float32_stays_float32_and_near():
    train = dataclasses.replace(TRAIN, values=TRAIN.values.astype(jnp.float32))
    ones = jnp.ones_like(train.values)
    trained, _ = FIT(jax.random.key(0), train, ones)
    request = ForgetSet(ones, jnp.where(jnp.asarray(REQUESTS["a user"]), 0, ones))
    new, _ = UNLEARN(jax.random.key(1), trained, train, request)
    want, _ = FIT(jax.random.key(0), train, request.after)
    assert new.inverse.dtype == jnp.float32
    np.testing.assert_allclose(new.inverse, want.inverse, atol=1e-5)


@pytest.mark.parametrize("reg", [0.0, -1.0, np.nan])
def test_a_ridge_that_is_not_positive_is_refused(reg):
    with pytest.raises(ValueError, match="ease: reg must be"):
        models.load("ease")(reg=reg)


def test_models_without_a_closed_form_are_refused():
    with pytest.raises(ValueError, match="closed_form needs a model with a closed form"):
        methods.load("closed_form")(models.load("ials")(dim=2, reg=1.0, alpha=1.0))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["100k", "1m"])
def test_on_movielens_an_update_is_training_to_ten_digits(size, real_data):
    from jaxforget import data

    try:
        ratings = data.read("movielens", real_data, size=size)
    except FileNotFoundError as reason:
        pytest.skip(str(reason))
    likes = preprocess.binarise(ratings, threshold=4.0).astype({"value": "float64"})
    parts = split.split_frame(likes, seed=0, shares=(0.8, 0.1, 0.1)).split
    train, ones = parts.train, jnp.ones_like(parts.train.values)
    model = models.load("ease")(reg=300.0)
    fit, unlearn = jax.jit(model.fit), jax.jit(methods.load("closed_form")(model).unlearn)
    trained, _ = fit(jax.random.key(0), train, ones)
    for count, choose in ((1, forget.users), (25, forget.users), (3, forget.items)):
        _, request = choose(jax.random.key(count), train, count=count)
        new, info = unlearn(jax.random.key(1), trained, train, request)
        want, _ = fit(jax.random.key(0), train, request.after)
        error = jnp.linalg.norm(new.inverse - want.inverse) / jnp.linalg.norm(want.inverse)
        assert error <= 1e-10 and info["inverted"] == 0
    if size == "100k":
        served = model.factors(trained, train, ones)
        found = metrics.evaluate(served, Split(*parts), ForgetSet(ones, ones), ks=[20])
        assert 0.2 < found["ndcg@20"] < 0.5


@pytest.mark.parametrize(
    ("length", "block"), [(1, 4), (4, 4), (5, 4), pytest.param(23, 5, marks=pytest.mark.slow)]
)
def test_an_inverse_by_blocks_is_the_inverse(monkeypatch, length, block):
    """Also where the last block ends with the matrix and so laps over the one before it."""
    monkeypatch.setattr(dense, "BLOCK", block)
    monkeypatch.setattr(dense, "TILE", 3)
    x = RNG.normal(size=(2, length + 3, length))
    matrices = x.mT @ x + 0.5 * np.eye(length)
    found = jax.jit(jax.vmap(dense.inverse))(jnp.asarray(matrices))
    np.testing.assert_allclose(found, np.linalg.inv(matrices), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found, found.mT)
    indefinite = jnp.asarray(matrices[0]).at[-1, -1].set(-1.0)
    assert np.isnan(dense.inverse(indefinite)).all()


@pytest.mark.parametrize("name", ["a user", "an item", "most"])
def test_a_sparse_training_set_is_multiplied_by_its_entries(monkeypatch, name):
    """The same Gram matrix, updates and scores as by dense rows, however many at a time."""
    request = without(REQUESTS[name])
    monkeypatch.setattr(_item_item, "SPARSE", 0)
    monkeypatch.setattr(_item_item, "ROWS", 8)
    assert _item_item.is_sparse(TRAIN)
    x = dense_values(ONES)
    np.testing.assert_allclose(_item_item.gram(TRAIN, TRAIN.values), x.T @ x, rtol=1e-12)
    trained, _ = MODEL.fit(None, TRAIN, ONES)
    new, info = jax.jit(METHOD.unlearn)(jax.random.key(1), trained, TRAIN, request)
    left = dense_values(request.after)
    want = np.linalg.inv(left.T @ left + REG * np.eye(I))
    np.testing.assert_allclose(new.inverse, want, atol=1e-12)
    assert bool(info["inverted"]) == (name == "most") and info["residual"] < 1e-11
    users = jnp.array([3, U, 0, 49])
    scores = MODEL.factors(new, TRAIN, request.after).scores(users)
    scored = left[np.asarray(users[jnp.array([0, 2, 3])])] @ by_columns(left)
    np.testing.assert_allclose(scores[jnp.array([0, 2, 3])], scored, atol=1e-12)
    np.testing.assert_array_equal(scores[1], 0)


@pytest.mark.parametrize("sparse", [0, 50])
def test_no_users_have_no_scores_and_whole_chunks_of_users_leave_none_over(monkeypatch, sparse):
    monkeypatch.setattr(_item_item, "SPARSE", sparse)
    monkeypatch.setattr(serving, "SCORES_AT_ONCE", U // 2 * I)  # two chunks, and a rest of nobody
    served = MODEL.factors(FIT(jax.random.key(0), TRAIN, ONES)[0], TRAIN, ONES)
    assert served.scores(jnp.arange(0)).shape == (0, I)
    found = metrics.ranking.overlap(served, served, [(TRAIN, ONES)], ks=(5,))
    np.testing.assert_allclose(found[5], 1)


@pytest.mark.parametrize(("n_users", "n_items"), [(3, 0), (0, 3), (3, 4), (0, 0)])
def test_without_interactions_the_inverse_is_that_of_the_ridge(n_users, n_items):
    train = layout.build([], [], [], n_users=n_users, n_items=n_items)
    trained, info = FIT(None, train, train.values)
    np.testing.assert_allclose(trained.inverse, np.eye(n_items) / REG)
    same, changed = UPDATE(trained, train, train.values, train.values)
    np.testing.assert_array_equal(same.inverse, trained.inverse)
    assert info["residual"] <= 1e-6 and changed["rank"] == changed["inverted"] == 0
    scores = MODEL.factors(same, train, train.values).scores(jnp.arange(n_users))
    np.testing.assert_array_equal(scores, np.zeros((n_users, n_items)))


def test_rows_past_the_end_are_nought():
    rows = _item_item.dense_rows(TRAIN, TRAIN.values, jnp.array([0, U, 3]))
    np.testing.assert_array_equal(rows[1], 0)
    np.testing.assert_allclose(rows[2], dense_values(ONES)[3])
