"""Every setting of every model, method and public function refuses what it cannot be."""

import importlib
import inspect
import pkgutil
import types
import typing

import numpy as np
import pytest

import jaxforget
from jaxforget import _plugins, _settings, methods, models

DOORS = {"models": models, "methods": methods}
BUILDS = {
    f"{door}/{name}": package.load(name)
    for door, package in DOORS.items()
    for name in _plugins.names(_plugins.DOORS[door])
}
SETTINGS = [
    (build, name)
    for build, function in BUILDS.items()
    for name, parameter in inspect.signature(function).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
]
TOY = {"dim": 4, "reg": 1.0, "alpha": 3.0, "init_scale": 0.1, "n_epochs": 1, "lr": 0.1,
       "n_steps": 1, "n_shards": 2, "attention_lr": 0.1, "attention_steps": 1}  # fmt: skip


def call(build, **settings):
    """Calls ``build`` with what it cannot do without, and the settings."""
    function = BUILDS[build]
    needed = {
        name: TOY[name]
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    model = [] if build.startswith("models/") else [None]
    return function(*model, **(needed | settings))


@pytest.mark.parametrize(("build", "name"), SETTINGS)
def test_what_no_setting_can_be_is_refused_by_name(build, name):
    hint = typing.get_type_hints(BUILDS[build])[name]
    united = typing.get_origin(hint) in (typing.Union, types.UnionType)
    parts = typing.get_args(hint) if united else (hint,)
    wrong = ["bogus", np.nan, np.inf, -np.inf, -1, -0.5, object(), [], b"x"]
    wrong += [] if bool in parts or any(True in typing.get_args(x) for x in parts) else [True]
    wrong += [] if type(None) in parts else [None]
    owner = build.partition("/")[2]
    for value in wrong:
        with pytest.raises(ValueError, match=rf"^{owner}: {name} must be .*; got"):
            call(build, **{name: value})


@pytest.mark.parametrize(
    ("build", "settings"),
    [
        ("methods/unlearn_als", {"variant": "Untrain"}),
        ("models/ials", {"solver": "bogus"}),
        ("models/ials", {"weighting": "BM25"}),
        ("models/ials", {"max_sweeps": -1}),
        ("models/ials", {"reg": 0.0}),
        ("models/ials", {"cg_steps": 2.5}),
        ("methods/ifru", {"hops": -1}),
        ("methods/ifru", {"keep": 0.0}),
        ("methods/ifru", {"keep": 1.1}),
        ("methods/ifru", {"sizes": (1, 2, 3)}),
        ("methods/ifru", {"sizes": (1, -2)}),
        ("methods/replay", {"n_steps": 0}),
        ("methods/certified_als", {"failure": 5}),
        ("methods/certified_als", {"failure": 1}),
        ("methods/certified_als", {"tol": 0.0}),
        ("methods/gradient_step", {"pull": "Retained"}),
        ("methods/sisa", {"n_shards": 0}),
        ("methods/sisa", {"n_shards": "2" * 100_000}),
    ],
)
def test_a_mistyped_or_impossible_setting_is_refused_in_one_short_line(build, settings):
    with pytest.raises(ValueError, match=next(iter(settings))) as fault:
        call(build, **settings)
    assert "\n" not in str(fault.value) and len(str(fault.value)) < 300


def test_a_setting_without_a_range_cannot_be_forgotten():
    with pytest.raises(TypeError, match="no range is stated for the setting breadth"):
        _settings.check("mf", "breadth", 3.0, float)


def test_every_build_is_checked():
    assert all(hasattr(build, "__wrapped__") for build in BUILDS.values())


# ---- public functions

PACKAGES = ("als", "gradient", "metrics", "prepare", "shards", "sparse")
CHECK_THEMSELVES = {  # and have tests of their own for it
    "prepare": "tests/test_forget.py, test_preprocess.py, test_split.py, "
    "test_shilling.py, test_planted.py",
    "sparse": "tests/test_layout.py, test_kernels.py",
    "als.certificate": "tests/test_certificate.py; evidence and lanczos are called after it",
    "gradient.model.build": "the models that call it are checked",
    "gradient.influence.region.chooser": "tests/test_importance.py",
    "gradient.influence.flow.run": "the methods are; a computed duration may be infinite",
    "gradient.influence.replay.run": "likewise",
    "gradient.influence.importance.top": "n_users and n_items size arrays",
    "metrics.audit.verdict": "tests/test_audit.py",
    "shards.assignment.count": "n_shards sizes an array",
}
NUMBERS = TOY | {"by": "user", "b": 0.5, "k1": 1.0,
                 "tol": 0.1, "max_steps": 1, "batch_size": 1, "k": 1,
                 "n_sweeps": 1, "max_sweeps": 1,
                 "damping": 1.0, "damping_power": 0.5, "keep": 0.5,
                 "origin": 0.5, "within": 0.1, "capacity": 1.1, "n_rounds": 1,
                 "n_slices": 1, "max_products": 1, "newton_steps": 1, "power": 0.5, "hops": 1,
                 "width": 1, "steps": 1, "seed": 0, "n_bins": 2, "patience": 1,
                 "n_layers": 1}  # fmt: skip


def public_functions():
    """Dotted names of the functions of public modules with a number or a choice among its words."""
    for module in pkgutil.walk_packages(jaxforget.__path__, "jaxforget."):
        place = module.name.removeprefix("jaxforget.")
        if place.partition(".")[0] not in PACKAGES or "._" in module.name:
            continue
        loaded = importlib.import_module(module.name)
        for name, function in vars(loaded).items():
            if inspect.isfunction(function) and function.__module__ == module.name:
                if not name.startswith("_"):
                    yield f"{place}.{name}", function


FUNCTIONS = dict(public_functions())


def settings_of(function):
    hints = typing.get_type_hints(function)
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if name in hints
        and _settings.is_setting(parameter, hints[name])
        and hints[name] is not bool
    ]


def test_every_public_function_with_settings_checks_them_in_the_one_way():
    alone = tuple(CHECK_THEMSELVES)
    missing = {
        name: settings
        for name, function in FUNCTIONS.items()
        if not hasattr(function, "__wrapped__")
        and (settings := settings_of(function))
        and not name.startswith(alone)
    }
    assert not missing


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        (name, setting)
        for name, function in FUNCTIONS.items()
        if hasattr(function, "__wrapped__")
        for setting in settings_of(function)
    ],
)
def test_what_no_setting_can_be_is_refused_by_functions_too(name, setting):
    function = FUNCTIONS[name]
    needed = {
        word: NUMBERS.get(word)
        for word, parameter in inspect.signature(function).parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind < parameter.VAR_KEYWORD
        and parameter.kind != parameter.VAR_POSITIONAL
    }
    for value in ["bogus", np.nan, -1, -0.5, object(), []]:
        with pytest.raises(ValueError, match=rf"^\w+: {setting} must be .*; got"):
            function(**(needed | {setting: value}))
