"""Configs are read strictly: every mistake is named by its dotted key before anything runs."""

import importlib
import inspect
import itertools

import pytest
import toy_runs

from experiments import plugins
from experiments.config import choice, grid, reading, schema
from experiments.errors import Refused


def read(folder, *overrides, text=toy_runs.TOML):
    return reading.read(toy_runs.write(folder, text), overrides)


def cells(folder, *overrides, text=toy_runs.TOML):
    return grid.cells(read(folder, *overrides, text=text))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sedes=1", ["sedes", "did you mean 'seeds'"]),
        ("request.ration=0.1", ["request.ration", "did you mean 'ratio'"]),
        ("split.shres=0.1", ["split.shres", "did you mean 'shares'"]),
        ("models.ials.dmi=3", ["models.ials.dmi", "did you mean 'dim'"]),
        ("methods.unlern_als.tol=3", ["methods.unlern_als", "did you mean 'unlearn_als'"]),
        ("methods.ladder.use=unlearn_al", ["methods.ladder.use", "did you mean 'unlearn_als'"]),
        ("models.ials.use=ails", ["models.ials.use", "did you mean 'ials'"]),
        ("data.use=movietweeting", ["data.use", "did you mean 'movietweetings'"]),
        ("figures=ratio_curve", ["figures", "did you mean 'ratio_curves'"]),
        ('data.steps=[{use="binaris"}]', ["data.steps[0].use", "did you mean 'binarise'"]),
        ('data.steps=[{use="binarise",treshold=1.0}]', ["did you mean 'threshold'"]),
        ("methods.ladder.variant=finetun", ["methods.ladder.variant", "did you mean 'finetune'"]),
        ("methods.ladder.models=ial", ["methods.ladder.models", "did you mean 'ials'"]),
        ("dtype=float46", ["dtype", "did you mean 'float64'"]),
        ("request.kind=randm", ["request.kind", "did you mean 'random'"]),
        ("reference.tl=1e-3", ["reference.tl", "did you mean 'tol'"]),
    ],
)
def test_an_unknown_name_is_refused_by_its_dotted_key_with_the_nearest_one(
    tmp_path, override, words
):
    with pytest.raises(Refused) as error:
        cells(tmp_path, override)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ('models.ials.dim="3"', "models.ials.dim"),  # "3" is not 3
        ("models.ials.dim=true", "models.ials.dim"),  # True is not 1
        ("models.ials.dim=3.5", "models.ials.dim"),
        ("models.ials.reg=nan", "models.ials.reg"),
        ("models.ials.reg=inf", "models.ials.reg"),
        ("methods.ladder.tol=0.1,nan", "methods.ladder.tol"),
        ("seeds=true", "seeds"),
        ('seeds=["0"]', "seeds"),
        ("seeds=-1", "seeds"),
        ("seeds=[]", "seeds"),
        ("ks=0", "ks"),
        ("repeats=0", "repeats"),
        ("request.ratio=0", "request.ratio"),
        ("request.ratio=1.5", "request.ratio"),
        ("request.ratio=-0.1", "request.ratio"),
        ("request.count=3", "request"),  # a ratio is given already
        ("request.kind=none", "request"),
        ("methods.ladder.ratio=2", "methods.ladder.ratio"),
        ("methods.ladder.tol=[]", "methods.ladder.tol"),
        ("split.shares=0.5,0.1,0.1", "split.shares"),
        ("seeds=0,0", "the same cell twice"),
        ("models.ials.use=3", "models.ials.use"),
        ("seeds.x=1", "seeds"),
        ("seeds", "dotted.path=value"),
        ("data.steps=3", "data.steps"),
    ],
)
def test_a_wrong_value_is_refused_and_never_turned_into_a_right_one(tmp_path, override, key):
    with pytest.raises(Refused) as error:
        cells(tmp_path, override)
    assert key in str(error.value)


def test_a_missing_required_setting_is_named(tmp_path):
    with pytest.raises(Refused, match=r"models\.ials\.reg: missing"):
        cells(tmp_path, text=toy_runs.TOML.replace("reg = 5.0\n", ""))


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(Refused, match="seeds: missing"):
        read(tmp_path, text=toy_runs.TOML.replace("seeds = [0, 1, 2]", ""))


def test_a_file_that_is_not_toml_or_not_there_is_refused(tmp_path):
    with pytest.raises(Refused, match=r"toy\.toml"):
        read(tmp_path, text="seeds = [0,")
    with pytest.raises(Refused, match="nowhere"):
        reading.read(str(tmp_path / "nowhere.toml"))


def test_the_command_line_beats_the_file_and_the_file_beats_the_default(tmp_path):
    got = read(tmp_path, "models.ials.dim=7", "ks=5", "request.ratio=0.2,0.3").experiment
    assert got.models["ials"]["dim"] == 7  # over the file's 4
    assert got.ks == [5]  # over the default
    assert got.request.ratio == [0.2, 0.3]
    assert got.models["ials"]["reg"] == 5.0  # the file
    assert got.dtype == "float32"  # the default


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("0,1", [0, 1]),
        ("[1, 2]", [1, 2]),
        ("true", True),
        ("a,b", ["a", "b"]),
        ("word", "word"),
        ('"1"', "1"),
        ("2020-01-01", "2020-01-01"),  # no date
        ("1\nx = 2", "1\nx = 2"),  # no second key
    ],
)
def test_an_override_is_a_toml_literal_or_else_a_string(text, value):
    raw = {}
    reading.override(raw, f"data.x={text}")
    assert raw == {"data": {"x": value}}


def test_the_grid_is_every_combination_and_a_list_is_an_axis(tmp_path):
    found = cells(tmp_path)
    assert len(found) == 3 * (2 + 2 * 1 + 3 * 2)  # seeds x (retrain, passes, ladder x ratios)
    assert len(cells(tmp_path, "models.ials.dim=2,3")) == 2 * len(found)
    assert {c.axes["ratio"] for c in found if c.axes["method"] == "unlearn_als"} == {0.1}


def test_a_method_may_be_kept_to_some_models(tmp_path):
    more = toy_runs.TOML + 'models = ["other"]\n[models.other]\nuse = "ials"\n'
    found = cells(tmp_path, text=more + "dim = 2\nreg = 1.0\nalpha = 1.0\n")
    assert {c.axes["model"] for c in found if c.axes["method"] == "ladder"} == {"other"}


def test_the_id_follows_what_decides_the_numbers_and_nothing_else(tmp_path):
    ids = [cell.id for cell in cells(tmp_path)]
    assert ids == [cell.id for cell in cells(tmp_path, "repeats=5")]  # more timed runs
    assert ids == [cell.id for cell in cells(tmp_path, "models.ials.reg=5")]  # 5 is 5.0
    assert ids == [c.id for c in cells(tmp_path, "models.ials.nu=0.0")]  # the default, spelt out
    for change in (
        "models.ials.dim=5",
        "dtype=float64",
        "ks=10",
        "split.seed=9",
        "reference.tol=1",
    ):
        assert not set(ids) & {cell.id for cell in cells(tmp_path, change)}
    assert len(set(ids)) == len(ids)


def test_a_setting_that_a_model_got_later_leaves_the_ids_of_cells_without_it(tmp_path):
    text = toy_runs.TOML.partition("[methods.unlearn_als]")[0]
    text += "[models.mf]\ndim = 2\ninit_scale = 0.1\nlr = 0.1\nn_epochs = 1\n"

    def of(*over):
        return {c.id: c for c in cells(tmp_path, *over, text=text) if c.axes["model"] == "mf"}

    plain = of()
    assert plain and not any("nu" in c.spec["model"]["settings"] for c in plain.values())
    assert plain.keys() == of("models.mf.nu=0.0").keys()
    swept = of("models.mf.nu=[0.0, 1.0]")
    assert plain.keys() < swept.keys() and len(swept) == 2 * len(plain)
    assert {c.axes["model.nu"] for c in swept.values()} == {0.0, 1.0}
    over = of("models.mf.nu=1.0", "reference.nu=0.0").values()  # an override is not left out
    assert all(c.spec["reference"] == {"nu": 0.0} for c in over)


def test_the_pairs_of_a_request_count_by_content_not_by_place(tmp_path):
    (tmp_path / "a.csv").write_text("user,item\n1,2\n")
    (tmp_path / "b.csv").write_text("user,item\n1,2\n")
    (tmp_path / "c.csv").write_text("user,item\n1,3\n")
    text = toy_runs.TOML.replace("ratio = [0.01, 0.1]", "").replace("ratio = 0.1", "")

    def ids(name):
        over = ("request.kind=pairs", f"request.path={tmp_path / name}")
        return {cell.id for cell in cells(tmp_path, *over, text=text)}

    assert ids("a.csv") == ids("b.csv")
    assert not ids("a.csv") & ids("c.csv")


def test_neighbours_in_the_grid_share_fit_and_request(tmp_path):
    found = [c.key("data", "split", "model", "request") for c in cells(tmp_path)]
    assert len(set(found)) == 6  # three seeds, two ratios
    assert sum(a != b for a, b in itertools.pairwise(found)) == 5  # each met once


def test_shards_part_the_grid_and_never_a_fit(tmp_path):
    found = cells(tmp_path, "seeds=0,1,2,3,4,5,6,7")
    parts = [choice.shard(found, f"{i}/3") for i in range(3)]
    assert sorted(c.id for part in parts for c in part) == sorted(c.id for c in found)
    fits = [{c.key("data", "split", "model", "seed") for c in part} for part in parts]
    assert not (fits[0] & fits[1] or fits[0] & fits[2] or fits[1] & fits[2])
    for text in ("3/3", "1", "-1/2", "a/b"):
        with pytest.raises(Refused, match="--shard"):
            choice.shard(found, text)


def test_only_chooses_by_axis_and_refuses_what_is_not_in_the_grid(tmp_path):
    found = cells(tmp_path)
    got = choice.only(found, ["method=unlearn_als,ladder,seed=0,1", "max_sweeps=2"])
    assert {(c.axes["method"], c.axes["method.max_sweeps"]) for c in got} == {("unlearn_als", 2)}
    assert {c.axes["seed"] for c in got} == {0, 1}
    assert choice.only(found, [f"cell={found[3].id}"]) == [found[3]]
    for text in ("metod=retrain", "method=retran", "seed=9", "retrain"):
        with pytest.raises(Refused, match="--only"):
            choice.only(found, [text])


@pytest.mark.parametrize("kind", ["models", "methods"])
def test_every_plugin_of_the_library_can_be_read_without_importing_it(kind):
    for name in plugins.names(plugins.DOORS[kind]):
        build = importlib.import_module(f"jaxforget.{kind}.{name}").build
        known = list(inspect.signature(build).parameters)[0 if kind == "models" else 1 :]
        assert list(schema.find(kind, name, "here").settings) == known


def test_a_plugin_outside_the_tree_is_named_by_module_and_function(tmp_path, monkeypatch):
    package = tmp_path / "outsider"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
    (package / "mine.py").write_text(
        "def make(model, *, depth: int, names: list[str] = ('a',), other=print): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = schema.find("methods", "outsider.mine:make", "methods.mine.use")
    assert found.split({"depth": [1, 2]}, "m") == ({"names": ["a"]}, {"depth": [1, 2]})
    assert found.split({"depth": 1, "names": ["b"]}, "m")[0] == {"depth": 1, "names": ["b"]}
    with pytest.raises(Refused, match=r"m\.depth: expected int"):
        found.split({"depth": "1"}, "m")
