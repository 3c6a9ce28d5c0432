"""Decides which plug-in a name means, in one way for the library and for the runner.

A name is a file of the door's folder, an entry point of an installed package, or
``package.module:function``. Only the standard library is imported here: the runner loads this one
file by its path, so that it decides as the library does without importing jax.
"""

import difflib
import functools
import importlib
import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple


class Door(NamedTuple):
    """Where the plug-ins of one kind come from."""

    noun: str  # what an error calls such a plug-in
    package: str  # each of its files is a plug-in, but for those whose name starts with "_"
    folder: Path  # of that package
    group: str  # of the entry points by which other packages add theirs
    function: str  # what the function of a plug-in is called, unless an entry point names another


class Target(NamedTuple):
    """A plug-in's function: where to import it from."""

    module: str
    function: str


_FOLDER = Path(__file__).parent
DOORS = {
    "data": Door("data set", "jaxforget.data", _FOLDER / "data", "jaxforget.datasets", "read"),
    "models": Door("model", "jaxforget.models", _FOLDER / "models", "jaxforget.models", "build"),
    "methods": Door(
        "method", "jaxforget.methods", _FOLDER / "methods", "jaxforget.methods", "build"
    ),
}


@functools.cache
def _points(group: str, path: tuple[str, ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    """The entry points of a group; a run asks for them hundreds of times, some ms each.

    Args:
      path: ``sys.path``, on which the packages lie.
    """
    del path
    return tuple(importlib.metadata.entry_points(group=group))


def names(door: Door) -> list[str]:
    """The names of all plug-ins of a kind: files and entry points, sorted."""
    points = _points(door.group, tuple(sys.path))
    return sorted({*_files(door), *(point.name for point in points)})


def resolve(name: str, door: Door) -> Target:
    """Decides which function a name means; imports nothing.

    Args:
      name: ``"package.module:function"``, a file of the door, or an entry point of its group.
      door: the kind of plug-in.

    Raises:
      ValueError: nothing has that name (the nearest known one is suggested), or several plug-ins
        have it (the error spells out how to name each).

    Example:
      >>> resolve("ials", DOORS["models"])
      Target(module='jaxforget.models.ials', function='build')
    """
    if ":" in name:
        module, _, function = name.partition(":")
        parts = [*module.split("."), *function.split(".")]
        if not all(part.isidentifier() for part in parts):
            raise ValueError(f"{door.noun} {name!r}: expected package.module:{door.function}")
        return Target(module, function)
    targets = [Target(f"{door.package}.{name}", door.function)] if name in _files(door) else []
    for point in _points(door.group, tuple(sys.path)):
        target = Target(point.module, point.attr or door.function)
        if point.name == name and target not in targets:
            targets.append(target)
    if len(targets) > 1:
        spelt = " or ".join(repr(":".join(target)) for target in targets)
        raise ValueError(f"{door.noun} {name!r} could mean several; name one in full: {spelt}")
    if targets:
        return targets[0]
    if "." in name:
        raise ValueError(
            f"no {door.noun} {name!r}; a function outside is named as {name}:{door.function}"
        )
    raise ValueError(f"no {door.noun} {name!r}{suggest(name, names(door))}")


def load(name: str, door: Door) -> Callable:
    """Imports the function that a name means.

    Raises:
      ValueError: as ``resolve`` does, or the function cannot be imported.
    """
    target = resolve(name, door)
    try:
        function: Any = importlib.import_module(target.module)
        for attribute in target.function.split("."):
            function = getattr(function, attribute)
    except (ImportError, AttributeError) as fault:
        raise ValueError(f"{door.noun} {name!r} cannot be imported: {fault}") from fault
    return function


def suggest(name: str, known: Iterable[str]) -> str:
    """Ends an error about an unknown name: the nearest known one, or the list of all.

    Example:
      >>> suggest("ails", ["ials", "mf"]), suggest("x", ["ials", "mf"])
      ("; did you mean 'ials'?", '; known: ials, mf')
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"


def check_settings(function: Callable, settings: dict[str, Any], what: str, *, given: int) -> None:
    """Checks keyword settings against a signature.

    Args:
      function: takes the settings by keyword.
      settings: what is to be passed.
      what: begins the error, such as ``"data set 'movielens'"``.
      given: how many of the first arguments are no settings.

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


def _files(door: Door) -> set[str]:
    return {path.stem for path in door.folder.glob("[!_]*.py")}
