"""What each setting of a model or method may be: one table, read by one decorator.

A choice stands in the signature of ``build``, as ``Literal``; a range stands here, by name, for a
name means the same everywhere. ``tests/test_settings_ranges.py`` walks every signature.
"""

import functools
import inspect
import typing
from collections.abc import Callable
from types import NoneType
from typing import Any, Literal, TypeVar

from jaxforget import _checks
from jaxforget._jax import is_traced
from jaxforget.types import ForgetSet, Interactions, Method, Model

Build = TypeVar("Build", bound=Callable[..., Any])

COUNTS = {  # name: the least that makes sense
    "attention_steps": 1,
    "batch_size": 1,
    "cg_steps": 0,
    "dim": 1,
    "hops": 0,
    "max_products": 1,
    "max_steps": 1,
    "max_sweeps": 1,
    "n_epochs": 1,
    "n_groups": 1,
    "n_layers": 0,
    "n_rounds": 1,
    "n_shards": 1,
    "n_slices": 1,
    "n_steps": 1,
    "newton_steps": 1,
    "oversample": 0,
    "patience": 1,
    "retries": 1,
    "sizes": 0,  # of each of the two
}
COUNTS_OF = {"certified_als": {"dim": 0}}  # 0: as many as the model has

POSITIVE = {"alpha", "attention_lr", "bm25_k1", "capacity", "init_scale", "lr"}
POSITIVE_OF = {"ials": {"reg"}, "explicit_als": {"reg"}, "certified_als": {"tol"}}
NOT_NEGATIVE = {"damping", "damping_power", "nu", "reg", "tol", "unobserved"}
SHARES = {"keep", "origin"}  # in (0, 1]
UNIT = {"bm25_b"}  # in [0, 1]
CHANCES = {"failure"}  # in (0, 1)


def checked(build: Build) -> Build:
    """Decorates ``build`` of a model or method: each setting is checked before it is read.

    None is let through where the signature names it, and so is a traced number. ``fit`` and
    ``unlearn`` of what is built check the weights that they are given, where these are no tracers:
    inside a compiled program only the shapes are checked, and what weights outside [0, 1] or an
    ``after`` above ``before`` then give is undefined.

    Raises:
      ValueError: by ``build``, a setting out of range or not among its choices; by ``fit`` and
        ``unlearn``, weights that are no weights.

    Example:
      >>> from jaxforget.methods import finetune
      >>> finetune.build(None, lr=0.1, n_steps=0)
      Traceback (most recent call last):
      ValueError: finetune: n_steps must be an integer, 1 or more; got 0
    """
    owner = build.__module__.rpartition(".")[2]
    signature, hints = inspect.signature(build), typing.get_type_hints(build)

    @functools.wraps(build)
    def checking(*args: Any, **settings: Any) -> Any:
        try:
            bound = signature.bind(*args, **settings)
        except TypeError:
            return build(*args, **settings)  # says which argument is missing or unknown
        for name, value in bound.arguments.items():
            if signature.parameters[name].kind is inspect.Parameter.KEYWORD_ONLY:
                check(owner, name, value, hints[name])
        return _guarded(owner, build(*args, **settings))

    return typing.cast(Build, checking)


def _guarded(owner: str, built: Any) -> Any:
    """The same model or method, which refuses weights that are no weights."""
    if not isinstance(built, (Model, Method)):
        return built

    @functools.wraps(built.fit)
    def fit(key: Any, train: Interactions, weights: Any, *start: Any) -> Any:
        _checks.weights(f"{owner}: weights", weights, len(train.users))
        return built.fit(key, train, weights, *start)

    if isinstance(built, Model):
        return built._replace(fit=fit)

    @functools.wraps(built.unlearn)
    def unlearn(key: Any, state: Any, train: Interactions, forget: ForgetSet) -> Any:
        _checks.request(owner, *forget, len(train.users))
        return built.unlearn(key, state, train, forget)

    return built._replace(fit=fit, unlearn=unlearn)


def check(owner: str, name: str, value: Any, hint: Any) -> None:
    """Refuses a value that a setting with this name and type cannot have."""
    parts = typing.get_args(hint) if typing.get_origin(hint) is not Literal else (hint,)
    options = [x for part in parts or (hint,) for x in typing.get_args(part) if _literal(part)]
    if hint is bool or bool in parts:
        options = [True, False, *options]
    if (value is None and NoneType in parts) or is_traced(value):
        return
    if options and (isinstance(value, (str, bool)) or not _numeric(hint, parts)):
        if not any(type(value) is type(x) and value == x for x in options):
            named = ", ".join(repr(x) for x in (*options, *([None] if NoneType in parts else [])))
            raise ValueError(
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


def _numeric(hint: Any, parts: tuple[Any, ...]) -> bool:
    return bool({int, float} & {hint, *parts})
