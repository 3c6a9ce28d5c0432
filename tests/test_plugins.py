"""A name means one plug-in, for ``plan`` (which imports none) and for ``run`` alike."""

import importlib
import inspect
import subprocess
import sys

import pytest
import toy_runs

from experiments import cli, figures, plugins
from experiments.config import schema
from experiments.errors import Refused
from jaxforget import _plugins, data, methods, models

MODULE = """
def read(root, *, rows: int = 3):
    import pandas as pd
    return pd.DataFrame({"user": range(rows), "item": 0, "value": 1.0})

def build(*model, width: int = 3):
    return ("theirs", model, width)

def draw(tables):
    import matplotlib.pyplot as plt
    if "ratio" not in tables.cells:
        raise ValueError("a ratio is needed")
    figure, _ = plt.subplots()
    return figure, tables.cells[["cell", "ratio"]]

def refuse(tables):
    raise ValueError("nothing to draw")
"""
POINTS = """
[jaxforget.datasets]
theirs = outsider_package:read
bookcrossing = outsider_package:read
[jaxforget.models]
theirs = outsider_package:build
explicit_als = outsider_package:build
unnamed = outsider_package
[jaxforget.methods]
theirs = outsider_package:build
scif = outsider_package:build
[jaxforget.figures]
theirs = outsider_package:draw
recovery = outsider_package:draw
refusing = outsider_package:refuse
"""
OWN = {"data": "movielens", "models": "mf", "methods": "ifru", "figures": "exposure"}
BOTH = {"data": "bookcrossing", "models": "explicit_als", "methods": "scif", "figures": "recovery"}
FUNCTION = {"data": "read", "models": "build", "methods": "build", "figures": "draw"}


@pytest.fixture
def outsider(tmp_path, monkeypatch):
    """An installed package with plug-ins of every kind, some of them named as files of ours are."""
    folder = tmp_path / "outside"
    info = folder / "outsider_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outsider-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (folder / "outsider_package.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    schema.find.cache_clear()
    yield folder
    schema.find.cache_clear()
    sys.modules.pop("outsider_package", None)


def load(kind, name):
    """What ``run`` computes with."""
    return _plugins.load(name, {**_plugins.DOORS, "figures": plugins.FIGURES}[kind])


@pytest.mark.parametrize("kind", plugins.DOORS)
@pytest.mark.parametrize("case", ["file", "entry point", "module:function"])
def test_plan_reads_the_function_that_run_calls(outsider, kind, case):
    name = {
        "file": OWN[kind],
        "entry point": "theirs",
        "module:function": f"outsider_package:{FUNCTION[kind]}",
    }[case]
    function = load(kind, name)
    door = plugins.DOORS[kind]
    package = f"{door.package}.{name}" if case == "file" else "outsider_package"
    assert (function.__module__, function.__name__) == (package, FUNCTION[kind])
    parameters = inspect.signature(function).parameters.values()
    settings = [p.name for p in parameters if p.kind == p.KEYWORD_ONLY]
    assert list(schema.find(kind, name, "here").settings) == settings
    assert plugins.resolve(name, door) == _plugins.resolve(name, door) == (package, FUNCTION[kind])


@pytest.mark.parametrize("kind", plugins.DOORS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("BOTH", ["could mean several", "'outsider_package:FUNCTION'", "BOTH:FUNCTION'"]),
        ("thiers", ["did you mean 'theirs'"]),
        ("nothing_like_it", ["known: "]),
        ("_frame", ["no NOUN '_frame'"]),
        ("_als", ["no NOUN '_als'"]),
        ("_panels", ["no NOUN '_panels'"]),
        ("__init__", ["no NOUN '__init__'"]),
        ("outsider_package.sub", ["named as outsider_package.sub:FUNCTION"]),
        ("outsider_package:", ["expected package.module:FUNCTION"]),
        (":build", ["expected package.module:FUNCTION"]),
        ("../mf", ["no NOUN"]),
    ],
)
def test_plan_and_run_refuse_a_name_in_the_same_words(outsider, kind, name, words):
    name = BOTH[kind] if name == "BOTH" else name
    with pytest.raises(ValueError) as run:
        load(kind, name)
    with pytest.raises(Refused) as plan:
        schema.find(kind, name, "here")
    assert str(plan.value) == f"here: {run.value}"
    for word in words:
        word = word.replace("BOTH", BOTH[kind]).replace("FUNCTION", FUNCTION[kind])
        assert word.replace("NOUN", plugins.DOORS[kind].noun) in str(run.value)


@pytest.mark.parametrize("kind", plugins.DOORS)
def test_each_of_two_plug_ins_of_one_name_can_be_named_in_full(outsider, kind):
    door = plugins.DOORS[kind]
    for name in (
        f"{door.package}.{BOTH[kind]}:{door.function}",
        f"outsider_package:{door.function}",
    ):
        assert load(kind, name).__module__ == name.partition(":")[0]
        schema.find(kind, name, "here")


def test_the_doors_of_the_library_are_those_of_the_resolver(outsider):
    assert models.load("theirs")() == ("theirs", (), 3)
    assert methods.load("theirs")("mf", width=2) == ("theirs", ("mf",), 2)
    assert len(data.read("theirs", None, rows=5)) == 5 and "theirs" in data.names()
    assert models.load("unnamed")() == ("theirs", (), 3)  # a module: its function is the door's
    for name in plugins.names(plugins.FIGURES):
        if name not in ("recovery", "theirs", "refusing"):
            assert importlib.import_module(f"experiments.figures.{name}").draw


def test_a_plug_in_that_cannot_be_imported_says_so():
    with pytest.raises(ValueError, match="cannot be imported"):
        models.load("jaxforget.models.ials:no_such_function")


def test_a_list_of_data_sets_holds_those_of_others(outsider, capsys):
    (outsider / "outsider_package.py").write_text(
        MODULE + "from jaxforget.data import Source\n"
        'SOURCES = {"far": Source("far", None, None, "", "CC0", "Nobody", "3 x 1", ())}\n'
    )
    points = POINTS.replace("bookcrossing = outsider_package:read\n", "")
    (outsider / "outsider_package-1.0.dist-info" / "entry_points.txt").write_text(points)
    assert cli.main(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert "far" in out and "theirs" in out and "ml-100k" in out


def test_a_figure_of_another_package_is_drawn_without_jax(outsider, tmp_path):
    text = toy_runs.TOML.replace('"pass_curves", "ratio_curves", "tolerance_times"', '"theirs"')
    path = toy_runs.write(tmp_path, text)
    toy_runs.fill(path, tmp_path)
    more = [path, "--results", str(tmp_path)]
    script = (
        "import sys\n"
        f"sys.path.insert(0, {str(outsider)!r})\n"
        "from experiments import cli\n"
        "for command in ('plan', 'collect', 'figures', 'report'):\n"
        f"    assert cli.main([command, *{more!r}]) == 0, command\n"
        "assert 'jax' not in sys.modules and 'jaxforget' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=toy_runs.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "toy" / "theirs.svg").is_file()
    assert "<h2>Theirs</h2>" in (tmp_path / "toy" / "report.html").read_text()


def test_a_figure_of_another_package_refuses_by_a_value_error(outsider, tmp_path, capsys):
    path = toy_runs.write(tmp_path)
    toy_runs.fill(path, tmp_path)
    assert cli.main(["collect", path, "--results", str(tmp_path)]) == 0
    words = ["figures", path, "--results", str(tmp_path), "--only", "outsider_package:refuse"]
    assert cli.main([*words, "--allow-code"]) == 0  # a note in its place
    assert "nothing to draw" in capsys.readouterr().out
    assert figures.stem("outsider_package:refuse") == "outsider_package_refuse"
