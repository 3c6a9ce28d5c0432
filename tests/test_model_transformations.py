"""What a JAX user does first with a model: jit, vmap and grad of its own functions, unwrapped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget import _plugins, models
from jaxforget.sparse import serving

MODELS = {name: models.load(name) for name in _plugins.names(_plugins.DOORS["models"])}
SETTINGS = {
    "ease": {"reg": 1.0},
    "mf": {"dim": 2, "init_scale": 0.1, "lr": 0.1, "n_epochs": 1},
    "lightgcn": {"dim": 2, "init_scale": 0.1, "lr": 0.1, "n_epochs": 1},
    "ials": {"dim": 2, "reg": 1.0, "alpha": 2.0, "max_sweeps": 1},
    "explicit_als": {"dim": 2, "reg": 1.0, "max_sweeps": 1},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_models_own_functions_can_be_transformed_directly(name, labelled):
    model = MODELS[name](**SETTINGS[name])
    key, ones = jax.random.key(0), jnp.ones(60)
    params, _ = model.fit(key, labelled, ones)
    again, _ = jax.jit(model.fit)(key, labelled, ones)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), params, again)
    want = model.loss(params, labelled, ones, ones)
    for _ in range(2):  # the second call finds the first one's program by the loss
        np.testing.assert_allclose(jax.jit(model.loss)(params, labelled, ones, ones), want)
    halves = jax.vmap(model.loss, in_axes=(None, None, 0, None))(
        params, labelled, jnp.stack([ones, ones / 2]), ones
    )
    np.testing.assert_allclose(halves[0], want, rtol=1e-10)
    params = jax.tree.map(lambda x: x + 0.1, params)  # away from an optimum, where it is 0
    want = model.loss(params, labelled, ones, ones)
    slope = jax.grad(model.loss)(params, labelled, ones, ones)
    step = jax.tree.map(lambda g: 1e-6 * g, slope)
    moved = model.loss(jax.tree.map(jnp.add, params, step), labelled, ones, ones)
    size = sum(jnp.sum(g**2) for g in slope)
    np.testing.assert_allclose((moved - want) / 1e-6, size, rtol=1e-3)
    served = serving.tables(jax.jit(model.factors)(params, labelled, ones))
    assert served.users.shape == (12, SETTINGS[name].get("dim", 10))


@pytest.mark.parametrize("name", ["mf", "lightgcn"])
def test_a_penalty_may_be_an_array_and_has_a_derivative(name, labelled):
    model = MODELS[name](**SETTINGS[name])
    ones = jnp.ones(60)
    params, _ = model.fit(jax.random.key(0), labelled, ones)

    def loss(reg):
        return jax.jit(model.margins.replace(reg=reg))(params, labelled, ones, ones)

    squares = sum(jnp.sum(x**2) for x in params)
    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(0.1)), squares, rtol=1e-10)
