"""Cells come back from the tables that were collected of them, and a run goes on from there."""

import shutil
from pathlib import Path

import pytest
import toy_runs

from experiments import cli
from experiments.config import grid, reading
from experiments.lab import restoring, store, tables

COMMITTED = [
    path.parent
    for path in sorted((toy_runs.ROOT / "results").glob("*/cells.csv"))
    if "further" in path.read_text().partition("\n")[0].split(",")  # of this form of the tables
]


@pytest.fixture
def collected(tmp_path):
    """A config, and its folder of results with tables and without cells."""
    path = toy_runs.write(tmp_path)

    def ours(cell, row):
        facts = row["provenance"] | {"jaxforget": store.version(), "dirty": False, "host": "1e5"}
        info = row["info"] | {"fit": {"score": 0.1 + 0.2, "large": 1e300, "text": 'a "b", c'}}
        return row | {"provenance": facts, "info": info}

    toy_runs.fill(path, tmp_path, ours)
    cli.main(["collect", path, "--results", str(tmp_path)])
    shutil.rmtree(tmp_path / "toy" / "cells")
    return path, tmp_path / "toy"


def read(folder):
    return {
        name: (folder / name).read_bytes() for name in ("cells.csv", "metrics.csv", "timings.csv")
    }


def lines(path, change):
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def test_collecting_what_was_restored_gives_the_same_bytes(collected, capsys):
    path, folder = collected
    before = read(folder)
    assert cli.main(["restore", path, "--results", str(folder.parent)]) == 0
    n = len(grid.cells(reading.read(path)))
    assert f"{n} of {n} cells restored, 0 were there" in capsys.readouterr().out
    assert cli.main(["collect", path, "--results", str(folder.parent)]) == 0
    assert read(folder) == before


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_committed_tables_come_back_byte_for_byte(folder):
    cells = grid.cells(reading.read(str(toy_runs.ROOT / "configs" / f"{folder.name}.toml")))
    rows = restoring.rows(folder, cells)
    assert rows and tables.tables(cells, rows) == read(folder)


def test_a_run_computes_what_the_tables_lack(collected, capsys):
    path, folder = collected
    lost = (folder / "cells.csv").read_text().splitlines()[1].partition(",")[0]
    for name in read(folder):
        lines(folder / name, lambda rows: [row for row in rows if not row.startswith(lost)])
    assert cli.main(["restore", path, "--results", str(folder.parent)]) == 0
    out = capsys.readouterr().out
    assert "next:" in out and f"run {path}" in out
    assert cli.main(["plan", path, "--results", str(folder.parent)]) == 0
    cells = grid.cells(reading.read(path))
    there = store.everything(folder / "cells")
    assert {cell.id for cell in cells} - there.keys() == {lost}
    # a computed cell knows the whole hash of its data, the restored ones its first digits
    [cell] = [cell for cell in cells if cell.id == lost]
    store.write(folder / "cells", toy_runs.made_up(cell))
    assert len(store.everything(folder / "cells")) == len(cells)


def test_a_cell_that_has_a_file_stays(collected, capsys):
    path, folder = collected
    cell = grid.cells(reading.read(path))[0]
    mine = store.write(folder / "cells", toy_runs.made_up(cell) | {"metrics": []})
    assert cli.main(["restore", path, "--results", str(folder.parent)]) == 0
    assert "1 were there" in capsys.readouterr().out
    assert store.read(folder / "cells", cell.id) == mine


def test_numbers_are_numbers_and_words_that_look_like_them_stay_words(collected):
    path, folder = collected
    rows = restoring.rows(folder, grid.cells(reading.read(path)))
    for row in rows.values():
        assert row["provenance"]["host"] == "1e5" and row["provenance"]["dirty"] is False
        assert row["info"]["fit"] == {"score": 0.3, "large": 1e300, "text": 'a "b", c'}
        assert row["timings"]["fit_seconds"] == 2


def other_version(folder: Path) -> None:
    lines(folder / "timings.csv", lambda rows: [r.replace(store.version(), "0.0.1") for r in rows])


def other_data(folder: Path) -> None:
    def change(rows):
        return [rows[0], rows[1].replace("0" * 16, "1" * 16), *rows[2:]]

    lines(folder / "cells.csv", change)


FAULTS = {
    "no such table": lambda folder: (folder / "timings.csv").unlink(),
    "not of the same cells": lambda folder: lines(folder / "timings.csv", lambda r: r[:-1]),
    "is in no other table": lambda folder: lines(
        folder / "metrics.csv", lambda rows: [*rows, rows[-1].replace(rows[-1][:16], "f" * 16)]
    ),
    "not a table that collect writes": lambda folder: (folder / "cells.csv").write_text("a,b\n1\n"),
    "cells.csv: is not a table": lambda folder: (folder / "cells.csv").write_bytes(b"\xff\xfe\x00"),
    "metrics.csv: is not a table": lambda folder: (folder / "metrics.csv").write_text(
        "x" * 200_000
    ),
    "of jaxforget 0.0.1": other_version,
    "no cell of this config": lambda folder: [
        lines(folder / name, lambda rows: rows[:1]) for name in read(folder)
    ],
    "of different data": other_data,
}


@pytest.mark.parametrize("words", FAULTS)
def test_tables_that_cannot_be_trusted_are_refused_and_nothing_is_written(collected, capsys, words):
    path, folder = collected
    FAULTS[words](folder)
    capsys.readouterr()
    assert cli.main(["restore", path, "--results", str(folder.parent)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and words in err and err.count("\n") == 1
    assert not list(folder.glob("cells/*.json"))
