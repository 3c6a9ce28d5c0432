"""Several kinds of requests in one config, and attacks that the runner injects and forgets."""

import itertools

import pandas as pd
import pytest
import toy_runs

from experiments import cli, figures
from experiments.config import choice, grid, reading
from experiments.errors import Refused
from experiments.figures import _tables
from jaxforget import data

SHILLING = toy_runs.TOML[: toy_runs.TOML.index("[methods.retrain]")] + "[methods.retrain]\n"
SHILLING = SHILLING.replace('kind = "random"', 'kind = "shilling_bandwagon"')
SHILLING = SHILLING.replace("ratio = [0.01, 0.1]", "count = 30\nfillers = 3\nunpopular = 0.5")


def cells(folder, *overrides, text=toy_runs.TOML):
    return grid.cells(reading.read(toy_runs.write(folder, text), overrides))


def test_a_list_of_kinds_is_an_axis_and_one_kind_keeps_its_ids(tmp_path):
    one, two = cells(tmp_path), cells(tmp_path, "request.kind=random,users")
    assert {c.axes["kind"] for c in two} == {"random", "users"}
    assert len(two) == 2 * len(one)
    assert {c.id for c in one} == {c.id for c in two if c.axes["kind"] == "random"}
    assert {c.id for c in one} == {c.id for c in cells(tmp_path, 'request.kind=["random"]')}
    requests = [c.key("data", "split", "model", "request") for c in two]
    assert sum(a != b for a, b in itertools.pairwise(requests)) == len(set(requests)) - 1
    assert len({grid.label(c) for c in two}) == len(two)
    chosen = choice.only(two, ["kind=users,seed=1"])
    assert {(c.axes["kind"], c.axes["seed"]) for c in chosen} == {("users", 1)}


def test_the_ids_of_one_kind_are_those_of_stored_results(tmp_path):
    assert cells(tmp_path)[0].spec["request"] == {
        "kind": "random",
        "ratio": 0.01,
        "count": None,
        "pairs": None,
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["request.kind=random,popolar"], ["request.kind", "did you mean 'popular'"]),
        (["request.kind=[]"], ["request.kind", "empty"]),
        (["request.kind=random,none"], ["request.kind", "'none'", "alone"]),
        (["request.kind=random,random"], ["the same cell twice"]),
        (["request.kind=shilling_random"], ["request.fillers", "missing"]),
        (["request.kind=shilling_random", "request.fillers=3"], ["request.unpopular", "missing"]),
        (["request.fillers=3"], ["request.fillers", "only the kinds", "canaries"]),
        (["request.kind=canaries", "request.fillers=3"], ["request.unpopular", "missing"]),
        (["request.kind=corruption"], ["request.fillers", "missing"]),
        (
            ["request.kind=corruption", "request.fillers=3", "request.unpopular=0.5"],
            ["request.unpopular", "only the kinds"],
        ),
        (["request.kind=3"], ["request.kind"]),
    ],
)
def test_kinds_are_checked_before_anything_runs(tmp_path, overrides, words):
    with pytest.raises(Refused) as error:
        cells(tmp_path, *overrides)
    for word in words:
        assert word in str(error.value)


def test_kinds_have_panels_of_their_own(tmp_path):
    text = toy_runs.TOML.replace('kind = "random"', 'kind = ["random", "users"]')
    path = toy_runs.write(
        tmp_path, text.replace('"pass_curves", ', "").replace(', "tolerance_times"', "")
    )
    toy_runs.fill(path, tmp_path)
    for command in ("collect", "figures", "report"):
        assert cli.main([command, path, "--results", str(tmp_path)]) == 0
    figure, frame = figures.load("ratio_curves")(_tables.read(tmp_path / "toy"))
    assert set(frame["kind"]) == {"random", "users"}
    titles = {axis.get_title(loc="left") for axis in figure.axes} - {""}
    assert titles == {
        "movietweetings, ials, random interactions",
        "movietweetings, ials, whole users",
    }


@pytest.mark.slow
def test_an_attack_is_injected_measured_and_forgotten(tmp_path):
    path = toy_runs.small(tmp_path, SHILLING)
    words = [path, "seeds=0", "ks=3", "models.ials.reg=1.0", "--results", str(tmp_path)]
    done = toy_runs.within("run", *words, "--quiet")
    assert done.returncode == 0, done.stderr
    assert cli.main(["collect", *words]) == 0
    found = _tables.read(tmp_path / "toy")
    assert set(found.cells["kind"]) == {"shilling_bandwagon"}
    assert (found.cells["status"] == "ok").all()
    shown = found.metrics[found.metrics["metric"] == "exposure"]
    share = shown.groupby("stage")["value"].mean()
    assert share["before"] > share["reference"]  # bought, and gone after retraining
    assert share["after"] < share["before"]
    assert set(shown["split"]) == {"all"}
    rows = pd.DataFrame(found.metrics).query("stage == 'reference' and metric == 'ndcg'")
    assert rows["value"].between(0, 1).all()


def test_what_a_kind_does_not_read_is_not_in_its_spec(tmp_path):
    kinds = "request.kind=canaries,corruption,random"
    some = cells(tmp_path, kinds, "request.fillers=4", "request.unpopular=0.5")
    specs = {c.axes["kind"]: c.spec["request"].keys() for c in some}
    assert {"fillers", "unpopular"} <= specs["canaries"] and "fillers" in specs["corruption"]
    assert "unpopular" not in specs["corruption"] and "fillers" not in specs["random"]


@pytest.mark.parametrize("kind", ["canaries", "corruption"])
def test_planted_profiles_are_measured_and_forgotten(tmp_path, kind):
    text = SHILLING.replace("shilling_bandwagon", kind)
    text = text if kind == "canaries" else text.replace("\nunpopular = 0.5", "")
    path = toy_runs.small(tmp_path, text)
    words = [path, "seeds=0", "ks=3", "models.ials.reg=1.0", "--results", str(tmp_path)]
    done = toy_runs.within("run", *words, "--quiet")
    assert done.returncode == 0, done.stderr
    assert cli.main(["collect", *words]) == 0
    found = _tables.read(tmp_path / "toy")
    assert (found.cells["status"] == "ok").all()
    shown = found.metrics[found.metrics["metric"] == "rank_exposure"]
    if kind == "corruption":
        assert shown.empty
        return
    bits = shown.groupby("stage")["value"].mean()
    assert bits["before"] > bits["reference"] and bits["after"] < bits["before"]
    assert set(shown["split"]) == {"forgotten"}


def test_planted_users_can_be_judged_by_a_bank_and_are_no_request_of_ids(tmp_path, capsys):
    text = SHILLING.replace("shilling_bandwagon", "canaries")
    path = toy_runs.small(tmp_path, text)
    words = [path, "seeds=0", "ks=3", "models.ials.reg=1.0", "--results", str(tmp_path)]
    assert cli.main(["oracles", *words, "--models=2", "--pairs=20"]) == 0
    (bank,) = (tmp_path / "toy" / "oracles").glob("*.npz")
    forgotten = data.oracles(bank)
    names = forgotten.users[forgotten.part == "forgotten"]
    assert len(names) == 20 and all(name.startswith("planted-") for name in names)
    assert cli.main(["requests", *words, "--kind=entangled", f"--out={tmp_path / 'x.csv'}"]) == 2
    assert "planted users" in capsys.readouterr().err
