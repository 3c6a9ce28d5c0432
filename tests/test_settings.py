"""Every setting of every model and method does something, or cannot be given.

A sweep over a setting that is not read would compute equal cells under different ids.
"""

import dataclasses
import functools
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from influence_toys import flat, request

from jaxforget import _plugins, methods, models
from jaxforget.sparse import layout
from jaxforget.types import watch

MODELS = _plugins.names(_plugins.DOORS["models"])
METHODS = _plugins.names(_plugins.DOORS["methods"])

GRADIENT = {"dim": 3, "init_scale": 0.1, "lr": 0.05, "batch_size": 16, "n_epochs": 3}
ALS = {"dim": 3, "reg": 1.0, "alpha": 3.0}
# for each model: settings that read everything, and another value of each setting (or a pair: the
# value, and the settings that it is compared under)
MODEL_VALUES = {
    "mf": (
        GRADIENT | {"patience": 1},
        {
            "dim": 4,
            "loss": "bpr",
            "reg": 0.5,
            "nu": (1.0, {"reg": 0.5} | GRADIENT),
            "init_scale": 0.2,
            "optimiser": ("adam", {"lr": 0.05, "n_epochs": 3, "dim": 3, "init_scale": 0.1}),
            "lr": 0.1,
            "batch_size": 32,
            "n_epochs": 2,
            "patience": None,
            "tol": (1e3, {"optimiser": "adam", "lr": 0.05, "n_epochs": 9, "dim": 3}),
        },
    ),
    "ials": (
        ALS | {"nu": 0.5, "weighting": "bm25", "max_sweeps": 2, "cg_steps": 2, "init_scale": 0.1},
        {
            "dim": 4,
            "reg": 2.0,
            "alpha": 5.0,
            "nu": 1.0,
            "unobserved": 0.5,
            "weighting": "constant",
            "bm25_b": 0.5,
            "bm25_k1": 3.0,
            "max_sweeps": 3,
            "tol": 0.9,
            "cg_steps": 3,
            "init_scale": 0.2,
            "solver": ("proximal", ALS),
        },
    ),
    "explicit_als": (
        {"dim": 3, "reg": 0.1, "max_sweeps": 2, "cg_steps": 2},
        {
            "dim": 4,
            "reg": 0.2,
            "nu": 0.5,
            "max_sweeps": 3,
            "tol": 0.9,
            "cg_steps": 3,
            "init_scale": 0.2,
        },
    ),
}
MODEL_VALUES["ease"] = ({"reg": 2.0}, {"reg": 0.5})
MODEL_VALUES["lightgcn"] = (
    MODEL_VALUES["mf"][0] | {"n_layers": 1},
    MODEL_VALUES["mf"][1] | {"n_layers": 2},
)

LINEAR = {
    "damping": 2.0,
    "damping_power": 0.0,
    "hessian": "full",
    "n_steps": 1,
    "tol": 0.9,
    "precondition": "none",
}
ROWS = {  # each compared with the rows within one hop
    "hops": (0, {"hops": 1}),
    "keep": (0.3, {"hops": 1}),
    "keep_request": (False, {"hops": 1, "keep": 0.1}),
    "sizes": ((2, 2), {"hops": 1}),
}
METHOD_VALUES = {
    "retrain": ("mf", {}, {}),
    "unlearn_als": (
        "ials",
        {"max_sweeps": 2},
        {"max_sweeps": 1, "tol": 0.9, "variant": "finetune"},
    ),
    "closed_form": ("ease", {}, {}),
    "local_als": ("ials", {}, {"tol": 1e-4, "max_rounds": (2, {"tol": 1e-3})}),
    "difference_als": ("ials", {}, {"max_sweeps": 1}),
    "certified_als": (
        "ials",
        {"tol": 1e-3},
        {
            "tol": 0.3,
            "dim": 5,
            "oversample": 2,
            "max_steps": 1,
            "proof": ("cholesky", {"tol": 1e-3, "oversample": 2}),
            "failure": (0.3, {"tol": 1e-3, "oversample": 2}),
            "retries": (1, {"tol": 1e-6}),
        },
    ),
    "ifru": (
        "lightgcn",
        {"damping": 1.0},
        LINEAR
        | ROWS
        | {"hessian_data": "old", "newton_steps": 2, "spillover": False, "clear": False},
    ),
    "ifru_flow": (
        "lightgcn",
        {"damping": 1.0},
        ROWS
        | {"damping": 2.0, "damping_power": 0.0, "hessian": "gauss_newton"}
        | {"max_products": (1, {"damping": 1e-2})}
        | {"spillover": False, "clear": False},
    ),
    "replay": (
        "lightgcn",
        {},
        ROWS
        | {"n_steps": 1, "origin": 0.3, "damping_power": 0.0, "spillover": False, "clear": False},
    ),
    "ifru_released": (
        "lightgcn",
        {"lr": 1.0, "n_steps": 3},
        {
            "lr": 2.0,
            "n_steps": 2,
            "patience": 1,
            "spillover": False,
            "hessian_data": "retained",
            "hessian_graph": True,
            "served_graph": "new",
            "hops": 0,
            "keep": 0.3,
            "keep_request": (True, {"keep": 0.1}),
        },
    ),
    "scif": (
        "lightgcn",
        {"damping": 1.0},
        LINEAR | {"sign": "plus", "nodes": "users", "propagated": False},
    ),
    "newton": ("mf", {"damping": 1.0}, LINEAR | {"pull": "difference"}),
    "gradient_step": ("mf", {"lr": 0.1}, {"lr": 0.2, "pull": "difference"}),
    "finetune": ("mf", {"lr": 0.1, "n_steps": 2}, {"lr": 0.2, "n_steps": 3}),
    "gradient_ascent": ("mf", {"lr": 0.1, "n_steps": 2}, {"lr": 0.2, "n_steps": 3}),
    "projected_gradient": (
        "mf",
        {"lr": 0.1, "n_steps": 2, "n_groups": 4},
        {"lr": 0.2, "n_steps": 3, "n_groups": 2},
    ),
    "sisa": (
        "mf",
        {"n_shards": 2},
        {
            "n_shards": 3,
            "by": "user",
            "n_slices": 2,
            "aggregation": ("attention", {"attention_lr": 0.1, "attention_steps": 2}),
            "aggregator": ("kept", {"aggregation": "attention"}),
            "attention_lr": (0.2, {"aggregation": "attention", "attention_steps": 2}),
            "attention_steps": (3, {"aggregation": "attention", "attention_lr": 0.1}),
        },
    ),
    "receraser": (
        "mf",
        {"n_shards": 2, "attention_lr": 0.1, "attention_steps": 2},
        {
            "n_shards": 3,
            "attention_lr": 0.2,
            "attention_steps": 3,
            "by": "user",
            "capacity": 1.0,
            "n_rounds": 1,
            "centroids": "scalar",
            "partition": "recomputed",
            "aggregator": "kept",
        },
    ),
}
OF_A_GRAPH = ("spillover", "hessian_graph", "served_graph", "propagated")
HEAVY = ("sisa", "receraser", "certified_als")  # programs that take seconds to trace
ATTENTION = {"attention_lr": 0.1, "attention_steps": 2}
SMALL, WIDE = (12, 10), (60, 100)  # users and items
# in a small matrix nothing is left to bound beyond the directions that a certificate carries
OF_A_REMAINDER = ("proof", "failure")


@functools.cache
def data(shape=SMALL):
    """Labelled training interactions with validation data; user 2 will lose everything."""
    rng, (n_users, n_items) = np.random.default_rng(0), shape
    cells = np.array([(u, i) for u in range(n_users) for i in range(n_items)])
    parts = []
    for n in (5 * n_users, 30):
        users, items = cells[rng.permutation(len(cells))[:n]].T
        labels = rng.integers(0, 2, n).astype(float)
        parts.append(layout.build(users, items, labels, n_users=n_users, n_items=n_items))
    return watch(*parts)


@functools.cache
def asked(shape=SMALL):
    train = data(shape)
    return request(train, [*np.flatnonzero(np.asarray(train.users) == 2), 3, 17, 40])


def train_of(name, shape=SMALL):
    """Ratings for the models of least squares, labels for the others."""
    train = data(shape)
    if "als" not in name:
        return train
    return dataclasses.replace(train, values=train.values + 1)


def numbers(tree):
    """Everything a call returned, as one vector."""
    leaves = jax.tree.leaves(tree)
    keys = [jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) for x in leaves]
    return flat([jax.random.key_data(x) if k else x for x, k in zip(leaves, keys)])


def differ(a, b):
    a, b = numbers(a), numbers(b)
    return a.shape != b.shape or not np.array_equal(a, b, equal_nan=True)


@functools.cache
def fitted(name, shape):
    train, model = train_of(name, shape), model_of(name)
    weights = jnp.ones_like(train.values)
    return jax.jit(model.fit)(jax.random.key(0), train, weights)[0]


def model_of(name):
    settings = ALS | {"max_sweeps": 5} if name == "ials" else GRADIENT | {"n_epochs": 20}
    return models.load(name)(**settings)


def frozen(settings):
    return tuple(sorted(settings.items()))


def outcome_of_model(name, settings):
    return _outcome_of_model(name, frozen(settings))


def outcome_of_method(name, model_name, settings, shape=SMALL):
    return _outcome_of_method(name, model_name, frozen(settings), shape)


@functools.cache  # what the settings of one plug-in are compared with is computed once
def _outcome_of_model(name, settings):
    train, model = train_of(name), models.load(name)(**dict(settings))
    weights = jnp.ones_like(train.values).at[:5].set(0)
    return jax.jit(model.fit)(jax.random.key(0), train, weights)


@functools.cache
def _outcome_of_method(name, model_name, settings, shape=SMALL):
    train, model = train_of(model_name, shape), model_of(model_name)
    method = methods.load(name)(model, **dict(settings))
    if method.fit is model.fit:
        state = fitted(model_name, shape)
    else:
        weights = jnp.ones_like(train.values)
        state, _ = jax.jit(method.fit)(jax.random.key(0), train, weights)
    forget = asked(shape)
    left, info = jax.jit(method.unlearn)(jax.random.key(1), state, train, forget)
    return left, info, method.factors(left, train, forget.after)


@functools.cache
def program_of_model(name, settings):
    train, model = train_of(name), models.load(name)(**dict(settings))
    return text_of(model.fit, jax.random.key(0), train, jnp.ones_like(train.values))


@functools.cache
def program_of_method(name, model_name, settings):
    train, model = train_of(model_name), model_of(model_name)
    method = methods.load(name)(model, **dict(settings))
    weights = jnp.ones_like(train.values)
    state, _ = jax.eval_shape(method.fit, jax.random.key(0), train, weights)
    unlearn = text_of(method.unlearn, jax.random.key(1), state, train, asked())
    fit = "" if method.fit is model.fit else text_of(method.fit, jax.random.key(0), train, weights)
    return unlearn, fit, text_of(method.factors, state, train, weights)


def text_of(function, *arguments):
    """What a function computes, written out; without the addresses of Python objects."""
    return re.sub("0x[0-9a-f]+", "", str(jax.make_jaxpr(function)(*arguments)))


def under(base, value):
    """The settings to compare under, and the value."""
    return (
        (base | value[1], value[0])
        if isinstance(value, tuple) and _paired(value)
        else (
            base,
            value,
        )
    )


def _paired(value):
    return len(value) == 2 and isinstance(value[1], dict)


def cases(table):
    """One case for each setting."""
    marks = {name: [pytest.mark.slow] if name in HEAVY else [] for name in table}
    return [
        pytest.param(name, setting, id=f"{name}-{setting}", marks=marks[name])
        for name, entry in sorted(table.items())
        for setting in entry[-1]
    ]


@pytest.mark.parametrize("kind", ["models", "methods"])
def test_the_tables_here_name_every_plug_in_and_every_setting(kind):
    table = {"models": MODEL_VALUES, "methods": METHOD_VALUES}[kind]
    assert sorted(table) == {"models": MODELS, "methods": METHODS}[kind]
    for name, entry in table.items():
        build = {"models": models, "methods": methods}[kind].load(name)
        settings = list(inspect.signature(build).parameters)[kind == "methods" :]
        assert sorted(entry[-1]) == sorted(settings), name


def model_settings(name, setting):
    """Settings of a model, and the same with another value of one of them."""
    base, values = MODEL_VALUES[name]
    value = values[setting]
    if setting in ("optimiser", "solver") and isinstance(value, tuple):
        return base, value[1] | {setting: value[0]}  # reads other settings
    if isinstance(value, tuple):
        base, value = value[1] | {"init_scale": 0.1}, value[0]
    changed = base | {setting: value}
    if setting == "weighting":
        changed = {k: v for k, v in changed.items() if not k.startswith("bm25")}
    return base, changed


def method_settings(name, setting):
    """The model of a method, its settings, and the same with another value of one of them."""
    model_name, base, values = METHOD_VALUES[name]
    if model_name == "lightgcn" and setting not in OF_A_GRAPH:
        model_name = "mf"  # traced and compiled faster
    base, value = under(base, values[setting])
    if setting == "aggregation":  # attention's own settings are refused by the mean
        base = {"n_shards": 2}
        return model_name, base, base | {setting: value} | ATTENTION
    if name == "sisa" and base.get("aggregation") == "attention":
        base = {"n_shards": 2} | ATTENTION | base
    changed = base | {setting: value}
    if setting == "proof":
        changed.pop("failure", None)
    return model_name, base, changed


@pytest.mark.parametrize(("name", "setting"), cases(MODEL_VALUES))
def test_every_setting_of_a_model_is_part_of_what_it_computes(name, setting):
    base, changed = model_settings(name, setting)
    was, now = (program_of_model(name, frozen(each)) for each in (base, changed))
    assert was != now


@pytest.mark.parametrize(("name", "setting"), cases(METHOD_VALUES))
def test_every_setting_of_a_method_is_part_of_what_it_computes(name, setting):
    model_name, base, changed = method_settings(name, setting)
    was, now = (program_of_method(name, model_name, frozen(each)) for each in (base, changed))
    assert was != now


@pytest.mark.slow
@pytest.mark.parametrize(("name", "setting"), cases(MODEL_VALUES))
def test_every_setting_of_a_model_changes_what_it_learns(name, setting):
    base, changed = model_settings(name, setting)
    assert differ(outcome_of_model(name, base), outcome_of_model(name, changed))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "setting"), cases(METHOD_VALUES))
def test_every_setting_of_a_method_changes_what_it_leaves(name, setting):
    model_name, base, changed = method_settings(name, setting)
    shape = WIDE if setting in OF_A_REMAINDER else SMALL
    was, now = (outcome_of_method(name, model_name, each, shape) for each in (base, changed))
    assert differ(was, now)


UNREAD = [
    ("models", "ials", ALS | {"bm25_b": 0.5}),
    ("models", "ials", ALS | {"bm25_k1": 10.0}),
    ("models", "ials", ALS | {"unobserved": 0.1}),
    ("models", "ials", ALS | {"solver": "proximal", "cg_steps": 3}),
    ("models", "mf", GRADIENT | {"tol": 1e-3}),
    ("models", "mf", GRADIENT | {"optimiser": "adam"}),
    (
        "models",
        "lightgcn",
        {"dim": 3, "init_scale": 0.1, "n_epochs": 3, "optimiser": "lbfgs"} | {"lr": 0.1},
    ),
    ("methods", "ifru", {"keep": 0.5}),
    ("methods", "ifru", {"hops": 1, "sizes": (3, 3), "keep_request": False}),
    ("methods", "ifru_flow", {"sizes": (3, 3)}),
    ("methods", "replay", {"keep_request": True}),
    ("methods", "sisa", {"n_shards": 2, "attention_lr": 0.1}),
    ("methods", "sisa", {"n_shards": 2, "aggregator": "kept"}),
    ("methods", "receraser", {"n_shards": 2, "partition": "random", "capacity": 2.0} | ATTENTION),
    ("methods", "receraser", {"n_shards": 2, "partition": "random", "n_rounds": 3} | ATTENTION),
]


@pytest.mark.parametrize(("kind", "name", "settings"), UNREAD)
def test_a_setting_that_would_not_be_read_is_refused(kind, name, settings):
    with pytest.raises(ValueError, match="is not read with"):
        if kind == "models":
            models.load(name)(**settings)
        else:
            methods.load(name)(model_of("mf"), **settings)


def test_the_same_settings_give_the_same_program_and_the_same_numbers():
    arguments = ("ifru", "mf", frozen({"damping": 1.0}))
    one, two = (program_of_method.__wrapped__(*arguments) for _ in range(2))
    assert one == two
    one, two = (_outcome_of_method.__wrapped__(*arguments) for _ in range(2))
    assert not differ(one, two)
