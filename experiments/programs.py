"""A plug-in's functions with its numbers as arguments: one compilation serves a sweep over them.

A plug-in names in ``TRACED`` the settings that may be arguments of the compiled program instead
of constants in it; a grid over ``reg``, ``tol`` or ``max_sweeps`` then compiles once.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple


class Plug(NamedTuple):
    """A plug-in's build function and its settings, those that are numbers apart."""

    build: Callable
    static: tuple[tuple[str, Any], ...]
    numbers: dict[str, float]


class Program(NamedTuple):
    """One function of a plug-in: the part that compiles, and the numbers to call it with."""

    shell: Callable  # (numbers, *args)
    numbers: dict[str, dict[str, float]]


def plug(build: Callable, settings: dict[str, Any]) -> Plug:
    """Sorts settings into constants of the program and arguments to it."""
    traced = getattr(sys.modules[build.__module__], "TRACED", ())
    numbers = {k: v for k, v in settings.items() if k in traced and v is not None}
    static = tuple((k, v) for k, v in sorted(settings.items()) if k not in numbers)
    return Plug(build, static, numbers)


def program(field: str, model: Plug, method: Plug | None = None) -> Program:
    """The function ``field`` of a model, or of a method on it."""
    numbers = {"model": model.numbers, "method": method.numbers if method else {}}
    on_top = (method.build, method.static) if method else None
    return Program(_shell(field, (model.build, model.static), on_top), numbers)


@functools.cache
def _shell(field, model, method):
    def shell(numbers, *args):
        build, static = model
        made = build(**dict(static), **numbers["model"])
        if method:
            build, static = method
            made = build(made, **dict(static), **numbers["method"])
        return getattr(made, field)(*args)

    return shell
