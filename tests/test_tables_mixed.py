"""Rows of other settings or data are neither added nor shown under the names of a config."""

import numpy as np
import pandas as pd
import pytest
import toy_runs
from toy_runs import beside as run
from toy_runs import refused

from experiments import cli
from experiments.commands import audit, evidence, reconstruct
from experiments.config import grid, owned
from experiments.lab import games, tables
from jaxforget.data import _oracles

REQUEST = '[request]\nkind = "random"\ncount = 3\n'
TEXT = (
    toy_runs.TOML.partition("[request]")[0].partition("figures")[0]
    + f"[data]\n{REQUEST}[models.ials]\ndim = 4\nreg = 5.0\nalpha = 10.0\nmax_sweeps = 3\n"
    + "[methods.retrain]\n[methods.unlearn_als]\nmax_sweeps = 2\n"
)
OTHER = "models.ials.reg=500"


@pytest.fixture
def path(tmp_path):
    return toy_runs.small(tmp_path, TEXT)


def without_models(monkeypatch):
    """The commands with made-up numbers in the place of trained models."""

    def row(lab, cell, shared):
        return {name: grid.named(cell, name) for name in owned.NAMES} | {"verdict": "kept: exact"}

    def found(lab, cells):
        for cell in cells:
            base = {name: grid.named(cell, name) for name in owned.NAMES}
            base |= {name: cell.axes[name] for name in ("kind", "count", "seed")}
            one = dict.fromkeys(reconstruct.FOUND, 0.5) | {"release": "unlearnt"}
            yield cell, [base | one]

    def play(lab, folder, plan, say):
        kinds = [_oracles.RETRAINED, _oracles.UNDELETED, *plan.methods]
        draw = np.random.default_rng(0)
        scores = {kind: draw.normal(size=(32, 9)) for kind in kinds}
        held = np.arange(32)[:, None] % 2 == np.arange(9) % 2
        return games.Played(scores, held, ["abc"])

    monkeypatch.setattr(audit, "row", row)
    monkeypatch.setattr(reconstruct, "_found", found)
    monkeypatch.setattr(games, "play", play)


COMMANDS = {"audit": "audit", "reconstruct": "reconstruction", "games": "games"}
MF = "[models.mf]\ndim = 2\nreg = 5.0\ninit_scale = 0.1\nlr = 0.05\nbatch_size = 64\nn_epochs = 2\n"


def drawing(path):
    """The config with a model whose training draws, and a method that serves it."""
    text = open(path).read()
    start, end = text.index("[models.ials]"), text.index("[methods.retrain]")
    newton = "[methods.newton]\nn_steps = 2\ndamping = 1.0\n"
    text = text[:start] + MF + text[end:].partition("[methods.unlearn_als]")[0] + newton
    open(path, "w").write(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_rows_of_other_settings_or_data_are_not_mixed_with_those_of_a_config(
    path, tmp_path, monkeypatch, capsys, command
):
    without_models(monkeypatch)
    others = [OTHER, "methods.unlearn_als.max_sweeps=9"]
    if command == "games":
        drawing(path)
        others = ["models.mf.reg=500", "methods.newton.damping=2"]
    table = tmp_path / "toy" / f"{COMMANDS[command]}.csv"
    assert run(command, path) == 0
    was = table.read_bytes()
    rows = pd.read_csv(table, dtype=str)
    assert rows["data_hash"].str.fullmatch("[0-9a-f]{16}").all() and len(rows) > 1
    assert run(command, path, "--only=seed=0") == 0 and table.read_bytes() == was
    for other in others:
        said = refused(capsys, command, path, other, "--only=seed=0")
        assert "are of other settings" in said and "move the table away" in said
    data = tmp_path / "small.csv"
    whole = data.read_text()
    lines = whole.splitlines()
    lines[0] = lines[0][:-1] + ("2" if lines[0].endswith("1") else "1")
    data.write_text("\n".join(lines) + "\n")
    assert "was computed on other data" in refused(capsys, command, path, "--only=seed=0")
    data.write_text(whole)
    assert table.read_bytes() == was
    if command != "games":  # rows that are called otherwise stay
        assert run(command, path, "models.ials.reg=[5.0,7.0]") == 0
        models = set(pd.read_csv(table)["model"])
        assert models == {"ials", "ials reg=5.0", "ials reg=7.0"}
    old = pd.read_csv(table, dtype=str).drop(columns="data_hash")  # an earlier version's
    old.to_csv(table, index=False)
    assert "has other columns: move it away" in refused(capsys, command, path)


def test_another_number_of_pairs_is_another_bank_of_the_same_settings(path, tmp_path, monkeypatch):
    without_models(monkeypatch)
    drawing(path)
    assert run("games", path) == run("games", path, "--pairs=2") == 0
    rows = pd.read_csv(tmp_path / "toy" / "games.csv")
    assert rows["bank"].nunique() == 2 * 3 and rows["settings"].nunique() == 3 * 3


def test_an_audit_has_a_line_for_every_setting_of_a_model(path, tmp_path):
    words = ["models.ials.reg=[5.0,50.0]", "--only=method=retrain,seed=0"]
    assert run("audit", path, *words) == 0
    rows = pd.read_csv(tmp_path / "toy" / "audit.csv", dtype={"cell": str})
    assert rows["model"].tolist() == ["ials reg=5.0", "ials reg=50.0"]
    assert rows["cell"].is_unique and (rows["verdict"] == "kept: exact, bit for bit").all()


def test_the_kinds_of_a_bank_are_called_as_the_library_calls_them():
    assert owned.KINDS == (_oracles.RETRAINED, _oracles.UNDELETED)


def beside(path, tmp_path):
    """The tables of cells with an audit and verdicts of the same config beside them."""
    cells = toy_runs.fill(path, tmp_path)
    assert run("collect", path) == 0
    names = {cell.id: [grid.named(cell, name) for name in owned.NAMES] for cell in cells}
    lines = [
        dict(zip(owned.NAMES, names[cell.id])) | {"cell": cell.id, "verdict": f"said of {cell.id}"}
        for cell in cells[:2]
    ]
    lines = [line | {"data_hash": "0" * 16} for line in lines]
    content = tables.csv(audit.COLUMNS, [[x.get(n) for n in audit.COLUMNS] for x in lines])
    (tmp_path / "toy" / "audit.csv").write_bytes(content)
    lines = []
    for kind, method in (("undeleted", None), ("retrain", cells[0].spec["method"])):
        assert grid.named(cells[0], "method") == "retrain"
        line = dict.fromkeys(evidence.VERDICT, 0.5) | {name: cells[0].axes[name] for name in AXES}
        line |= {"method": kind, "settings": owned.settings(cells[0].spec, method)}
        lines.append(line | {"verdict": f"said of {kind}", "n_models": 100})
    content = tables.csv(evidence.VERDICT, [[x[n] for n in evidence.VERDICT] for x in lines])
    (tmp_path / "toy" / "verdict.csv").write_bytes(content)
    return cells


AXES = ("data", "model", "kind", "ratio", "count")


def test_a_report_and_figures_refuse_audits_and_verdicts_of_another_config(path, tmp_path, capsys):
    cells = beside(path, tmp_path)
    assert run("report", path) == 0
    page = (tmp_path / "toy" / "report.html").read_text()
    assert f"said of {cells[0].id}" in page and "said of retrain" in page
    figures = [["figures", path, f"--only={name}"] for name in ("pareto", "verdicts")]
    assert [cli.main([*words, f"--results={tmp_path}"]) for words in figures] == [0, 0]
    text = open(path).read()
    open(path, "w").write(text.replace("reg = 5.0", "reg = 50.0"))
    for command, *more in figures:
        assert "are of other settings" in refused(capsys, command, *more)
    toy_runs.fill(path, tmp_path)
    assert run("collect", path) == 0
    for command, *more in (["report", path], *figures):
        assert "2 of 2 rows are of other settings" in refused(capsys, command, *more)
    (tmp_path / "toy" / "audit.csv").unlink()
    assert "verdict.csv: 2 of 2 rows" in refused(capsys, "report", path)
    (tmp_path / "toy" / "verdict.csv").unlink()
    assert run("report", path) == 0


def test_seconds_of_cells_of_other_settings_do_not_stand_beside_verdicts(path, tmp_path, capsys):
    beside(path, tmp_path)
    other = open(path).read().replace("reg = 5.0", "reg = 50.0")
    toy_runs.fill(toy_runs.write(tmp_path, other), tmp_path)
    assert run("collect", path) == 0
    toy_runs.write(tmp_path, other.replace("reg = 50.0", "reg = 5.0"))
    assert "cells in its tables are of other settings" in refused(
        capsys, "figures", path, "--only=pareto"
    )


def test_an_audit_of_other_data_than_the_cells_is_refused(path, tmp_path, capsys):
    beside(path, tmp_path)
    table = tmp_path / "toy" / "audit.csv"
    table.write_bytes(table.read_bytes().replace(b"0" * 16, b"1" * 16))
    assert "is of other data than the cells" in refused(capsys, "report", path)


def test_a_table_of_an_earlier_version_is_shown_unless_its_names_are_of_other_settings(
    path, tmp_path, capsys
):
    beside(path, tmp_path)
    table = tmp_path / "toy" / "audit.csv"
    old = pd.read_csv(table).drop(columns=["cell", "data_hash"])
    old.to_csv(table, index=False)
    assert run("report", path) == 0
    for model, code in (("another reg=7", 0), ("ials reg=7", 2)):
        old.assign(model=model).to_csv(table, index=False)
        assert run("report", path) == code
    assert "2 of 2 rows are of other settings" in capsys.readouterr().err
