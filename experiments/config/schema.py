"""What a plug-in accepts, read from its source text: nothing is imported, so no jax is woken."""

import ast
import functools
import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import Refused
from ..plugins import DOORS, resolve, suggest

REQUIRED = object()
UNKNOWN = object()  # a default that is no literal; the plug-in fills it in itself


class Setting(NamedTuple):
    """One keyword of a plug-in: what its annotation and its default say."""

    types: frozenset[str]  # of "int float bool str list dict"; empty: anything
    choices: tuple  # values of a Literal
    default: Any

    def check(self, value: Any, where: str) -> Any:
        """Returns the value (an int given for a float as float); raises on a wrong type."""
        name = type(value).__name__
        if not (self.types or self.choices):
            return value
        if any(value == choice and type(value) is type(choice) for choice in self.choices):
            return value
        if name in self.types:
            return value
        if name == "int" and "float" in self.types:
            return float(value)
        if self.choices and isinstance(value, str):
            raise Refused(
                f"{where}: no choice {value!r}{suggest(value, [str(c) for c in self.choices])}"
            )
        wanted = " or ".join([*sorted(self.types), *(repr(c) for c in self.choices)])
        raise Refused(f"{where}: expected {wanted}, got {value!r} ({name})")


class Signature(NamedTuple):
    """The settings of one plug-in."""

    name: str
    settings: dict[str, Setting]
    open: bool  # takes **settings, or could not be read: the plug-in judges itself
    added: tuple[str, ...] = ()  # ``ADDED`` of its module, see ``stated``

    def stated(self, settings: dict[str, Any]) -> dict[str, Any]:
        """What a cell states of its settings: all but those in ``ADDED`` at their default.

        The id of a cell hashes what it states. A setting that a plug-in got later leaves the ids
        of cells that do not use it as they were, if its module names it in ``ADDED``.
        """
        defaults = {
            name: self.settings[name].default for name in self.added if name in self.settings
        }
        return {
            name: value
            for name, value in settings.items()
            if name not in defaults or value != defaults[name]
        }

    def split(
        self, given: dict[str, Any], where: str, *, partial: bool = False
    ) -> tuple[dict[str, Any], dict[str, list]]:
        """Checks settings; returns (fixed ones with the defaults, swept ones as lists).

        ``partial``: these only override others, so none is missing and none has a default.
        """
        for name in given:
            if name not in self.settings and not self.open:
                raise Refused(f"{where}.{name}: unknown setting{suggest(name, self.settings)}")
        fixed, swept = {}, {}
        for name, setting in ({} if partial else self.settings).items():
            if name not in given and setting.default is REQUIRED:
                raise Refused(f"{where}.{name}: missing; {self.name} has no default for it")
            if name not in given and setting.default is not UNKNOWN:
                fixed[name] = setting.default
        for name, value in given.items():
            path, setting = f"{where}.{name}", self.settings.get(name, Setting(frozenset(), (), 0))
            axis = isinstance(value, list)
            if axis and "list" in setting.types:  # a list is this setting's own value
                axis = bool(value) and all(isinstance(v, list) for v in value)
            if not axis:
                fixed[name] = setting.check(value, path)
                continue
            if not value:
                raise Refused(f"{path}: an empty list sweeps over nothing; give a value")
            swept[name] = [setting.check(v, path) for v in value]
        return fixed, swept


def _annotation(node: ast.expr | None, named: dict[str, ast.expr]) -> tuple[set[str], list, bool]:
    """Type names, Literal values, and whether the annotation was understood.

    ``named``: what the module calls by a name of its own, such as ``Variant = Literal[...]``.
    """
    match node:
        case ast.Constant(value=None):
            return set(), [], True
        case ast.Constant(value=str(text)):
            return _annotation(ast.parse(text, mode="eval").body, named)
        case ast.Name(id=("int" | "float" | "bool" | "str" | "dict") as name):
            return {name}, [], True
        case ast.BinOp(left=left, right=right, op=ast.BitOr()):
            a, b = _annotation(left, named), _annotation(right, named)
            return a[0] | b[0], a[1] + b[1], a[2] and b[2]
        case ast.Subscript(value=value, slice=inner):
            outer = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
            if outer == "Literal":
                items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                return set(), [ast.literal_eval(i) for i in items], True
            if outer == "Optional":
                return _annotation(inner, named)
            if outer in ("list", "tuple", "Sequence", "Iterable"):
                return {"list"}, [], True
            if outer in ("dict", "Mapping"):
                return {"dict"}, [], True
        case ast.Name(id=("list" | "tuple" | "Sequence")):
            return {"list"}, [], True
        case ast.Name(id=name) if name in named:
            return _annotation(named[name], {})
    return set(), [], False


def _setting(argument: ast.arg, default: Any, named: dict[str, ast.expr]) -> Setting:
    types, choices, known = _annotation(argument.annotation, named)
    if default is REQUIRED:
        value = REQUIRED
    else:
        try:
            value = ast.literal_eval(default)
        except ValueError:
            value = UNKNOWN
        value = list(value) if isinstance(value, tuple) else value
    return Setting(frozenset(types if known else ()), tuple(choices if known else ()), value)


def signature(file: Path, function: str, name: str, skip: int = 0) -> Signature:
    """Reads the keywords of one function; the first ``skip`` arguments are not settings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            break
    else:  # defined elsewhere: its own TypeError has to do
        return Signature(name, {}, True)
    arguments = node.args
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [REQUIRED] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    pairs = list(zip(plain, defaults, strict=True))[skip:]
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        pairs.append((argument, REQUIRED if default is None else default))
    named = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    settings = {argument.arg: _setting(argument, default, named) for argument, default in pairs}
    added = tuple(ast.literal_eval(named["ADDED"])) if "ADDED" in named else ()
    return Signature(name, settings, arguments.kwarg is not None, added)


def folders(name: str) -> list[Path]:
    """The folders of a top-level package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise Refused(f"no package {name!r} is installed")
    return [Path(folder) for folder in spec.submodule_search_locations]


def source(module: str) -> Path:
    """The file behind a dotted module, without importing anything."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if not rest and spec and spec.origin and spec.origin.endswith(".py"):  # a package, or one file
        return Path(spec.origin)
    for folder in folders(top):
        path = folder.joinpath(*rest)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if os.path.isfile(file):  # False also for a name too long for a file
                return file
    raise Refused(f"{module!r}: there is no file {rest[-1] if rest else top}.py in {top!r}")


@functools.cache
def find(kind: str, name: str, where: str) -> Signature:
    """The signature of a plug-in; an unknown name is refused with the nearest known one.

    Args:
      kind: "data", "models", "methods" or "figures".
      name: decided by the library's own resolver, as ``run`` does.
      where: the dotted key that names it, which begins an error.
    """
    try:
        target = resolve(name, DOORS[kind])
        skip = 0 if kind == "models" else 1  # a method's model, a reader's root, a figure's tables
        return signature(source(target.module), target.function, name, skip)
    except (ValueError, SyntaxError, Refused) as error:  # no such plug-in, or its file is no Python
        raise Refused(f"{where}: {error}") from None


def draws_seconds(name: str) -> bool:
    """Whether a figure draws how long cells took: every name of such a number ends in _seconds.

    So may one whose file cannot be read.
    """
    try:
        text = source(resolve(name, DOORS["figures"]).module).read_text(encoding="utf-8")
    except (OSError, ValueError, Refused):
        return True
    return "_seconds" in text


def steps() -> dict[str, Signature]:
    """The preprocessing steps and their settings."""
    file = source("jaxforget.prepare.preprocess")
    signatures = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        if node.args.args and node.args.args[0].arg == "frame" and node.name != "apply":
            signatures[node.name] = signature(file, node.name, node.name, 1)
    return signatures
