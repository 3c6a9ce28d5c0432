"""Pages and tables that are read from the code at build time, so that they cannot go stale.

`settings` shows the keywords of a function, `fields` those of a config table; the pages of the API
are written into `docs/api` before Sphinx reads it. Nothing here imports a method or a model: their
signatures are read from the syntax tree.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from docutils.parsers.rst import Directive, directives

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
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function]
    if not found:
        raise ValueError(f"{path}: no function {function}")
    meanings = arguments(ast.get_docstring(found[0]) or "")
    pairs = zip(found[0].args.kwonlyargs, found[0].args.kw_defaults, strict=True)
    return [
        Setting(
            argument.arg,
            ast.unparse(argument.annotation) if argument.annotation else "",
            None if default is None else ast.unparse(default),
            meanings.get(argument.arg, ""),
        )
        for argument, default in pairs
    ]


def arguments(docstring: str) -> dict[str, str]:
    """The entries of the section ``Args`` of a docstring, one per name.

    Example:
      >>> arguments("Does it.\\n\\nArgs:\\n  a, b: two\\n    numbers.\\n\\nRaises:\\n  E: x.")
      {'a': 'two numbers.', 'b': 'two numbers.'}
    """
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)*)", docstring, re.MULTILINE)
    if section is None:
        return {}
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(section[1]).strip()):
        names, _, text = entry.partition(":")
        for name in names.split(","):
            found[name.strip(" *")] = " ".join(text.split())
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


def table(head: list[str], rows: list[list[str]], widths: list[int]) -> nodes.table:
    """A table of texts in which ``code`` stands between double or single backticks."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in widths]
    group += nodes.thead("", _row(head))
    group += nodes.tbody("", *[_row(row) for row in rows])
    return nodes.table("", group, classes=["settings"])


def _row(cells):
    return nodes.row("", *[nodes.entry("", nodes.paragraph("", "", *_text(c))) for c in cells])


def _text(cell):
    parts = re.split(r"(``.+?``|`[^`]+`)", cell)
    return [
        nodes.literal("", part.strip("`")) if part.startswith("`") else nodes.Text(part)
        for part in parts
        if part
    ]


class Settings(Directive):
    """``{settings} jaxforget/methods/ifru.py``: the keywords of its ``build`` (``:function:``)."""

    required_arguments = 1
    option_spec = {"function": directives.unchanged}  # noqa: RUF012

    def run(self):
        path = ROOT / self.arguments[0]
        self.state.document.settings.env.note_dependency(str(path))
        found = settings(path, self.options.get("function", "build"))
        if not found:
            return [nodes.paragraph("", "It has no settings.")]
        rows = [
            [f"``{s.name}``", f"``{s.values}``", f"``{s.default}``" if s.default else "required",
             s.meaning]
            for s in found
        ]  # fmt: skip
        return [table(["setting", "values", "default", "meaning"], rows, [18, 24, 14, 44])]


class Fields(Directive):
    """``{fields} Experiment``: a table of the config; the body says ``name: meaning`` of each key.

    A key without a meaning, or a meaning without a key, is an error of the build.
    """

    required_arguments = 1
    has_content = True

    def run(self):
        from experiments.config import fields as schema

        struct = getattr(schema, self.arguments[0])
        known = comments(Path(inspect.getfile(struct)).read_text(encoding="utf-8"), struct.__name__)
        entries = re.split(r"\n(?=\S)", "\n".join(self.content))
        meanings = {
            e.partition(":")[0].strip(): " ".join(e.partition(":")[2].split()) for e in entries
        }
        if meanings.keys() != known.keys():
            wrong = ", ".join(sorted(meanings.keys() ^ known.keys()))
            raise self.error(f"{struct.__name__}: in one of schema and page only: {wrong}")
        rows = [[f"``{name}``", _values(struct, name), _default(struct, name), meanings[name]]
                for name in known]  # fmt: skip
        return [table(["key", "values", "default", "meaning"], rows, [14, 28, 16, 42])]


def _values(struct, name):
    """What msgspec accepts, in words."""
    import msgspec

    return _words(msgspec.json.schema_components([struct])[1][struct.__name__]["properties"][name])


def _words(schema):
    if "$ref" in schema:
        return "a table, below"
    if "anyOf" in schema:
        return " or ".join(_words(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f'``"{value}"``' for value in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        inner = schema.get("items", {})
        return "a list of these" if "enum" in inner else f"a list: {_words(inner)}"
    if kind == "object":
        return "tables" if schema.get("additionalProperties", {}).get("type") else "a table"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" if key in schema else "" for key, sign in signs.items()]
    return " ".join([kind, ", ".join(filter(None, limits))]).strip()


def _default(struct, name):
    import msgspec

    field = next(f for f in msgspec.structs.fields(struct) if f.name == name)
    if field.required:
        return "required"
    value = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory()
    if isinstance(value, msgspec.Struct):
        return "its defaults"
    return "none" if value is None else f"``{value!r}``".replace("'", '"')


def modules(package: str) -> list[str]:
    """The public modules of a package of jaxforget, in the order of its ``__all__``."""
    home = importlib.import_module(f"jaxforget.{package}")
    if not hasattr(home, "__path__"):
        return []
    inside = [m.name for m in pkgutil.iter_modules(home.__path__)]
    public = [m for m in inside if m[0] != "_" and f"{package}.{m}" not in PACKAGES]
    order = list(getattr(home, "__all__", []))
    return sorted(public, key=lambda m: (order.index(m) if m in order else len(order), m))


def write_pages(app):
    """Writes one page per package into ``docs/api``; a page that is the same is left alone."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    pages = {"index.md": INDEX.format(names="\n".join(PACKAGES))}
    for package in PACKAGES:
        rest = "".join(SECTION.format(name=f"{package}.{m}") for m in modules(package))
        pages[f"{package}.md"] = PAGE.format(name=package) + rest
    for name, text in pages.items():
        if not (folder / name).is_file() or (folder / name).read_text() != text:
            (folder / name).write_text(text)


INDEX = """# API reference

One page per package, in the order in which they may import one another: every package imports only
from those above it.

```{{toctree}}
{names}
```
"""

PAGE = """# {name}

```{{eval-rst}}
.. automodule:: jaxforget.{name}
   :members:
   :ignore-module-all:
```
"""

SECTION = """
## {name}

```{{eval-rst}}
.. automodule:: jaxforget.{name}
   :members:
```
"""


def plain_docstring(app, what, name, obj, options, lines):
    """Docstrings are plain text with ``code``: signs that mean something in reST are escaped.

    The fields of a NamedTuple or dataclass follow, each with the comment behind it in the source.
    """
    example = False
    for k, line in enumerate(lines):
        if line.strip():
            example = line.lstrip().startswith((">>>", "...")) or (example and line[0] == " ")
        else:
            example = False
        if not example:
            parts = re.split(r"(``.+?``)", line)
            lines[k] = "".join(p if p.startswith("``") else _escaped(p) for p in parts)
    if what == "class" and (hasattr(obj, "_fields") or hasattr(obj, "__dataclass_fields__")):
        fields = comments(inspect.getsource(inspect.getmodule(obj)), obj.__name__)
        lines += ["", *(f"* ``{f}``: {_said(c)}" for f, (_, c) in fields.items() if c), ""]


def _said(comment):
    parts = re.split(r"(``.+?``)", comment)
    return "".join(p if p.startswith("``") else _escaped(p) for p in parts)


def _escaped(text):
    return re.sub(r"([|*`]|(?<=\w)_(?!\w))", r"\\\1", text)


def skip_fields(app, what, name, obj, skip, options):
    """Fields of a NamedTuple are listed with their class, not once more as attributes."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    app.add_directive("settings", Settings)
    app.add_directive("fields", Fields)
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
    app.connect("autodoc-skip-member", skip_fields)
    return {"parallel_read_safe": True}
