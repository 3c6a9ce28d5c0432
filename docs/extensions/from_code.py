"""Pages and tables that are read from the code at build time, so that they cannot go stale.

`settings` shows the keywords of a function, `fields` those of a config table; the pages of the API
are written into `docs/api` before Sphinx reads it. Nothing here imports a method or a model: their
signatures are read from the syntax tree.
"""

import inspect
import itertools
import re
from pathlib import Path

import signatures
from docutils import nodes
from docutils.parsers.rst import Directive, directives

ROOT = signatures.ROOT


def table(head: list[str], rows: list[list[str]], widths: list[int]) -> nodes.table:
    """A table of texts in which ``code`` stands between double or single backticks.

    Where neighbouring rows end in the same text, one cell stands for all of them.
    """
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in widths]
    group += nodes.thead("", nodes.row("", *map(_cell, head)))
    body = nodes.tbody()
    for text, same in itertools.groupby(rows, key=lambda row: row[-1]):
        same = list(same)
        body += [nodes.row("", *map(_cell, row[:-1])) for row in same]
        body.children[-len(same)] += _cell(text, morerows=len(same) - 1)
    group += body
    return nodes.table("", group, classes=["settings"])


def _cell(text, **attributes):
    return nodes.entry("", nodes.paragraph("", "", *_text(text)), **attributes)


def _text(cell):
    parts = re.split(r"(``.+?``|`[^`]+`)", cell)
    return [
        nodes.literal("", part.strip("`")) if part.startswith("`") else nodes.Text(part)
        for part in parts
        if part
    ]


class Settings(Directive):
    """``{settings} jaxforget/methods/ifru.py``: the keywords of its ``build`` (``:function:``).

    ``:meanings: path function`` takes what is said of a setting from another function's docstring,
    where the first only refers to it.
    """

    required_arguments = 1
    option_spec = {"function": directives.unchanged, "meanings": directives.unchanged}  # noqa: RUF012

    def run(self):
        path = ROOT / self.arguments[0]
        self.state.document.settings.env.note_dependency(str(path))
        found = signatures.settings(path, self.options.get("function", "build"))
        if not found:
            return [nodes.paragraph("", "It has no settings.")]
        if "meanings" in self.options:
            other, function = self.options["meanings"].split()
            said = signatures.explained(ROOT / other, function)
            found = [s._replace(meaning=said.get(s.name, s.meaning)) for s in found]
        rows = [
            [f"``{s.name}``", s.values, f"``{s.default}``" if s.default else "required",
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
        known = signatures.comments(
            Path(inspect.getfile(struct)).read_text(encoding="utf-8"), struct.__name__
        )
        meanings = signatures.entries("\n".join(self.content))
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
    limits = [f"{sign} {_number(schema[key])}" for key, sign in signs.items() if key in schema]
    return " ".join([kind, ", ".join(limits)]).strip()


def _number(value):
    return "2^32" if value == 2**32 else f"{value:g}"


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


def write_pages(app):
    """Writes one page per package into ``docs/api``; a page that is the same is left alone."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    pages = {"index.md": INDEX.format(names="\n".join(signatures.PACKAGES))}
    for package in signatures.PACKAGES:
        rest = "".join(SECTION.format(name=f"{package}.{m}") for m in signatures.modules(package))
        direct = signatures.direct(package)
        also = ALSO.format(names=", ".join(f"`{n}`" for n in direct)) if direct else ""
        pages[f"{package}.md"] = PAGE.format(name=package) + also + rest
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

ALSO = """
From the package itself: {names}.
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
    if what == "property":
        lines.insert(0, "\\ ")  # or napoleon takes what stands before a colon for a type
    example = False
    for k, line in enumerate(lines):
        if line.strip():
            example = line.lstrip().startswith((">>>", "...")) or (example and line[0] == " ")
        else:
            example = False
        if not example:
            lines[k] = _plain(line)
    if what == "class" and (hasattr(obj, "_fields") or hasattr(obj, "__dataclass_fields__")):
        fields = signatures.comments(inspect.getsource(inspect.getmodule(obj)), obj.__name__)
        lines += ["", *(f"* ``{f}``: {_plain(c)}" for f, (_, c) in fields.items() if c), ""]


def _plain(line):
    """A line in which nothing but ``code`` means something."""
    parts = re.split(r"(``.+?``)", line)
    return "".join(
        f"``{part.strip('` ')}``" if part.startswith("``") else ESCAPED.sub(r"\\\1", part)
        for part in parts
    )


ESCAPED = re.compile(r"([|*`]|(?<=\w)_(?!\w))")


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
