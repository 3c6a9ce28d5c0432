"""Every setting of every model and method refuses what it cannot be, whoever builds it."""

import inspect
import types
import typing

import numpy as np
import pytest

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
