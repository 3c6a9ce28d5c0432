"""What every model and every model x method promises; plug-ins are found by listing the folders."""

import dataclasses
import functools
import importlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import request

from jaxforget import _plugins, methods, models
from jaxforget.sparse import serving
from jaxforget.types import Method, Model

MODELS = _plugins.names(_plugins.DOORS["models"])
METHODS = _plugins.names(_plugins.DOORS["methods"])


def toy_settings(kind, name):
    module = importlib.import_module(f"jaxforget.{kind}.{name}")
    return getattr(module, "TOY", {})


@functools.cache
def base(name):
    """One model of a name, so that what it compiles serves all its pairs."""
    return models.load(name)(**toy_settings("models", name))


def built(model_name, method_name=None):
    model = base(model_name)
    if method_name is None:
        return model
    try:
        return methods.load(method_name)(model, **toy_settings("methods", method_name))
    except ValueError as reason:
        pytest.skip(f"{method_name} does not serve {model_name}: {reason}")


@pytest.fixture
def narrow(labelled):
    """0/1 labels in float32: what every model can be trained on."""
    return dataclasses.replace(labelled, values=labelled.values.astype(jnp.float32))


def precision(method_name):
    """float32 in, float32 out, unless the method says that its claim needs more."""
    module = importlib.import_module(f"jaxforget.methods.{method_name}")
    return np.dtype(getattr(module, "PRECISION", "float32"))


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


def scores(f):
    return np.asarray(f.users) @ np.asarray(f.items).T


@pytest.mark.parametrize(
    "kind, name", [("models", n) for n in MODELS] + [("methods", n) for n in METHODS]
)
def test_a_plug_in_takes_settings_by_keyword_only_and_documents_itself(kind, name):
    build = {"models": models, "methods": methods}[kind].load(name)
    parameters = list(inspect.signature(build).parameters.values())
    settings = parameters[1:] if kind == "methods" else parameters
    assert all(p.kind is p.KEYWORD_ONLY for p in settings)
    assert len(build.__doc__.splitlines()[0]) > 20
    assert set(toy_settings(kind, name)) <= {p.name for p in settings}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_fits_factors_of_the_right_shape_and_a_finite_loss(name, narrow):
    model, ones = built(name), jnp.ones_like(narrow.values)
    assert isinstance(model, Model)
    train = model.prepare(narrow)
    params, info = jax.jit(model.fit)(jax.random.key(0), train, ones)
    factors = serving.tables(model.factors(params, train, ones))
    assert factors.users.shape[0] == 12 and factors.items.shape[0] == 10
    assert all(np.isfinite(x).all() and x.dtype == np.float32 for x in leaves(factors))
    assert info and all(np.ndim(value) == 0 for value in info.values())
    loss = model.loss(params, train, ones, ones)
    assert np.ndim(loss) == 0 and np.isfinite(loss)
    gradient = jax.grad(lambda p: model.loss(p, train, ones, ones))(params)
    assert all(np.isfinite(x).all() for x in leaves(gradient))


@pytest.mark.parametrize("name", MODELS)
def test_the_same_key_gives_the_same_model_and_another_key_another(name, narrow):
    model, ones = built(name), jnp.ones_like(narrow.values)
    train = model.prepare(narrow)
    fit = jax.jit(model.fit)
    one, again, other = (fit(jax.random.key(k), train, ones)[0] for k in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(leaves(one), leaves(again)))
    draws = getattr(importlib.import_module(f"jaxforget.models.{name}"), "DRAWS", True)
    assert draws == any(not np.array_equal(a, b) for a, b in zip(leaves(one), leaves(other)))


# Programs that take long to compile, and pairs much like others: with one model every time, with
# the rest in test-all.
HEAVY = {
    (method, m)
    for method in ("receraser", "ifru_flow", "ifru_released", "replay", "gradient_step")
    for m in MODELS
    if m != "mf"
}
HEAVY |= {("sisa", m) for m in MODELS if m != "mf"} | {("certified_als", "ials")}
HEAVY |= {
    (method, m)
    for method in ("finetune", "gradient_ascent", "projected_gradient", "newton")
    for m in MODELS
    if m.endswith("als") or m == "ease"
}
HEAVY |= {
    (method, "lightgcn")
    for method in ("finetune", "gradient_ascent", "projected_gradient", "newton", "scif")
}
PAIRS = [
    pytest.param(m, n, id=f"{m}-{n}", marks=[pytest.mark.slow] if (n, m) in HEAVY else [])
    for m in MODELS
    for n in METHODS
]


@pytest.mark.parametrize("model_name, method_name", PAIRS)
def test_one_trace_serves_every_request_of_a_training_set(model_name, method_name, narrow):
    model, method = built(model_name), built(model_name, method_name)
    assert isinstance(method, Method)
    train, traces = model.prepare(narrow), []
    state, info = jax.jit(method.fit)(jax.random.key(0), train, jnp.ones_like(train.values))
    assert all(np.ndim(value) == 0 for value in info.values())

    @jax.jit
    def unlearn(key, state, train, forget):
        traces.append(1)
        return method.unlearn(key, state, train, forget)

    for rows in ([], [3], [1, 8, 20], list(range(60))):
        forget = request(train, rows)
        left, info = unlearn(jax.random.key(1), state, train, forget)
        assert all(np.ndim(value) == 0 for value in info.values())
        factors = serving.tables(method.factors(left, train, forget.after))
        assert factors.users.shape[0] == 12 and factors.items.shape[0] == 10
        if len(rows) < 60:  # with nothing left at all, finite is not promised
            assert all(np.isfinite(x).all() for x in leaves(factors))
            assert {x.dtype for x in leaves(factors)} == {precision(method_name)}
    assert len(traces) == 1


@pytest.mark.slow
@pytest.mark.parametrize("model_name, method_name", PAIRS)
def test_a_map_over_requests_equals_one_after_the_other(model_name, method_name, narrow):
    model, method = built(model_name), built(model_name, method_name)
    train, key = model.prepare(narrow), jax.random.key(1)
    state, _ = jax.jit(method.fit)(jax.random.key(0), train, jnp.ones_like(train.values))
    requests = [request(train, rows) for rows in ([], [3], [1, 8, 20])]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *requests)
    mapped = jax.jit(lambda s, t, r: jax.lax.map(lambda one: method.unlearn(key, s, t, one)[0], r))(
        state, train, stacked
    )
    alone = jax.jit(method.unlearn)
    for k, forget in enumerate(requests):
        one = jax.tree.map(lambda x, k=k: x[k], mapped)
        want, _ = alone(key, state, train, forget)
        got, want = (serving.tables(method.factors(s, train, forget.after)) for s in (one, want))
        assert np.linalg.norm(scores(got) - scores(want)) <= 1e-3 * np.linalg.norm(scores(want))
