"""Cells that are computed together have the numbers of cells that are computed alone."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toy_runs

from experiments import cli
from experiments.lab import batches, clock, memory
from jaxforget import _plugins

GRID = toy_runs.TOML.replace('figures = ["pass_curves", "ratio_curves", "tolerance_times"]', "")
SMALL = GRID.partition("[methods.ladder]")[0]


def run(path, results, *words):
    """Runs a config in this process; returns its rows by cell and the exit code."""
    code = cli.main(
        ["run", path, "ks=5", "split.seed=0", "--results", str(results), "--quiet", *words]
    )
    rows = (json.loads(file.read_text()) for file in sorted(results.glob("*/cells/*.json")))
    return {row["id"]: row for row in rows}, code


def numbers(row):
    """All that was measured, without what the machine or the moment decide."""
    return row["metrics"], row["info"], row["status"], row["reason"], row["data_hash"]


def assert_close(got, want, *, tol):
    """The same numbers up to the rounding of float32, in which a batch adds up otherwise."""
    assert got.keys() == want.keys()
    for name, row in want.items():
        assert [m[:4] for m in got[name]["metrics"]] == [m[:4] for m in row["metrics"]]
        values = [[m[4] for m in x["metrics"]] for x in (got[name], row)]
        values = [np.array(x, float) for x in values]
        np.testing.assert_allclose(*values, rtol=tol, atol=tol)


@pytest.fixture
def alone(tmp_path):
    """A config on small data, and its rows computed one by one."""
    path = toy_runs.small(tmp_path, SMALL)
    rows, code = run(path, tmp_path / "off", "--batch", "off")
    assert code == 0 and len(rows) == 12
    return path, rows


def test_on_a_cpu_a_batch_has_the_very_numbers_of_single_cells_and_seconds_of_its_own(
    alone, tmp_path, monkeypatch
):
    """A program is compiled once for the groups of 5, 5 and 2 cells."""
    compiled, compile_now = [], clock._compile
    monkeypatch.setattr(
        clock, "_compile", lambda f, args: compiled.append(f) or compile_now(f, args)
    )
    monkeypatch.setattr(clock, "_programs", clock.Recent(64))
    path, want = alone
    got, code = run(path, tmp_path / "on", "--batch", "5", "--devices", "1")
    assert code == 0
    assert {name: numbers(row) for name, row in got.items()} == {
        name: numbers(row) for name, row in want.items()
    }
    # fits and references are one program, the unlearnings of a method another; what a model and
    # what each of the two methods serve; the measures; the losses
    assert len(compiled) == len(set(compiled)) == 1 + 2 + 3 + 1 + 1
    for row in got.values():
        times = row["timings"]
        assert times["batch"] in (5, 2) and times["batch_seconds"] > 0
        assert times["fit_seconds"] is times["unlearn_seconds"] is times["peak_memory_mb"] is None
    assert all("batch" not in row["timings"] for row in want.values())
    assert all(row["timings"]["unlearn_seconds"] > 0 for row in want.values())


@pytest.mark.slow
def test_side_by_side_as_on_an_accelerator_they_are_equal_up_to_rounding(
    alone, tmp_path, monkeypatch
):
    """Where memory is short a program is compiled again for fewer cells at a time."""
    path, want = alone
    monkeypatch.setattr(batches.Batches, "_wanted", lambda self, count: min(count, 8))
    needed, widths = [], {}
    of_program = memory.of_program

    def short(program):
        needed.append(of_program(program))
        return needed[-1]

    monkeypatch.setattr(memory, "of_program", short)
    monkeypatch.setattr(memory, "free_memory", lambda device: 150_000)
    keep = batches.Batches.__init__

    def init(self, *args, **more):
        keep(self, *args, **more)
        widths["of"] = self._widths

    monkeypatch.setattr(batches.Batches, "__init__", init)
    got, code = run(path, tmp_path / "on", "--batch", "12", "--devices", "1")
    assert code == 0
    assert_close(got, want, tol=1e-4)
    assert min(widths["of"].values()) < 8 and max(needed) > 150_000


def test_seeds_with_a_split_of_their_own_are_one_program_too(tmp_path, monkeypatch):
    """The splits are laid out alike; each cell has the numbers that it has alone."""
    compiled, compile_now = [], clock._compile
    monkeypatch.setattr(
        clock, "_compile", lambda f, args: compiled.append(f) or compile_now(f, args)
    )
    monkeypatch.setattr(clock, "_programs", clock.Recent(64))
    path = toy_runs.small(tmp_path, SMALL)
    words = ["run", path, "ks=5", "--quiet", "--only", "method=retrain", "--only", "ratio=0.1"]
    found = {}
    for name, how in (("off", ["--batch", "off"]), ("on", ["--batch", "3", "--devices", "1"])):
        compiled.clear()
        assert cli.main([*words, "--results", str(tmp_path / name), *how]) == 0
        rows = (json.loads(f.read_text()) for f in (tmp_path / name).glob("*/cells/*.json"))
        found[name] = {row["id"]: row for row in rows}
    assert len({row["data_hash"] for row in found["on"].values()}) == 3
    assert_close(found["on"], found["off"], tol=1e-4)
    assert len(compiled) == len(set(compiled)) == 1 + 1 + 2 + 1 + 1
    assert {row["timings"]["batch"] for row in found["on"].values()} == {3}


def test_what_fails_together_is_computed_one_by_one(alone, tmp_path, monkeypatch, capsys):
    path, want = alone

    def fail(self, jobs):
        raise MemoryError("no room\nfor a batch")

    monkeypatch.setattr(batches.Batches, "run", fail)
    got, code = run(path, tmp_path / "on", "--batch", "12", "--devices", "1")
    assert code == 0 and "12 cells together: MemoryError: no room; computed one by one" in (
        capsys.readouterr().err
    )
    assert {name: numbers(row) for name, row in got.items()} == {
        name: numbers(row) for name, row in want.items()
    }


def test_a_cell_that_is_skipped_or_fails_leaves_the_others_of_its_batch_alone(tmp_path):
    """ifru does not serve a model without a gradient loss; an attack may not fit its data."""
    text = SMALL.replace(
        "[methods.retrain]",
        "[methods.retrain]\n[methods.scif]\ndamping = 1.0",
    )
    path = toy_runs.small(tmp_path, text)
    words = ["seeds=0", "request.ratio=0.1"]
    want, _ = run(path, tmp_path / "off", "--batch", "off", *words)
    got, _ = run(path, tmp_path / "on", "--batch", "9", "--devices", "1", *words)
    assert {row["status"] for row in got.values()} > {"ok"}
    assert {name: numbers(row) for name, row in got.items()} == {
        name: numbers(row) for name, row in want.items()
    }


@pytest.mark.slow
def test_two_devices_of_a_host_share_a_batch(alone, tmp_path):
    """In a process of its own: JAX decides once how many devices a CPU shows itself as."""
    path, want = alone
    words = [*"ks=5 split.seed=0 --batch 12 --devices 2 --results".split(), tmp_path / "two"]
    done = toy_runs.command("run", path, *words)
    assert done.returncode == 0, done.stderr
    assert "one by one" not in done.stderr and "batch of 12" in done.stdout
    rows = [json.loads(f.read_text()) for f in (tmp_path / "two").glob("*/cells/*.json")]
    assert_close({row["id"]: row for row in rows}, want, tol=1e-5)
    assert {row["provenance"]["device_count"] for row in rows} == {2}


@pytest.mark.parametrize(
    "words, why",
    [
        (["--batch", "0"], "expected auto, off or how many"),
        (["--batch", "many"], "expected auto, off or how many"),
        (["--devices", "0"], "expected at least 1"),
        (["--batch", "off", "--devices", "2"], "without batches one device computes"),
        (["--batch", "4", "repeats=3"], "repeats = 3 times single cells"),
        (["--batch", "4", 'figures=["tolerance_times"]'], "tolerance_times draws the seconds"),
    ],
)
def test_what_cannot_be_batched_is_refused_before_anything_is_computed(
    tmp_path, capsys, words, why
):
    path = toy_runs.small(tmp_path, SMALL)
    assert run(path, tmp_path, *words) == ({}, 2)
    err = capsys.readouterr().err
    assert why in err and err.count("\n") == 1


def test_more_devices_than_there_are_are_refused(tmp_path, capsys):
    path = toy_runs.small(tmp_path, SMALL)
    assert run(path, tmp_path, "--devices", "99") == ({}, 2)
    assert "--devices 99: this process sees" in capsys.readouterr().err


@pytest.mark.slow
def test_every_method_on_every_model_has_the_numbers_of_single_cells(tmp_path, monkeypatch):
    """One at a time as on a CPU they are the same bits, side by side they are near."""
    doors = {kind: _plugins.names(_plugins.DOORS[kind]) for kind in ("models", "methods")}
    tables = "".join(
        f"[{kind}.{name}]\n"
        + "".join(
            f"{k} = {v}\n"
            for k, v in getattr(
                importlib.import_module(f"jaxforget.{kind}.{name}"), "TOY", {}
            ).items()
        )
        for kind, names in doors.items()
        for name in names
        if name != "certified_als"  # in 64 bits only
    )
    more = "[models.stopped]\nuse = 'mf'\npatience = 2\n" + "".join(
        f"{k} = {v}\n" for k, v in importlib.import_module("jaxforget.models.mf").TOY.items()
    )
    text = SMALL.partition("[models.ials]")[0] + tables + more + "[methods.damped]\nuse = 'ifru'\n"
    path = toy_runs.small(tmp_path, text)
    steps = 'steps = [{use = "binarise", threshold = 3.0, negatives = "keep"}]\n[request]'
    Path(path).write_text(Path(path).read_text().replace("[request]", steps))
    words = ["request.ratio=0.1", "seeds=0,1"]
    monkeypatch.setattr(clock, "KEPT_BY_JAX", 32)  # as for users: one test compiles too many here
    want, _ = run(path, tmp_path / "off", "--batch", "off", *words)
    assert {row["status"] for row in want.values()} == {"ok", "skipped"}
    got, _ = run(path, tmp_path / "one", "--batch", "64", "--devices", "1", *words)
    assert {name: numbers(row) for name, row in got.items()} == {
        name: numbers(row) for name, row in want.items()
    }
    monkeypatch.setattr(batches.Batches, "_wanted", lambda self, count: min(count, 8))
    got, _ = run(path, tmp_path / "wide", "--batch", "64", "--devices", "1", *words)
    steady = {name: row for name, row in want.items() if not of_rounding(row)}
    assert 0 < len(want) - len(steady) <= 4 and got.keys() == want.keys()
    assert_close({name: got[name] for name in steady}, steady, tol=1e-2)
    for width in (1, 2):
        got = over_four_devices(path, tmp_path / f"four_{width}", width, *words)
        assert got.keys() == want.keys()
        assert_close({name: got[name] for name in steady}, steady, tol=1e-2)


def of_rounding(row):
    """Whether a cell is as much of rounding as of the data.

    A model in closed form is at its optimum, where the gradient is what rounding leaves; Adam steps
    along the signs of that.
    """
    return (row["spec"]["model"]["use"], row["spec"]["method"]["use"]) == ("ease", "finetune")


def over_four_devices(path, results, width, *words):
    """Rows by cell; no device waited for another, and no batch was given up."""
    script = Path(__file__).parent / "batch_runs.py"
    command = [script, path, results, width, "ks=5", "split.seed=0", *words]
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        check=True,
        cwd=toy_runs.ROOT,
        env=toy_runs.ENVIRONMENT,
    )
    found = json.loads(done.stdout)
    assert found["code"] == 0 and "one by one" not in done.stderr, done.stderr
    assert found["collectives"] and not any(found["collectives"])
    rows = [json.loads(f.read_text()) for f in results.glob("*/cells/*.json")]
    return {row["id"]: row for row in rows}
