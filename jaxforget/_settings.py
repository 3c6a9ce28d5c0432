"""What each setting of a model, a method or a function may be: one table, read by one decorator.

A choice stands in the signature, as ``Literal``; a range stands here, by name, for a name means the
same everywhere. ``tests/test_settings_ranges.py`` walks every signature.
"""

import functools
import inspect
import typing
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar

import numpy as np
from jax import Array

from jaxforget import _checks, _weights
from jaxforget._jax import is_traced
from jaxforget.types import ForgetSet, Interactions, Method, Model

Function = TypeVar("Function", bound=Callable[..., Any])

COUNTS = {  # name: the least that makes sense
    "attention_steps": 1,
    "batch_size": 1,
    "cg_steps": 0,
    "deflate": 0,
    "dim": 1,
    "hops": 0,
    "k": 1,
    "max_products": 1,
    "max_rounds": 1,
    "max_steps": 1,
    "max_sweeps": 1,
    "n_bins": 1,
    "n_epochs": 1,
    "n_groups": 1,
    "n_layers": 0,
    "n_models": 1,
    "n_rounds": 1,
    "n_shards": 1,
    "n_slices": 1,
    "n_steps": 1,
    "n_sweeps": 0,
    "newton_steps": 1,
    "oversample": 0,
    "patience": 1,
    "retries": 1,
    "seed": 0,
    "sizes": 0,  # of each of the two
    "steps": 1,
    "width": 1,
}
COUNTS_OF = {"certified_als": {"dim": 0}}  # 0: as many as the model has

POSITIVE = {"alpha", "attention_lr", "bm25_k1", "capacity", "init_scale", "k1", "lr"}
POSITIVE_OF = {"ials": {"reg"}, "ease": {"reg"}, "explicit_als": {"reg"}, "certified_als": {"tol"}}
NOT_NEGATIVE = {
    "damping",
    "damping_power",
    "nu",
    "power",
    "reg",
    "tol",
    "unobserved",
    "within",
}
SHARES = {"keep", "origin"}  # in (0, 1]
UNIT = {"b", "bm25_b", "fpr"}  # in [0, 1]
CHANCES = {"failure"}  # in (0, 1)
RANGED = {*COUNTS, *POSITIVE, *NOT_NEGATIVE, *SHARES, *UNIT, *CHANCES}


def checked(function: Function) -> Function:
    """Decorates ``build`` of a model or method, or a function: its settings are checked first.

    Settings are the keyword-only arguments that are numbers or choices, and all that the tables
    name. None is let through where the signature names it; so is a traced number, and an array of
    several where the signature names arrays. ``fit`` and ``unlearn`` of what is built check the
    weights that they are given, where these are no tracers: inside a compiled program only the
    shapes are checked, and what weights outside [0, 1] or an ``after`` above ``before`` then give
    is undefined.

    Raises:
      ValueError: by the function, a setting out of range or not among its choices; by ``fit`` and
        ``unlearn``, weights that are no weights.

    Example:
      >>> from jaxforget.methods import finetune
      >>> finetune.build(None, lr=0.1, n_steps=0)
      Traceback (most recent call last):
      jaxforget._checks.SettingError: finetune: n_steps must be an integer, 1 or more; got 0
    """
    name = function.__name__
    owner = function.__module__.rpartition(".")[2] if name == "build" else name
    signature, hints = inspect.signature(function), typing.get_type_hints(function)
    settings = {
        name: hints[name]
        for name, parameter in signature.parameters.items()
        if name in hints and is_setting(parameter, hints[name])
    }

    @functools.wraps(function)
    def checking(*args: Any, **given: Any) -> Any:
        try:
            bound = signature.bind(*args, **given)
        except TypeError:
            return function(*args, **given)  # says which argument is missing or unknown
        for name, value in bound.arguments.items():
            if name in settings:
                check(owner, name, value, settings[name])
        return _guarded(owner, function(*args, **given), bound.arguments.get("model"))

    return typing.cast(Function, checking)


def is_setting(parameter: inspect.Parameter, hint: Any) -> bool:
    """Whether an argument is a number or a choice that decides what a function computes."""
    if parameter.name == "sizes":  # two numbers
        return True
    alone = parameter.kind is inspect.Parameter.KEYWORD_ONLY
    numeric = any(kind in (int, float, bool) or _literal(kind) for kind in _kinds(hint))
    return numeric and (alone or parameter.name in RANGED)


def _guarded(owner: str, built: Any, model: Any) -> Any:
    """The same model or method, which refuses weights that are no weights; masks are weights.

    A method that trains as its model does keeps that very function: it is how one tells.
    """
    if not isinstance(built, (Model, Method)):
        return built

    @functools.wraps(built.fit)
    def fit(key: Any, train: Interactions, weights: Any, *start: Any) -> Any:
        _checks.weights(f"{owner}: weights", weights, len(train.users))
        return built.fit(key, train, _weights.floating(train, weights), *start)

    if isinstance(built, Model):
        return built._replace(fit=fit)

    @functools.wraps(built.unlearn)
    def unlearn(key: Any, state: Any, train: Interactions, forget: ForgetSet) -> Any:
        _checks.request(owner, *forget, len(train.users))
        return built.unlearn(key, state, train, _weights.of_request(train, forget))

    plain = isinstance(model, Model) and built.fit is model.fit
    return built._replace(fit=built.fit if plain else fit, unlearn=unlearn)


def check(owner: str, name: str, value: Any, hint: Any) -> None:
    """Refuses a value that a setting with this name and type cannot have."""
    parts = _kinds(hint)
    options = [x for part in parts for x in typing.get_args(part) if _literal(part)]
    if bool in parts:
        options = [True, False, *options]
    several = isinstance(value, (Array, np.ndarray)) and value.ndim > 0 and Array in parts
    if (value is None and NoneType in parts) or is_traced(value) or several:
        return
    if options and (isinstance(value, (str, bool)) or not {int, float} & set(parts)):
        if not any(type(value) is type(x) and value == x for x in options):
            named = ", ".join(repr(x) for x in (*options, *([None] if NoneType in parts else [])))
            raise _checks.SettingError(
                f"{owner}: {name} must be one of {named}; got {_checks.shorten(value)}"
            )
        return
    _range(owner, name, value)


def _range(owner: str, name: str, value: Any) -> None:
    """Refuses a number outside the range of its name."""
    if name in COUNTS:
        least = COUNTS_OF.get(owner, {}).get(name, COUNTS[name])
        pair = name == "sizes" and isinstance(value, (tuple, list)) and len(value) == 2
        for one in value if pair else (value,):
            _checks.count(owner, least, **{name: one})
    elif name in POSITIVE or name in POSITIVE_OF.get(owner, ()):
        _checks.positive(owner, **{name: value})
    elif name in NOT_NEGATIVE:
        _checks.not_negative(owner, **{name: value})
    elif name in SHARES:
        _checks.share(owner, **{name: value})
    elif name in UNIT:
        _checks.between(owner, 0, 1, **{name: value})
    elif name in CHANCES:
        _checks.inside(owner, 0, 1, **{name: value})
    else:
        raise TypeError(f"{owner}: no range is stated for the setting {name}: see {__name__}")


def _literal(part: Any) -> bool:
    return typing.get_origin(part) is Literal


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The members of a union; a type alone is its only one."""
    united = typing.get_origin(hint) in (typing.Union, UnionType)
    return typing.get_args(hint) if united else (hint,)
