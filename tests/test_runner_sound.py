"""Cells that diverge or fail, through the runner: a status and a reason, and never a number."""

import json
import math

import jax
import numpy as np
import pandas as pd
import pytest
import toy_runs

from experiments import cli
from experiments.config import grid, reading
from experiments.lab import progress, soundness, store, tables
from jaxforget.types import Factors

TEXT = """# A model that diverges and one that cannot take the data beside one that works.
seeds = [0]
ks = [5]
figures = ["recovery", "method_times"]
[data]
[request]
ratio = 0.1
[models.ials]
dim = 4
reg = 5.0
alpha = 10.0
max_sweeps = 3
[models.mf]
dim = 3
init_scale = 0.1
lr = 1e20
batch_size = 64
n_epochs = 2
[models.picky]
use = "picky_model:build"
[models.worse]
use = "picky_model:worse"
[methods.retrain]
"""
PICKY = """
from jaxforget.models import mf


def build():
    def prepare(train):
        raise ValueError("values must lie in [0, 1];\\ngot 5")

    return mf.build(dim=2, init_scale=0.1, lr=0.1, n_epochs=1)._replace(prepare=prepare)


def worse():
    raise RuntimeError("no luck")
"""


@pytest.fixture(autouse=True, scope="module")
def precision():
    """A run in this process chooses its own precision; the next test gets back what it had."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The rows of a run by model, its finished process and its config; and its tables."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "picky_model.py").write_text(PICKY)
    path = toy_runs.small(folder, TEXT)
    text = (folder / "toy.toml").read_text()
    steps = 'steps = [{use = "binarise", threshold = 3.0, negatives = "keep"}]\n[request]'
    (folder / "toy.toml").write_text(text.replace("[request]", steps))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(toy_runs.ENVIRONMENT, "PYTHONPATH", str(folder))
        done = toy_runs.command("run", path, "--results", folder, "--allow-code")
    rows = [json.loads(path.read_text()) for path in (folder / "toy/cells").glob("*.json")]
    return {row["spec"]["model"]["use"].rpartition(":")[2]: row for row in rows}, done, path


def test_a_model_that_diverges_is_stored_without_any_number(found):
    rows, done, _ = found
    row = rows["mf"]
    assert row["status"] == "diverged", done.stderr
    assert "before" in row["reason"] and "after" in row["reason"]
    assert row["metrics"] == [] and row["info"] == {}
    assert row["spec"]["model"]["settings"]["lr"] == 1e20 and row["timings"]["fit_seconds"] > 0


def test_an_error_of_one_cell_is_one_line_and_the_others_are_computed(found):
    rows, done, _ = found
    assert rows["ials"]["status"] == "ok" and rows["ials"]["metrics"]
    assert rows["build"]["status"] == "failed"
    assert rows["build"]["reason"].startswith("ValueError: values must lie in [0, 1]")
    assert rows["worse"]["reason"] == "RuntimeError: no luck"
    assert "Traceback" in rows["build"]["traceback"]
    assert "Traceback" not in done.stderr + done.stdout


def test_the_exit_code_and_the_last_lines_say_how_many_have_no_numbers(found):
    rows, done, _ = found
    assert done.returncode == 1
    assert "2 cells failed:" in done.stderr and "1 cells diverged:" in done.stderr
    assert rows["mf"]["id"] in done.stderr and "got 5" in done.stderr
    line = next(line for line in done.stdout.splitlines() if " mf " in line)
    assert "diverged: " in line and "ndcg" not in line and "distance" not in line


def test_tables_figures_and_report_show_the_status_and_no_number(found, capsys, monkeypatch):
    rows, _, path = found
    results = path.rpartition("/")[0]
    monkeypatch.syspath_prepend(results)  # where the plug-in lies
    for command in ("collect", "figures", "report"):
        assert cli.main([command, path, "--results", results]) == 0, command
    assert "without numbers: 1 diverged, 2 failed" in capsys.readouterr().out
    folder = toy_runs.Path(results) / "toy"
    cells = pd.read_csv(folder / "cells.csv").set_index("cell")
    bad = cells.loc[rows["mf"]["id"]]
    assert bad["status"] == "diverged"
    assert bad[[name for name in cells if name.startswith(("fit.", "unlearn."))]].isna().all()
    assert rows["mf"]["id"] not in (folder / "metrics.csv").read_text()
    for name in ("method_times.csv", "recovery.csv"):
        assert "mf" not in (folder / name).read_text()
    page = (folder / "report.html").read_text()
    assert "diverged" in page and "1 of 4 cells finished" in page


# ---- the rule by itself


@pytest.fixture
def row(tmp_path):
    cells = grid.cells(reading.read(toy_runs.write(tmp_path)))
    return toy_runs.made_up(next(c for c in cells if c.axes["method"] != "retrain"))


@pytest.mark.parametrize(
    ("users", "words"),
    [
        ([[1.0, -2.0]], None),
        ([[0.0, 0.0]], None),
        ([[1.0, math.nan]], "not finite"),
        ([[1.0, math.inf]], "not finite"),
        ([[1e7, 0.0]], "1e6 times"),
        ([[1e200, 0.0]], "1e6 times"),  # its square is infinite
    ],
)
def test_factors_are_sound_where_their_scores_are_finite_and_of_the_size_of_the_values(
    users, words
):
    fault = soundness.of_factors(Factors(np.array(users), np.array([[1.0, 1.0]])), [1.0, 3.0])
    assert fault is None if words is None else words in fault


def test_large_values_may_have_large_scores():
    factors = Factors(np.array([[1e4]]), np.array([[1e4]]))
    assert soundness.of_factors(factors, [1e8]) is None
    assert soundness.of_factors(factors, [1.0]) is not None


def test_a_measure_that_is_nan_at_every_stage_counts_once_factors_are_not_sound(row, tmp_path):
    nothing = [[*m[:-1], math.nan] for m in row["metrics"]]
    kept = store.write(tmp_path, row | {"metrics": nothing})
    assert kept["status"] == "ok"  # not defined on these data
    lost = store.write(
        tmp_path, row | {"metrics": nothing, "faults": ["before factors not finite"]}
    )
    assert lost["status"] == "diverged" and lost["reason"] == "before factors not finite"
    assert "faults" not in lost and lost["metrics"] == []


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_measure_is_a_divergence_at_whatever_stages(row, value):
    same = [[*m[:-1], value if m[2] == "loss" else m[-1]] for m in row["metrics"]]
    assert soundness.judged(row | {"metrics": same})["status"] == "diverged"


def test_an_infinite_bound_says_that_nothing_is_proved_and_an_infinite_residual_does_not(row):
    proof = {"relative_bound": math.inf, "certified": False}
    assert soundness.judged(row | {"info": {"unlearn": proof}})["status"] == "ok"
    proof = {"relative_bound": math.nan, "certified": False}
    assert soundness.judged(row | {"info": {"unlearn": proof}})["status"] == "diverged"
    assert soundness.judged(row | {"info": {"fit": {"residual": math.inf}}})["status"] == "diverged"


def test_a_reason_names_some_numbers_and_counts_the_rest(row):
    worse = [[*m[:-1], math.inf] for m in row["metrics"]]
    reason = soundness.judged(row | {"metrics": worse})["reason"]
    assert f"and {len(worse) - soundness.NAMED} more" in reason and len(reason) < 300


# ---- further than before


def moved(row, after):
    metrics = [
        [*m[:-1], after if m[:3] == ["after", "all", "distance"] else m[-1]] for m in row["metrics"]
    ]
    return row | {"metrics": metrics}


def test_a_cell_that_ends_further_from_the_reference_than_it_began_is_flagged(row):
    assert soundness.further(moved(row, 9.0)) is True
    assert soundness.further(moved(row, 1e-9)) is False
    assert soundness.further(moved(row, None)) is None
    assert soundness.further(row | {"metrics": []}) is None
    assert "FURTHER" in progress.summary(
        moved(row, 9.0) | {"timings": {"unlearn_seconds": 1.0, "unlearn_compile_seconds": 1.0}}
    )


def test_the_flag_is_a_column_of_the_cells_and_a_line_of_the_page(tmp_path):
    def change(cell, row):
        return moved(row, 9.0) if cell.axes["method"] == "unlearn_als" else row

    path = toy_runs.write(tmp_path, toy_runs.TOML.replace('"pass_curves", ', ""))
    made = toy_runs.fill(path, tmp_path, change)
    for command in ("collect", "figures", "report"):
        assert cli.main([command, path, "--results", str(tmp_path)]) == 0
    cells = pd.read_csv(tmp_path / "toy/cells.csv")
    far = {cell.id for cell in made if cell.axes["method"] == "unlearn_als"}
    assert set(cells.loc[cells["further"], "cell"]) == far
    page = (tmp_path / "toy/report.html").read_text()
    assert f"{len(far)} cells end further from the reference than they began" in page
    assert "further" in tables.tables(made, {})["cells.csv"].decode()


def test_a_page_of_cells_that_all_diverged_is_still_a_page(tmp_path, capsys):
    def change(cell, row):
        return row | {"faults": ["after factors not finite"]}

    path = toy_runs.write(tmp_path)
    toy_runs.fill(path, tmp_path, change)
    assert cli.main(["collect", path, "--results", str(tmp_path)]) == 0
    assert cli.main(["figures", path, "--results", str(tmp_path)]) == 0
    assert "no cell has numbers" in capsys.readouterr().out
    assert cli.main(["report", path, "--results", str(tmp_path)]) == 0
    assert "after factors not finite" in (tmp_path / "toy/report.html").read_text()


def test_a_run_of_finished_cells_says_what_they_are_again(tmp_path, capsys):
    def change(cell, row):
        if cell.axes["method"] == "retrain":
            return row | {"faults": ["after factors not finite"]}
        return moved(row, 9.0) if cell.axes["method"] == "unlearn_als" else row

    path = toy_runs.write(tmp_path)
    toy_runs.fill(path, tmp_path, change)
    assert cli.main(["run", path, "--results", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "6 cells end further from the reference than they began: 6 of unlearn_als" in told.out
    assert "6 cells diverged:" in told.err and "--retry" not in told.err
    assert cli.main(["run", path, "--results", str(tmp_path), "--only", "method=ladder"]) == 0
