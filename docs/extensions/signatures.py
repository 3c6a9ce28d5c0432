"""What the pages say of the code, read from it: signatures, docstrings, comments, modules.

Imports neither Sphinx nor a method: the tests read the same as the pages do.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "types",
    "sparse",
    "data",
    "prepare",
    "als",
    "als.certificate",
    "gradient",
    "gradient.influence",
    "shards",
    "metrics",
    "models",
    "methods",
    "erase",
)  # a page each, in the order in which they may import one another


class Setting(NamedTuple):
    """One keyword of a function."""

    name: str
    values: str  # its annotation, as written
    default: str | None  # as written; None: required
    meaning: str  # from the docstring


def settings(path: Path, function: str = "build") -> list[Setting]:
    """Reads the keyword arguments of a function and what its docstring says of each.

    A docstring may speak of several at once: ``max_sweeps, tol: ...``.
    """
    node = definition(path, function)
    meanings = arguments(ast.get_docstring(node) or "")
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return [
        Setting(
            argument.arg,
            annotation(argument.annotation),
            None if default is None else _quoted(default),
            meanings.get(argument.arg, ""),
        )
        for argument, default in pairs
    ]


def definition(path: Path, function: str) -> ast.FunctionDef:
    """The syntax tree of a function of a file."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return node
    raise ValueError(f"{path}: no function {function}")


def explained(path: Path, function: str) -> dict[str, str]:
    """What the docstring of a function says of each of its arguments."""
    return arguments(ast.get_docstring(definition(path, function)) or "")


def annotation(node: ast.expr | None) -> str:
    """An annotation in words: the values of a ``Literal`` one by one, alternatives by "or".

    Example:
      >>> annotation(ast.parse("float | Literal['auto'] | None", mode="eval").body)
      '``float`` or ``"auto"`` or ``None``'
    """
    match node:
        case None:
            return ""
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return f"{annotation(left)} or {annotation(right)}"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            choices = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return " or ".join(f"``{_quoted(choice)}``" for choice in choices)
    return f"``{ast.unparse(node)}``"


def _quoted(node):
    return ast.unparse(node).replace("'", '"')


def arguments(docstring: str) -> dict[str, str]:
    """The entries of the section ``Args`` of a docstring, one per name.

    Example:
      >>> arguments("Does it.\\n\\nArgs:\\n  a, b: two\\n    numbers.\\n\\nRaises:\\n  E: x.")
      {'a': 'two numbers.', 'b': 'two numbers.'}
    """
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)*)", docstring, re.MULTILINE)
    if section is None:
        return {}
    return entries(textwrap.dedent(section[1]).strip())


def entries(text: str) -> dict[str, str]:
    """Entries ``name, name: text`` with their indented further lines, one per name."""
    found = {}
    for entry in re.split(r"\n(?=\S)", text):
        names, _, meaning = entry.partition(":")
        found |= {name.strip(" *"): " ".join(meaning.split()) for name in names.split(",")}
    return found


def comments(source: str, name: str) -> dict[str, tuple[str, str]]:
    """Annotation and trailing comment of each field of a class, from its source.

    Example:
      >>> comments("class A:\\n    x: int  # [N] a number", "A")
      {'x': ('int', '[N] a number')}
    """
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return {
                field.target.id: (
                    ast.unparse(field.annotation),
                    lines[field.end_lineno - 1][field.end_col_offset :].partition("# ")[2].strip(),
                )
                for field in node.body
                if isinstance(field, ast.AnnAssign)
            }
    raise ValueError(f"no class {name}")


def modules(package: str) -> list[str]:
    """The public modules of a package of jaxforget, in the order of its ``__all__``."""
    home = importlib.import_module(f"jaxforget.{package}")
    if not hasattr(home, "__path__"):
        return []
    inside = [m.name for m in pkgutil.iter_modules(home.__path__)]
    public = [m for m in inside if m[0] != "_" and f"{package}.{m}" not in PACKAGES]
    order = list(getattr(home, "__all__", []))
    return sorted(public, key=lambda m: (order.index(m) if m in order else len(order), m))


def direct(package: str) -> list[str]:
    """What a package gives of its modules' functions and classes under its own name."""
    home = importlib.import_module(f"jaxforget.{package}")
    names = getattr(home, "__all__", [])
    return [n for n in names if not inspect.ismodule(getattr(home, n))]
