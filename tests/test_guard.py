"""No method leaves a model that is broken: the step is taken back, and ``info`` says so."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget import methods, models
from jaxforget.gradient import guard
from jaxforget.prepare import forget
from jaxforget.sparse import layout


def retained(x):
    return jnp.sum((x - 1.0) ** 2)


@pytest.mark.parametrize(
    ("new", "falling", "stays"),
    [
        (jnp.array([jnp.nan, 1.0]), False, True),
        (jnp.array([jnp.inf, 1.0]), False, True),
        (jnp.array([1e30, 1.0]), False, True),
        (jnp.array([1.0, 1.0]), False, False),
        (jnp.array([4.0, 1.0]), False, False),  # a loss of 9, below twice that at the old ones, 8
        (jnp.array([4.0, 1.0]), True, True),  # but it did not fall
        (jnp.array([2.5, 1.0]), True, False),
        (jnp.array([6.0, 1.0]), False, True),
    ],
)
def test_a_step_is_kept_where_what_remains_bears_it(new, falling, stays):
    old = jnp.array([3.0, 3.0])
    for call in (guard.kept, jax.jit(guard.kept, static_argnums=0, static_argnames="falling")):
        params, info = call(retained, old, new, falling=falling)
        assert int(info["guarded"]) == stays
        np.testing.assert_array_equal(params, old if stays else new)


def test_the_ceiling_is_twice_the_worse_of_what_is_there_and_of_nothing():
    assert float(guard.ceiling(retained, jnp.array([3.0, 3.0]))) == 16.0
    assert float(guard.ceiling(retained, jnp.array([1.0, 1.5]))) == 4.0  # at 0 the loss is 2
    nan = guard.ceiling(retained, jnp.array([jnp.nan, 1.0]))
    assert np.isnan(nan)  # then nothing is below it, and every step is refused


def test_a_climb_stops_before_the_ceiling_and_counts():
    start = jnp.array([1.0, 1.0])
    end, info = guard.climb(lambda x: x + 0.5, retained, start, n_steps=9)
    # losses 0, .5, 2, 4.5: the ceiling is twice the 2 of knowing nothing
    assert end.tolist() == [2.0, 2.0] and (int(info["steps"]), int(info["guarded"])) == (2, 1)
    end, info = guard.climb(lambda x: x + 0.5, retained, start, n_steps=1)
    assert end.tolist() == [1.5, 1.5] and (int(info["steps"]), int(info["guarded"])) == (1, 0)
    end, info = guard.climb(lambda x: x * jnp.nan, retained, start, n_steps=3)
    assert end.tolist() == [1.0, 1.0] and (int(info["steps"]), int(info["guarded"])) == (0, 1)


# ---- the methods under settings that would break the model

TOO_LARGE = {
    "finetune": {"lr": 1e3},
    "gradient_ascent": {"lr": 1e3},
    "projected_gradient": {"lr": 1e3},
    "gradient_step": {"lr": 1e4},
    "newton": {"damping": 1e-9},
    "scif": {"damping": 1e-9},
    "ifru": {"damping": 1e-9},
    "ifru_flow": {"damping": 1e-9},
    "ifru_released": {"lr": 1e3},
    "replay": {"origin": 0.9},
}


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    met = np.argwhere(rng.random((9, 7)) < 0.6)
    train = layout.build(*met.T, rng.integers(0, 2, len(met)).astype(np.float64))
    model = models.load("mf")(dim=3, init_scale=0.1, lr=0.1, batch_size=8, n_epochs=30)
    params, _ = model.fit(jax.random.key(0), train, jnp.ones(len(met)))
    return train, model, params


def build(name, model, **settings):
    toy = importlib.import_module(f"jaxforget.methods.{name}").TOY
    return methods.load(name)(model, **(toy | settings))


@pytest.mark.parametrize("name", TOO_LARGE)
def test_settings_that_are_far_too_large_leave_a_model_that_is_whole(name, trained):
    train, model, params = trained
    _, request = forget.random(jax.random.key(1), train, 0.2)
    method = build(name, model, **TOO_LARGE[name])
    new, info = method.unlearn(jax.random.key(2), params, train, request)
    assert "guarded" in info

    def loss(p):
        return model.loss(p, train, request.after, request.after)

    assert all(np.isfinite(x).all() for x in jax.tree.leaves(new))
    nothing = jax.tree.map(jnp.zeros_like, params)
    assert float(loss(new)) <= guard.ROOM * max(float(loss(params)), float(loss(nothing))) + 1e-9


@pytest.mark.parametrize("name", TOO_LARGE)
def test_parameters_that_are_not_finite_are_never_called_whole(name, trained):
    train, model, params = trained
    broken = jax.tree.map(lambda x: x.at[0].set(jnp.nan), params)
    _, request = forget.random(jax.random.key(1), train, 0.2)
    new, info = build(name, model).unlearn(jax.random.key(2), broken, train, request)
    assert int(info["guarded"]) == 1
    assert not all(np.isfinite(x).all() for x in jax.tree.leaves(new))
