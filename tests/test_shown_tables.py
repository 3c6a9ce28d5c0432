"""Figures and reports show the tables that are there, all of them, and say what they lack."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import toy_runs

from experiments import cli, figures
from experiments.config import grid, reading
from experiments.errors import Refused
from experiments.figures import _tables
from experiments.lab import progress, store

ONE = toy_runs.TOML.replace('["pass_curves", "ratio_curves", "tolerance_times"]', '["recovery"]')
TWO_MODELS = toy_runs.TOML.replace("max_sweeps = 3\n", "max_sweeps = [3, 5]\n").replace(
    "[methods.retrain]",
    "[models.explicit_als]\ndim = 4\nreg = 5.0\nmax_sweeps = [10, 20]\n[methods.retrain]",
)


@pytest.fixture(autouse=True)
def closed():
    """Figures stay open until told otherwise, and matplotlib warns of many."""
    yield
    plt.close("all")


def collected(folder, text=ONE, change=lambda cell, row: row):
    """The path of a config, with made-up numbers and their tables beside it."""
    path = toy_runs.write(folder, text)
    toy_runs.fill(path, folder, change)
    assert run("collect", path) == 0
    return path


def run(command, path, *more):
    return cli.main([command, path, *more, "--results", path.rpartition("/")[0]])


def drawn(name, folder, text, change=lambda cell, row: row):
    collected(folder, text, change)
    return figures.load(name)(_tables.read(folder / "toy"))


def test_tables_of_other_settings_are_refused_by_figures_and_report(tmp_path, capsys):
    path = collected(tmp_path)
    assert run("figures", path) == run("report", path) == 0
    page = tmp_path / "toy" / "report.html"
    was = page.read_bytes()
    toy_runs.write(tmp_path, ONE.replace("dim = 4", "dim = 64"))
    for command in ("figures", "report"):
        capsys.readouterr()
        assert run(command, path) == 2
        assert "30 of 30 cells in its tables are of other settings" in capsys.readouterr().err
    assert page.read_bytes() == was
    assert run("report", path, "models.ials.dim=4") == 0


def test_a_figure_of_earlier_tables_is_not_put_into_a_report(tmp_path, capsys):
    path = toy_runs.write(tmp_path, ONE)
    for cell in [c for c in grid.cells(reading.read(path)) if c.axes["seed"] == 0]:
        store.write(tmp_path / "toy" / "cells", toy_runs.made_up(cell))
    assert run("collect", path) == 1
    assert run("figures", path) == 0
    svg = (tmp_path / "toy" / "recovery.svg").read_text()
    assert "20 cells not computed" in svg and "no cell left out" not in svg
    assert run("report", path) == 0
    assert "10 of 30 cells finished" in (tmp_path / "toy" / "report.html").read_text()
    toy_runs.fill(path, tmp_path)
    assert run("collect", path) == 0
    assert run("report", path) == 2
    assert "drawn of other tables than are there now" in capsys.readouterr().err
    assert run("figures", path) == run("report", path) == 0
    assert "30 of 30 cells finished" in (tmp_path / "toy" / "report.html").read_text()


def test_a_note_of_earlier_tables_is_not_put_into_a_report_either(tmp_path, capsys):
    path = collected(tmp_path)
    note = tmp_path / "toy" / "recovery.note"
    note.write_text("no cell was there\n")
    assert run("report", path) == 2 and "drawn of other" in capsys.readouterr().err
    note.unlink()
    assert run("report", path) == 2 and "is not there; first" in capsys.readouterr().err


def test_ratio_curves_keep_every_model_and_every_setting_of_a_model(tmp_path):
    _, frame = drawn("ratio_curves", tmp_path, TWO_MODELS)
    shown = set(frame[["model", "model.max_sweeps"]].itertuples(index=False, name=None))
    assert shown == {("ials", 3), ("ials", 5), ("explicit_als", 10), ("explicit_als", 20)}


@pytest.mark.parametrize("name", ["certificate_grid", "certificate_slack", "certificate_times"])
def test_repetitions_and_settings_of_a_certificate_are_lines_of_their_own(tmp_path, name):
    again = toy_runs.CERTIFIED.replace("[0, 1, 2]", "[0, 1, 2]\nunlearn_seeds = [0, 1]")
    _, frame = drawn(name, tmp_path, again)
    cold = frame["line"].str.startswith("cold training")
    assert (frame["n"] == 3).all() and (cold | frame["line"].str.contains("unlearn_seed=")).all()
    plain = toy_runs.CERTIFIED.replace("\ntol =", '\nproof = ["lanczos", "cholesky"]\ntol =')
    _, frame = drawn(name, tmp_path, plain)
    assert (frame["n"] == 3).all() and frame["line"].str.contains("proof=").all()


def test_the_smallest_length_of_lists_is_shown_whatever_the_order_of_the_table(tmp_path):
    path = collected(tmp_path, "ks = [5, 10]\n" + ONE)
    tables = _tables.read(tmp_path / "toy")
    first = tables.metrics.sort_values("k", ascending=False)
    assert _tables.first_k(tables._replace(metrics=first), "ndcg") == 5
    with pytest.raises(Refused, match=r"ks = \[\]"):
        _tables.first_k(tables._replace(metrics=first[first["metric"] != "ndcg"]), "ndcg")
    assert run("collect", path) == 0


def untimed(cell, row):
    """What a cell of a batch has."""
    return row | {"timings": dict.fromkeys(row["timings"])}


@pytest.mark.parametrize("name", ["method_times", "tolerance_times", "break_even"])
def test_without_seconds_a_figure_of_seconds_says_so(tmp_path, name):
    text = toy_runs.TOML.replace('"tolerance_times"', f'"{name}", "recovery"')

    def change(cell, row):
        row["info"]["unlearn"].pop("sweeps")
        return untimed(cell, row)

    path = collected(tmp_path, text, change)
    assert run("figures", path) == 0  # the others are drawn
    assert "no cell has such numbers" in (tmp_path / "toy" / f"{name}.note").read_text()
    assert (tmp_path / "toy" / "recovery.svg").is_file()


@pytest.mark.parametrize(
    ("name", "text"), [("deletion_kinds", toy_runs.KINDS), ("empty_request", toy_runs.EMPTY)]
)
def test_without_an_accuracy_a_figure_shows_the_rest_or_says_so(tmp_path, name, text):
    def change(cell, row):
        kept = [line for line in row["metrics"] if line[2] not in ("ndcg", "auc")]
        return row | {"metrics": kept}

    if name == "empty_request":
        with pytest.raises(Refused, match="no accuracy"):
            drawn(name, tmp_path, text, change)
        return
    _, frame = drawn(name, tmp_path, text, change)
    assert len(set(frame["quantity"])) == 2 and frame["mean"].notna().all()


def test_a_certificate_says_whether_a_tolerance_was_reached(tmp_path):
    def change(cell, row):
        if "certified" in row["info"]["unlearn"]:
            row["info"]["unlearn"] |= {"residual": 1e-6, "certified": False}
        else:
            row["info"]["unlearn"].pop("residual")
        return row

    _, frame = drawn("tolerance_times", tmp_path, toy_runs.CERTIFIED, change)
    assert (frame["reached"] == 0).all() and len(frame)
    ladder = toy_runs.TOML.partition("[methods.unlearn_als]")[0] + (
        '[methods.ladder]\nuse = "unlearn_als"\ntol = [1e-1, 1e-3]\n'
    )
    _, frame = drawn("tolerance_times", tmp_path, ladder, change)
    assert frame["reached"].isna().all() and frame["mean"].notna().all()


def test_a_line_of_a_log_needs_no_test_part(tmp_path):
    (cell, *_) = grid.cells(reading.read(toy_runs.write(tmp_path)))
    row = toy_runs.made_up(cell)
    row["timings"] |= {"unlearn_compile_seconds": None}
    row["metrics"] = [
        [stage, "valid" if part == "test" else part, name, k, value]
        for stage, part, name, k, value in row["metrics"]
    ]
    words = progress.summary(row)
    assert words.startswith("distance") and "ndcg" not in words


def test_a_table_of_words_has_the_same_bytes_after_a_row_was_replaced(tmp_path):
    from experiments.lab import tables

    columns, path = ["method", "seed", "value", "note"], tmp_path / "t.csv"
    lines = [["a", 0, 0.25, None], ["b", 0, 0.5, "x, y"], ["a", 1, None, None]]
    path.write_bytes(tables.csv(columns, lines))
    was, row = path.read_bytes(), {"method": "b", "seed": 0, "value": 0.75, "note": "x, y"}
    tables.add(path, columns, ("method", "seed"), [row])
    assert path.read_bytes() == was.replace(b"0.5", b"0.75")
    assert pd.read_csv(path)["method"].tolist() == ["a", "b", "a"]
