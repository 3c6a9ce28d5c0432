"""Tables that are cut, doubled or of several collections are refused by whatever reads them."""

import shutil

import pytest
import toy_runs

from experiments import cli, files
from experiments.lab import store

ONE = toy_runs.TOML.replace('"pass_curves", "ratio_curves", "tolerance_times"', '"pass_curves"')
TABLES = ("cells.csv", "metrics.csv", "timings.csv")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A config, and its folder of results with cells and tables."""
    folder = tmp_path_factory.mktemp("whole")
    path = toy_runs.write(folder, ONE)

    def ours(cell, row):
        facts = row["provenance"] | {"jaxforget": store.version(), "dirty": False}
        return row | {"provenance": facts}

    toy_runs.fill(path, folder, ours)
    assert cli.main(["collect", path, "--results", str(folder)]) == 0
    return path, folder / "toy"


def change(name, edit):
    """An edit of the lines of one table."""

    def apply(folder):
        rows = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(edit(rows)))

    return apply


def one_cell_less(rows):
    last = rows[-1].partition(",")[0]
    return [row for row in rows if not row.startswith(last)]


DAMAGES = {
    "cells cut within a line": change("cells.csv", lambda r: [*r[:-1], r[-1][:-9]]),
    "metrics cut within a line": change("metrics.csv", lambda r: [*r[:-1], r[-1][:-3]]),
    "timings cut within a line": change("timings.csv", lambda r: [*r[:-1], r[-1][:-7]]),
    "metrics without the last line": change("metrics.csv", lambda r: r[:-1]),
    "metrics without the last stage": change("metrics.csv", lambda r: r[:-9]),
    "metrics without a cell": change("metrics.csv", one_cell_less),
    "half of the metrics": change("metrics.csv", lambda r: r[: len(r) // 2]),
    "no metrics": change("metrics.csv", lambda r: r[:1]),
    "cells without a cell": change("cells.csv", lambda r: r[:-1]),
    "timings without a cell": change("timings.csv", lambda r: r[:-1]),
    "cells twice": change("cells.csv", lambda r: [*r, *r[1:]]),
    "metrics twice": change("metrics.csv", lambda r: [*r, *r[1:]]),
    "one metric twice": change("metrics.csv", lambda r: [*r, r[5]]),
    "timings twice": change("timings.csv", lambda r: [*r, *r[1:]]),
}


def refused(capsys, folder, path):
    """The line with which every reader of the folder ends."""
    lines = []
    for command in ("figures", "report", "restore"):
        capsys.readouterr()
        assert cli.main([command, path, "--results", str(folder.parent)]) == 2, command
        lines.append(capsys.readouterr().err)
    assert all(line.startswith("error: ") and line.count("\n") == 1 for line in lines)
    assert not list(folder.glob("*.svg")) and not (folder / "report.html").exists()
    return lines


@pytest.mark.parametrize("words", DAMAGES)
def test_damaged_tables_are_refused_by_every_reader(made, tmp_path, capsys, words):
    path, folder = made
    folder = shutil.copytree(folder, tmp_path / "toy", ignore=lambda *_: ["cells"])
    DAMAGES[words](folder)
    assert all("collect" in line for line in refused(capsys, folder, path))
    assert not (folder / "cells").exists()


def test_a_number_that_is_a_word_is_named(made, tmp_path, capsys):
    path, folder = made
    folder = shutil.copytree(folder, tmp_path / "toy")
    change("metrics.csv", lambda r: [*r[:-1], r[-1].rpartition(",")[0] + ",abc\n"])(folder)
    assert cli.main(["figures", path, "--results", str(tmp_path)]) == 2
    assert "metrics.csv" in capsys.readouterr().err


@pytest.mark.parametrize("n_written", [0, 1, 2])
def test_a_collect_that_was_killed_leaves_no_mixture(
    made, tmp_path, capsys, monkeypatch, n_written
):
    path, folder = made
    folder = shutil.copytree(folder, tmp_path / "toy")
    before = {name: (folder / name).read_bytes() for name in TABLES}
    write, done = files.write_atomically, []

    def until(target, content):
        if len(done) == n_written:
            raise KeyboardInterrupt
        done.append(target)
        write(target, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomically", until)
        with pytest.raises(KeyboardInterrupt):
            from experiments.commands import collect

            collect.main([path, "--results", str(tmp_path)])
    assert len(done) == n_written
    refused(capsys, folder, path)
    assert cli.main(["collect", path, "--results", str(tmp_path)]) == 0
    assert {name: (folder / name).read_bytes() for name in TABLES} == before
