"""Results are files that are whole or not there; tables have one spelling."""

import json
import multiprocessing
import os
import signal
import time

import pandas as pd
import pytest
import toy_runs

from experiments import files
from experiments.config import grid, reading
from experiments.errors import Refused
from experiments.lab import store, tables


@pytest.fixture
def cells(tmp_path):
    return grid.cells(reading.read(toy_runs.write(tmp_path)))


def write_forever(folder, row):
    while True:
        store.write(folder, row)


def test_a_kill_while_writing_leaves_whole_files_only(tmp_path, cells):
    row = toy_runs.made_up(cells[0]) | {"reason": "x" * 200_000}
    for wait in (0.01, 0.03):
        writer = multiprocessing.get_context("spawn").Process(
            target=write_forever, args=(tmp_path / str(wait), row)
        )
        writer.start()
        while not list((tmp_path / str(wait)).glob("*.json")):  # it has begun
            assert writer.is_alive()
            time.sleep(0.01)
        time.sleep(wait)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        for path in (tmp_path / str(wait)).glob("*.json"):
            assert json.loads(path.read_text())["id"] == cells[0].id


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "target").mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(OSError):
        files.write_atomically(tmp_path / "target", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_number_that_is_not_finite_makes_the_cell_diverged_and_no_number_is_kept(tmp_path, cells):
    row = toy_runs.made_up(cells[0])
    row["metrics"] = [
        [*found[:-1], float("nan") if found[:3] == ["after", "test", "auc"] else found[-1]]
        for found in row["metrics"]
    ]
    row["info"]["unlearn"]["residual"] = float("inf")
    store.write(tmp_path, row)
    text = (tmp_path / f"{row['id']}.json").read_text()
    got = json.loads(text)
    assert "NaN" not in text and "Infinity" not in text
    assert got["status"] == "diverged"
    assert "after test auc" in got["reason"] and "unlearn residual" in got["reason"]
    assert got["metrics"] == [] and got["info"] == {} and got["timings"]


def test_a_metric_that_is_not_defined_for_any_model_is_no_divergence(tmp_path, cells):
    row = toy_runs.made_up(cells[0])
    row["metrics"] = [
        [*found[:-1], float("nan") if found[2] == "auc" else found[-1]] for found in row["metrics"]
    ]
    store.write(tmp_path, row)
    got = store.read(tmp_path, row["id"])
    assert got["status"] == "ok"
    assert {found[-1] for found in got["metrics"] if found[2] == "auc"} == {None}


def test_tables_do_not_depend_on_the_order_in_which_cells_came(cells):
    rows = {cell.id: toy_runs.made_up(cell) for cell in cells}
    forward = tables.tables(cells, rows)
    backward = tables.tables(cells[::-1], dict(reversed(rows.items())))
    assert forward == backward


def test_tables_say_every_axis_and_keep_clock_and_machine_apart(tmp_path, cells):
    rows = {cell.id: toy_runs.made_up(cell) for cell in cells}
    other = {
        name: row | {"timings": {"unlearn_seconds": 9.0}, "provenance": {"git_sha": "zzz"}}
        for name, row in rows.items()
    }
    here, there = tables.tables(cells, rows), tables.tables(cells, other)
    assert here["cells.csv"] == there["cells.csv"]
    assert here["metrics.csv"] == there["metrics.csv"]
    assert here["timings.csv"] != there["timings.csv"]
    (tmp_path / "cells.csv").write_bytes(here["cells.csv"])
    frame = pd.read_csv(tmp_path / "cells.csv")
    assert list(frame.columns[:10]) == [
        "cell",
        *tables.AXES,
        "method.max_sweeps",
        "method.tol",
    ]
    assert len(frame) == len(cells)
    assert sorted(frame["method.tol"].dropna().unique()) == [1e-3, 1e-2, 1e-1]


def test_numbers_keep_a_float32_and_words_keep_their_commas(tmp_path):
    text = tables.csv(["a", "b"], [[0.1, 'x, "y"\nz'], [1 / 3, None], [16777217, True]])
    assert text == b'a,b\n0.1,"x, ""y"" z"\n0.333333333,\n16777217,True\n'


def test_collect_leaves_cells_of_other_configs_out(tmp_path, cells):
    rows = {cell.id: toy_runs.made_up(cell) for cell in cells[:-1]}
    table = tables.tables(cells, rows)["cells.csv"].decode()
    assert cells[-1].id not in table
    assert len(table.splitlines()) == len(cells)


def test_a_stored_cell_that_is_not_json_is_refused_by_name(tmp_path):
    (tmp_path / "abc.json").write_text("{")
    with pytest.raises(Refused, match=r"abc\.json"):
        store.read(tmp_path, "abc")
