"""Finds a plug-in: a file in its folder, an entry point, or ``package.module:function``."""

import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any


def names(package: str, group: str) -> list[str]:
    """The plug-ins of a folder of this package and of installed packages."""
    folder = Path(importlib.import_module(package).__file__).parent
    return sorted(
        {path.stem for path in folder.glob("[!_]*.py")}
        | {point.name for point in entry_points(group=group)}
    )


def find(name: str, *, package: str, group: str, function: str, noun: str) -> Callable:
    """Finds the function of a plug-in by name.

    Args:
      name: a file of ``package`` first, then an entry point of ``group``; ``"module:function"``
        names one directly.
      function: what it is called inside a file of ``package``.
      noun: what to call the thing in an error.

    Raises:
      ValueError: nothing has that name (near misses are suggested), or it cannot be imported.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as fault:
            raise ValueError(f"{noun} {name!r} cannot be imported: {fault}") from fault
    points = [point for point in entry_points(group=group) if point.name == name]
    if name.isidentifier() and importlib.util.find_spec(f"{package}.{name}") and name[0] != "_":
        if points:
            raise ValueError(
                f"{noun} {name!r} is a file of {package} and an entry point of "
                f"{points[0].value}: name the latter as package.module:{function}"
            )
        return getattr(importlib.import_module(f"{package}.{name}"), function)
    if points:
        return points[0].load()
    raise ValueError(f"no {noun} {name!r}{suggest(name, names(package, group))}")


def suggest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or the list of what is known."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"


def check_settings(function: Callable, settings: dict[str, Any], what: str, *, given: int) -> None:
    """Checks keyword settings against a signature whose first ``given`` arguments come from us.

    Raises:
      ValueError: a setting the function does not take, or a missing one.
    """
    parameters = list(inspect.signature(function).parameters.values())[given:]
    kinds = {parameter.kind for parameter in parameters}
    known = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    for name in settings:
        if name not in known and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise ValueError(f"{what} has no setting {name!r}{suggest(name, known)}")
    for parameter in parameters:
        required = parameter.name in known and parameter.default is parameter.empty
        if required and parameter.name not in settings:
            raise ValueError(f"{what} needs the setting {parameter.name!r}: it has no default")
