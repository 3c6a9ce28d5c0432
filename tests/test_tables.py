"""Tables that commands read: a damaged one ends in one line, whichever it is and whoever reads."""

import multiprocessing

import pandas as pd
import pytest
import toy_runs
from toy_runs import beside as run
from toy_runs import refused

from experiments import figures, files, plugins
from experiments.bench import _rows
from experiments.commands import audit, evidence, reconstruct, sequence
from experiments.errors import Refused
from experiments.lab import tables

DAMAGES = {
    "empty": lambda text: b"",
    "cut in its head": lambda text: text[:40],
    "cut in its last line": lambda text: text[:-3],
    "ragged": lambda text: text + b",".join([b"1"] * 99) + b"\n",
    "no text": lambda text: b"\xff\xfe\x00" + text,
    "another table": lambda text: b"a,b\n1,2\n",
}
ONE = toy_runs.TOML.replace('"pass_curves", "ratio_curves", "tolerance_times"', '"recovery"')


def filled(path, columns, **values):
    """A table of one row, of numbers but for what is given."""
    row = dict.fromkeys(columns, 0.5) | values
    path.write_bytes(tables.csv(list(columns), [list(row.values())]))
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path):
    path = toy_runs.write(tmp_path, ONE)
    toy_runs.fill(path, tmp_path)
    assert run("collect", path) == 0
    return path, tmp_path / "toy"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_of_another_command_is_refused_in_one_line(folder, capsys, damage):
    path, results = folder
    assert run("figures", path) == run("report", path) == 0
    for name, columns, readers in (
        ("audit", audit.COLUMNS, [["report"]]),
        ("verdict", evidence.VERDICT, [["report"], ["figures", "verdicts"], ["figures", "pareto"]]),
        ("reconstruction", reconstruct.COLUMNS, [["figures", "releases"]]),
    ):
        table = results / f"{name}.csv"
        table.write_bytes(DAMAGES[damage](filled(table, columns, method="retrain")))
        for command, *figure in readers:
            words = [f"--only={figure[0]}"] if figure else []
            assert f"{name}.csv" in refused(capsys, command, path, *words)
        table.unlink()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_not_added_to(folder, capsys, damage):
    _, results = folder
    for name, columns in (("audit", audit.COLUMNS), ("sequence", sequence.COLUMNS)):
        table = results / f"{name}.csv"
        bad = DAMAGES[damage](filled(table, columns))
        table.write_bytes(bad)
        with pytest.raises(Refused, match=f"{name}.csv.*move it away"):
            tables.there(table, list(columns))
        assert table.read_bytes() == bad


@pytest.mark.parametrize("name", ["cells", "metrics", "timings"])
def test_a_damaged_table_of_cells_is_refused_in_one_line(folder, capsys, name):
    path, results = folder
    table = results / f"{name}.csv"
    was = table.read_bytes()
    for change in DAMAGES.values():
        table.write_bytes(change(was))
        assert "collect makes it" in refused(capsys, "figures", path)
    table.write_bytes(was + was.partition(b"\n")[2])
    assert "twice" in refused(capsys, "figures", path)
    column = {"cells": "ratio", "metrics": "value", "timings": "unlearn_seconds"}[name]
    table.write_bytes(was)
    frame = pd.read_csv(table, dtype=str)
    frame.loc[1, column] = "abc"
    frame.to_csv(table, index=False)
    assert f"not all of the column '{column}' are numbers" in refused(capsys, "figures", path)


def test_verdicts_without_a_row_are_no_figure_and_stop_no_page(folder):
    path, results = folder
    (results / "verdict.csv").write_bytes(tables.csv(list(evidence.VERDICT), []))
    assert run("figures", path) == run("report", path) == 0
    for name in ("verdicts", "pareto"):
        with pytest.raises(Refused):
            figures.load(name)(results)


def test_every_figure_of_a_folder_names_its_tables():
    ours = [name for name in plugins.names(plugins.FIGURES) if figures.of_folder(name)]
    assert len(ours) >= 3 and all(figures.sides(name) for name in ours)


COLUMNS = ["who", "n", "value"]


def adding(path, who):
    for n in range(20):
        tables.add(path, COLUMNS, ("who", "n"), [{"who": who, "n": n, "value": n / 3}])


def test_processes_that_add_to_one_table_lose_no_row(tmp_path):
    path = tmp_path / "new" / "t.csv"
    context = multiprocessing.get_context("spawn")
    some = [context.Process(target=adding, args=(path, who)) for who in ("a", "b", "c")]
    for process in some:
        process.start()
    for process in some:
        process.join()
    rows = pd.read_csv(path)
    assert len(rows) == 60 and (rows.groupby("who").size() == 20).all()
    assert [p.name for p in path.parent.iterdir() if p.name != ".lock"] == ["t.csv"]


def test_what_another_run_added_meanwhile_stays(folder, monkeypatch):
    """The first row of every command is made while another process adds one of its own."""
    _, results = folder
    table = results / "audit.csv"

    def row(lab, cell, shared):
        other = {"data": "d", "model": "m", "method": cell.id, "verdict": "kept: exact"}
        tables.add(table, audit.COLUMNS, audit.KEY, [other])
        return {name: cell.axes[name] for name in audit.KEY} | {"verdict": "kept: exact"}

    monkeypatch.setattr(audit, "row", row)
    assert run("audit", toy_runs.small(results.parent, ONE), "--only=method=retrain") == 0
    assert pd.read_csv(table)["model"].tolist() == ["m", "ials"]


def test_rows_of_a_benchmark_stand_whichever_run_made_them(tmp_path):
    path, told = tmp_path / "b.csv", []

    def compute():
        told.append(1)
        return {"value": 0.1 + 0.2}

    one, two = (_rows.Rows(str(path), ["name", "dim"], ["value"]) for _ in range(2))
    for rows in (one, two, one):
        found = [rows.get({"name": name, "dim": 3.0}, compute)["value"] for name in ("x", "y")]
        assert found == pytest.approx([0.3, 0.3])
    assert len(told) == 2 and len(pd.read_csv(path)) == 2


def test_rows_of_one_key_replace_all_that_were_there_in_their_place(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"who,n,value\na,1,nan\nb,1,0.50\nb,2,1\nc,1,\n")
    tables.add(path, COLUMNS, ("who",), [{"who": "b", "n": 3, "value": None}])
    assert path.read_bytes() == b"who,n,value\na,1,nan\nb,3,\nc,1,\n"


def test_a_folder_that_another_holds_is_waited_for_or_refused_and_is_free_again(tmp_path):
    pytest.importorskip("fcntl")
    with files.locked(tmp_path):
        with pytest.raises(BlockingIOError), files.locked(tmp_path, wait=False):
            pass
    with files.locked(tmp_path, wait=False):
        pass
