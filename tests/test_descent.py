"""Training by gradient against loops in NumPy: batches, early stopping, full-batch limits."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from influence_toys import flat

from jaxforget import metrics, models
from jaxforget.gradient import descent, losses
from jaxforget.sparse import layout
from jaxforget.types import Factors, watch

SETTINGS = {"dim": 3, "init_scale": 0.1, "reg": 0.05, "lr": 0.05, "batch_size": 16, "n_epochs": 6}


def some(train, seed=5):
    return jnp.asarray((np.random.default_rng(seed).random(len(train.users)) < 0.7).astype(float))


def build(name, **changed):
    """A small model; on all data the settings of minibatches are left out."""
    settings = SETTINGS | changed
    if settings.get("optimiser", "minibatch") != "minibatch":
        settings.pop("batch_size")
    return models.load(name)(**settings)


def adam(gradient, params, batches, lr):
    """The recipe of the paper, step by step in NumPy."""
    mean, square, t = np.zeros_like(params), np.zeros_like(params), 0
    for batch in batches:
        t += 1
        g = gradient(params, batch)
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        params = params - lr * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
    return params


@pytest.mark.parametrize("nu", [0.0, 1.0])
def test_minibatch_training_is_adam_on_shuffled_batches_of_what_is_remembered(labelled, nu):
    weights, key = some(labelled), jax.random.key(3)
    loss = losses.build("bce", reg=0.05, n_layers=0, nu=nu)
    rng = np.random.default_rng(0)
    start = Factors(jnp.asarray(rng.normal(size=(12, 3))), jnp.asarray(rng.normal(size=(10, 3))))
    n = int(weights.sum())
    order = np.asarray(
        descent.shuffled(jax.random.split(jax.random.fold_in(key, 0))[0], labelled, weights)
    )
    assert set(order[:n]) == set(np.flatnonzero(weights))
    users, items, y = (np.asarray(x) for x in (labelled.users, labelled.items, labelled.values))

    counts = [
        np.maximum(np.bincount(x, np.asarray(weights), size), 1)[:, None] ** nu
        for x, size in ((users, 12), (items, 10))
    ]

    def gradient(p, batch):
        p, q = p[:36].reshape(12, 3), p[36:].reshape(10, 3)
        out = 2 * 0.05 / n * counts[0] * p, 2 * 0.05 / n * counts[1] * q
        for k in batch:
            u, i = users[k], items[k]
            r = (1 / (1 + np.exp(-p[u] @ q[i])) - y[k]) / len(batch)
            out[0][u] += r * q[i]
            out[1][i] += r * p[u]
        return np.concatenate([x.ravel() for x in out])

    batches = [order[:n][k : k + 16] for k in range(0, n, 16)]
    assert 0 < len(batches[-1]) < 16  # the partial batch is kept, and is a mean over its own rows
    want = adam(gradient, flat(start), batches, 0.05)
    got, info = descent.minibatch(
        key, loss, start, labelled, weights, lr=0.05, batch_size=16, n_epochs=1
    )
    np.testing.assert_allclose(flat(got), want, atol=1e-10)
    assert int(info["epochs"]) == 1


@pytest.mark.parametrize("nu", [0.0, 1.0])
@pytest.mark.parametrize(("name", "loss"), [("mf", "bce"), ("lightgcn", "bpr")])
def test_weight_zero_equals_never_loaded(labelled, name, loss, nu):
    model = build(name, loss=loss, nu=nu)
    weights, key = some(labelled), jax.random.key(0)
    kept = oracles.without(labelled, weights, layout.build)
    ones = jnp.ones(len(kept.users))
    masked, _ = jax.jit(model.fit)(key, labelled, weights)
    loaded, _ = jax.jit(model.fit)(key, kept, ones)
    np.testing.assert_allclose(flat(masked), flat(loaded), atol=1e-9)
    for of in (masked, loaded):
        np.testing.assert_allclose(
            model.loss(of, labelled, weights, weights), model.loss(of, kept, ones, ones), rtol=1e-12
        )
    np.testing.assert_allclose(
        flat(model.factors(masked, labelled, weights)),
        flat(model.factors(masked, kept, ones)),
        atol=1e-12,
    )


def test_the_orders_of_two_epochs_and_of_two_keys_differ(labelled):
    ones = jnp.ones(60)
    orders = [np.asarray(descent.shuffled(jax.random.key(k), labelled, ones)) for k in range(3)]
    assert all(sorted(o) == list(range(60)) for o in orders)
    assert not np.array_equal(orders[0], orders[1]) and not np.array_equal(orders[1], orders[2])


def test_an_opponent_whom_the_user_is_remembered_to_like_does_not_count(labelled):
    loss = losses.build("bpr", reg=0.0, n_layers=0)
    weights = some(labelled)
    counted = np.asarray(loss.outcomes(jnp.zeros(60), labelled, weights)) > 0
    liked = {
        (int(u), int(i))
        for u, i, y, w in zip(labelled.users, labelled.items, labelled.values, weights)
        if y > 0 and w > 0
    }
    opponents = np.asarray(loss._opponents(labelled))
    for n, (u, i) in enumerate(zip(np.asarray(labelled.users), np.asarray(labelled.items))):
        assert counted[n] == ((u, i) in liked and weights[n] > 0 and (u, opponents[n]) not in liked)
    assert 0 < counted.sum() < int((weights * labelled.values).sum())


def test_full_batch_training_stops_at_the_stated_gradient_norm(labelled):
    weights = some(labelled)
    for optimiser, lr in (("lbfgs", None), ("adam", 0.05)):
        model = build("mf", optimiser=optimiser, lr=lr, n_epochs=3000, tol=1e-5, reg=0.3)
        params, info = jax.jit(model.fit)(jax.random.key(0), labelled, weights)
        mean = jax.grad(lambda p, m=model: m.loss(p, labelled, weights, weights) / weights.sum())(
            params
        )
        np.testing.assert_allclose(np.linalg.norm(flat(mean)), info["grad_norm"], rtol=1e-6)
        assert float(info["grad_norm"]) <= 1e-5 and 0 < int(info["steps"]) < 3000


def test_patience_returns_the_best_epoch_and_stops_after_as_many_stale_ones(labelled):
    scores = jnp.asarray([0.5, 0.7, 0.6, 0.7, 0.65, 0.9, 0.1])
    loss = build("mf").loss
    start = Factors(jnp.ones((12, 3)), jnp.ones((10, 3)))
    ones, key = jnp.ones(60), jax.random.key(0)

    @jax.jit
    def after(n):
        return descent.minibatch(
            key, loss, start, labelled, ones, lr=0.05, batch_size=16, n_epochs=n
        )[0]

    path = np.stack([flat(after(n + 1)) for n in range(7)])

    def score(params):
        vector = jnp.concatenate([params.users.ravel(), params.items.ravel()])
        return scores[jnp.argmin(jnp.sum((jnp.asarray(path) - vector[None]) ** 2, axis=1))]

    def run(patience):
        return descent.minibatch(
            key,
            loss,
            start,
            labelled,
            ones,
            lr=0.05,
            batch_size=16,
            n_epochs=7,
            patience=patience,
            score=score,
        )

    best, info = run(2)  # 0.7 at the second; 0.6, 0.7, 0.65 are no better: more than 2
    np.testing.assert_allclose(flat(best), path[1], atol=1e-12)
    assert int(info["epochs"]) == 5 and float(info["score"]) == 0.7
    best, info = run(3)
    np.testing.assert_allclose(flat(best), path[5], atol=1e-12)
    assert int(info["epochs"]) == 7


def test_early_stopping_looks_at_watched_validation_data_and_nothing_else_does(labelled):
    rng = np.random.default_rng(7)
    valid = layout.build(
        *np.divmod(rng.permutation(120)[:30], 10),
        rng.integers(0, 2, 30).astype(float),
        n_users=12,
        n_items=10,
    )
    other = dataclasses.replace(valid, values=1 - valid.values)
    ones, key = jnp.ones(60), jax.random.key(0)
    stopping, plain = build("mf", patience=1, n_epochs=15), build("mf", n_epochs=15)
    with pytest.raises(ValueError, match=r"types\.watch"):
        stopping.fit(key, labelled, ones)
    first, info = stopping.fit(key, watch(labelled, valid), ones)
    second, _ = stopping.fit(key, watch(labelled, other), ones)
    assert not np.array_equal(flat(first), flat(second))
    counts = metrics.remembered(valid, labelled, ones)
    np.testing.assert_allclose(info["score"], metrics.label_auc(first, valid, counts), atol=1e-12)
    one, two = (plain.fit(key, watch(labelled, v), ones)[0] for v in (valid, other))
    assert np.array_equal(flat(one), flat(two))


def test_validation_rows_of_an_erased_user_or_item_steer_nothing(labelled):
    """Bit for bit: flipping them changes no fit without that user and that item."""
    rng = np.random.default_rng(7)
    cells = np.divmod(rng.permutation(120)[:60], 10)
    valid = layout.build(*cells, rng.integers(0, 2, 60).astype(float), n_users=12, n_items=10)
    gone = (labelled.users == 5) | (labelled.items == 2)
    weights, key = jnp.where(gone, 0.0, 1.0), jax.random.key(0)
    erased = (valid.users == 5) | (valid.items == 2)
    flipped = dataclasses.replace(valid, values=jnp.where(erased, 1 - valid.values, valid.values))
    model = build("mf", patience=1, n_epochs=15)
    fits = [model.fit(key, watch(labelled, v), weights)[0] for v in (valid, flipped)]
    assert np.array_equal(flat(fits[0]), flat(fits[1]))
    infos = [model.fit(key, watch(labelled, v), jnp.ones(60))[1] for v in (valid, flipped)]
    assert infos[0]["score"] != infos[1]["score"]  # before the deletion they count


@pytest.mark.parametrize("name", ["mf", "lightgcn"])
def test_stars_are_refused_where_a_loss_of_labels_meets_them(name, labelled):
    stars = dataclasses.replace(labelled, values=1 + 4 * labelled.values)
    model, ones = build(name, n_epochs=1), jnp.ones(len(stars.values))
    for meet in (lambda: model.prepare(stars), lambda: model.fit(jax.random.key(0), stars, ones)):
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 1\]; got 1.0 to 5.0"):
            meet()


def test_all_seeds_train_in_one_program(labelled):
    model, traces = build("mf", n_epochs=2), []

    @jax.jit
    def all_seeds(keys, train, weights):
        def fit(key):
            traces.append(1)
            return model.fit(key, train, weights)[0]

        return jax.lax.map(fit, keys)

    keys = jax.random.split(jax.random.key(0), 3)
    together = all_seeds(keys, labelled, some(labelled))
    alone = [model.fit(key, labelled, some(labelled))[0] for key in keys]
    for k in range(3):
        np.testing.assert_allclose(together.users[k], alone[k].users, atol=1e-12)
    assert not np.allclose(together.users[0], together.users[1]) and len(traces) == 1


@pytest.mark.slow
def test_training_learns_a_pattern_and_keeps_float32(labelled):
    small = dataclasses.replace(labelled, values=labelled.values.astype(jnp.float32))
    for name in ("mf", "lightgcn"):
        model = build(name, n_epochs=150, dim=8)
        params, _ = model.fit(jax.random.key(0), small, jnp.ones(60, jnp.float32))
        served = model.factors(params, small, jnp.ones(60, jnp.float32))
        assert served.users.dtype == served.items.dtype == jnp.float32
        assert float(metrics.label_auc(served, small)) > 0.9


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"lr": None}, "needs lr > 0"),
        ({"loss": "mse"}, "must be one of 'bce', 'bpr'"),
        ({"optimiser": "sgd"}, "optimiser must be"),
        ({"dim": 0}, "dim must be an integer, 1 or more"),
        ({"reg": -1.0}, "reg must be 0 or more"),
        ({"optimiser": "lbfgs", "patience": 3}, "patience is not read with"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(changed, words):
    with pytest.raises(ValueError, match=words):
        build("mf", **changed)


def test_ratings_are_refused_before_training(toy):
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 1\]"):
        build("mf").prepare(toy)
