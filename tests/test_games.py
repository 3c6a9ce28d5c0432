"""Was this pair ever there? Halves of a request, attacked by models that held it and did not."""

import numpy as np
import pandas as pd
import pytest
import toy_runs

from experiments import cli, statistics
from experiments.lab import games

REQUEST = '\n[request]\nkind = "random"\nratio = 0.05\n'
METHODS = """
[methods.retrain]

[methods.finetune]
use = "unlearn_als"
variant = "finetune"
max_sweeps = 1
tol = 0.0
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.toml").write_text(toy_runs.tweets(REQUEST, METHODS))
    return tmp_path


def command(folder, *more):
    config, results = str(folder / "small.toml"), str(folder / "results")
    return cli.main(["games", config, "--results", results, *more])


def test_sides_are_the_scores_without_and_with_a_pair():
    held = np.array([[True, False], [False, True], [False, False], [True, True]])
    without, with_it = games.sides(np.arange(8.0).reshape(4, 2), held)
    assert without.T.tolist() == [[2, 4], [1, 5]] and with_it.T.tolist() == [[0, 6], [3, 7]]


def played(shift, n_models=256, n_pairs=100):
    """Scores that are ``shift`` higher where the pair was held."""
    rng = np.random.default_rng(0)
    first = rng.random((n_models // 2, n_pairs)) < 0.5
    held = np.stack([first, ~first], axis=1).reshape(n_models, n_pairs)
    scores = rng.normal(size=held.shape) + shift * held
    return games.Played({"method": scores}, held, [])


@pytest.mark.parametrize(("shift", "area"), [(0.0, 0.5), (1.0, 0.76), (4.0, 0.998)])
def test_the_attack_finds_what_theory_says(shift, area):
    """AUC of normals that lie ``shift`` deviations apart: Phi(shift / sqrt 2)."""
    found = {name: estimate for _, name, estimate in games.measures(played(shift))}
    assert found["lira"].value == pytest.approx(area, abs=0.02)  # estimates cost a little
    assert found["lira"].low <= found["lira"].value <= found["lira"].high
    assert isinstance(found["lira_tpr@0.01"], statistics.Estimate)


def test_what_is_found_of_a_method_does_not_depend_on_the_others():
    game = played(0.5, n_models=64)
    alone = [estimate for *_, estimate in games.measures(game)]
    both = game._replace(scores={"other": game.scores["method"][::-1], **game.scores})
    found = [estimate for kind, _, estimate in games.measures(both) if kind == "method"]
    assert found == alone


FEW = ("--models", "32", "--pairs", "60")


def test_undeleted_pairs_are_found_retrained_ones_are_not(folder, capsys):
    assert command(folder, *FEW) == 0
    path = folder / "results" / "small" / "games.csv"
    table = pd.read_csv(path)
    assert list(table["method"].unique()) == ["retrained", "undeleted", "retrain", "finetune"]
    assert set(table["n_models"]) == {16} and set(table["n_known"]) == {8}
    assert set(table["n_pairs"]) == {60}
    auc = table[table["measure"] == "lira"].set_index("method")
    assert auc.loc["retrained", "low"] < 0.5 < auc.loc["retrained", "high"]
    assert auc.loc["retrain", "low"] < 0.5 < auc.loc["retrain", "high"]
    assert auc.loc["undeleted", "low"] > auc.loc["retrain", "value"]
    assert "AUC" in capsys.readouterr().out


@pytest.mark.slow
def test_games_go_on_where_they_were_stopped(folder, capsys):
    path = folder / "results" / "small" / "games.csv"
    assert command(folder, *FEW) == 0
    kept, made = sorted((path.parent / "games").rglob("undeleted-*.npz")), path.read_bytes()
    assert len(kept) == 4
    times = [file.stat().st_mtime_ns for file in kept]
    kept[1].unlink()  # stopped after the first file
    assert command(folder, *FEW) == 0
    assert path.read_bytes() == made and kept[0].stat().st_mtime_ns == times[0]
    assert command(folder, *FEW, "--only", "method=retrain") == 0  # leaves the others there
    assert sorted(path.read_text().splitlines()) == sorted(made.decode().splitlines())
    assert command(folder, "--models", "34", "--pairs", "60") == 0  # goes on from a short file
    assert set(pd.read_csv(path)["n_models"]) == {17}
    made = path.read_bytes()
    kept[0].write_bytes(b"half a file")
    assert command(folder, *FEW) == 2
    assert "cannot be read" in capsys.readouterr().err and path.read_bytes() == made


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--models", "33"), "even"),
        (("--models", "30"), "32 or more"),
        (("--pairs", "0"), "--pairs"),
        (("request.kind=users",), "whole users"),
        (("request.kind=none", "request.ratio=null"), "request"),
    ],
)
def test_what_cannot_be_asked_is_refused(folder, capsys, words, told):
    assert command(folder, *words) == 2
    assert told in capsys.readouterr().err
    assert not (folder / "results" / "small" / "games.csv").exists()
