"""Every document that is TOML, however wrong, is read or refused in one line that names a key."""

import copy
import datetime
import json
import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.config import grid, reading
from experiments.config.fields import Experiment
from experiments.errors import Refused

CONFIGS = Path(__file__).parents[1] / "configs"
GOOD = {name: tomllib.loads((CONFIGS / f"{name}.toml").read_text()) for name in ("demo", "audit")}
DAY = datetime.datetime(2020, 2, 29, 12, 30)
LIMIT = 400  # characters of an error


class Verbatim(str):
    """TOML that has no value in Python to be written from."""


LONG = Verbatim("0x1" + "0" * 5000)  # Python refuses to write it in decimals

words = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES = "ials mf retrain binarise random none pairs : . / a:b a.b: ..:x a..b:c .:x os:path sys:f "
NAMES += "zlib:f __main__:f json.decoder:JSONDecoder"
scalars = st.one_of(
    st.sampled_from([True, False, 0, 1, -1, 2**31, 2**63, 10**400, LONG]),
    st.sampled_from([Verbatim("-" + "9" * 5000)]),
    st.sampled_from([0.0, -0.0, 1e308, 5e-324, math.nan, math.inf, -math.inf]),
    st.sampled_from([DAY, DAY.replace(tzinfo=datetime.UTC), DAY.date(), DAY.time()]),
    st.sampled_from(NAMES.split()),
    st.sampled_from(["", "a\nb", "\0:f", "x" * 5000, "x" * 300 + ":f", f"jaxforget.{'z' * 300}:f"]),
    st.integers(),
    st.floats(),
    words,
)
keys = st.one_of(
    words, st.sampled_from(["use", "models", "ratio", "steps", "x" * 5000, "a\nb", "a.b", ""])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


def text_of(value):
    """A value as TOML; tables inline, so that a line is a key of the document."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text_of(k)} = {text_of(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(text_of, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Verbatim):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)


def places(value, path=()):
    """The path of every entry of nested tables and lists."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in entries if isinstance(value, dict | list) else ():
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def change(draw, document):
    """Replaces, removes, adds or repeats one entry somewhere; lists may grow by a repetition."""
    there = list(places(document))
    if not there:
        return
    path = draw(st.sampled_from(there))
    inside = document
    for key in path[:-1]:
        inside = inside[key]
    how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "repeat"]))
    if how == "remove":
        del inside[path[-1]]
    elif isinstance(inside, list) and how != "replace":
        inside.append(copy.deepcopy(inside[path[-1]]) if how == "repeat" else draw(values))
    else:
        inside[draw(keys) if how == "add" else path[-1]] = draw(values)


@st.composite
def documents(draw):
    """The text of a good config after one to three changes, at times with a line twice."""
    document = copy.deepcopy(GOOD[draw(st.sampled_from(list(GOOD)))])
    for _ in range(draw(st.integers(1, 3))):
        change(draw, document)
    lines = [f"{text_of(key)} = {text_of(value)}" for key, value in document.items()]
    if lines and draw(st.integers(0, 9)) == 0:
        lines.append(draw(st.sampled_from(lines)))
    return "\n".join(lines)


def judge(path, *overrides):
    """Reads a config down to its cells; what refuses it must be one line that names a key."""
    try:
        grid.cells(reading.read(str(path), overrides))
    except Refused as error:
        said = str(error)
    else:
        return
    assert said.isprintable(), said
    assert len(said) < LIMIT, said
    named = [*Experiment.__struct_fields__, path.name, "the grid is empty", "override"]
    given = [text.partition("=")[0].partition(".")[0] for text in overrides]
    try:
        given += tomllib.loads(path.read_text())
    except ValueError:
        pass
    named += [str(Refused(key))[:40] for key in given]  # as far as an error shows it
    assert any(name in said for name in named), said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("methods.retrain = {models = 3}", "methods.retrain.models: Expected `array`, got `int`"),
        ("methods.retrain = {models = [[1]]}", "methods.retrain.models: Expected `str`"),
        ("methods.retrain = {models = []}", "methods.retrain.models: empty; give at least one"),
        ("methods.retrain = {ratio = []}", "methods.retrain.ratio: empty; give at least one"),
        ('methods.retrain = {ratio = "all"}', "methods.retrain.ratio: Expected "),
        ("methods.retrain = {use = 2020-01-01}", "methods.retrain.use: got 2020-01-01; write a "),
        ("request = {ratio = []}", "request.ratio: empty; give at least one"),
        ("request = {count = []}", "request.count: empty; give at least one"),
        ('request = {kind = "pairs", path = ""}', "request.path: empty"),
        (f'request = {{kind = "pairs", path = "{"x" * 300}"}}', "request.path: no file 'xxx"),
        ("data = {use = []}", "data.use: empty; give at least one"),
        ("data = {use = [3]}", "data.use: expected the name of a data set, got 3"),
        ("models.ials = {dim = 9223372036854775808}", "models.ials.dim: got an integer of 64 bits"),
        (f"models.ials = {{reg = 1{'0' * 400}}}", "models.ials.reg: got an integer of 1329 bits"),
        (f"models.ials = {{dim = 1{'0' * 5000}}}", "bad.toml: Exceeds the limit"),
        (f"models.ials = {{dim = {'[' * 9000}}}", "bad.toml: lists or tables are nested too de"),
        (f'models.ials = {{use = "{"x" * 5000}"}}', "models.ials.use: no model 'xxx"),
        (f"models.ials = {{{'x' * 5000} = 1}}", "models.ials.xxx"),
        ('models.ials = {"a\\u0000" = 1}', r"models.ials.a\x00: unknown setting"),
        ('models.ials = {use = "os:path"}', "models.ials.use: no package 'os'"),
        ('models.ials = {use = "sys:f"}', "models.ials.use: no package 'sys'"),
        ('models.ials = {use = "..:f"}', "models.ials.use: model '..:f': expected package.module"),
        (f'models.ials = {{use = "json.{"z" * 300}:f"}}', "models.ials.use: 'json.zzz"),
        ('methods.reference = {use = "retrain"}', "methods.reference: figures have a line of"),
        ('methods.undeleted = {use = "retrain"}', "methods.undeleted: figures have a line of"),
        ('methods.retrain = {use = "unlearn_als"}', "methods.retrain.use: got 'unlearn_als', but"),
        ('methods.retrain = {use = "os:path"}', "methods.retrain.use: got 'os:path', but tables"),
        ('methods.1 = {use = "retrain"}', "methods.1: cannot name a model or a method: begin wi"),
        ('methods.null = {use = "retrain"}', "methods.null: cannot name a model or a method"),
        ('methods."a b" = {use = "retrain"}', "methods.a b: cannot name a model or a method"),
        ('models.NaN = {use = "ials", dim = 4, reg = 1, alpha = 1}', "models.NaN: cannot name"),
    ],
)
def test_a_value_that_once_ended_in_a_trace_is_refused_by_its_key(tmp_path, line, words):
    document = copy.deepcopy(GOOD["demo"])
    top = line.partition(" ")[0].partition(".")[0]
    del document[top]
    for table in document.get("methods", {}).values():
        table.pop("ratio", None)  # it goes with some requests only
    lines = [f"{text_of(key)} = {text_of(value)}" for key, value in document.items()]
    (tmp_path / "bad.toml").write_text("\n".join([*lines, line]))
    with pytest.raises(Refused) as error:
        grid.cells(reading.read(str(tmp_path / "bad.toml")))
    assert words in str(error.value)
    assert len(str(error.value)) < LIMIT


@given(text=documents())
def test_a_changed_config_is_read_or_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "changed.toml"
    path.write_text(text, encoding="utf-8")
    judge(path)


@given(data=st.data())
def test_an_override_is_taken_or_refused_in_one_line(data):
    name = data.draw(st.sampled_from(list(GOOD)))
    known = [".".join(map(str, p)) for p in places(GOOD[name]) if "0" not in map(str, p)]
    key = data.draw(st.sampled_from(known) | keys)
    value = data.draw(values.map(text_of) | words)
    judge(CONFIGS / f"{name}.toml", f"{key}={value}")
