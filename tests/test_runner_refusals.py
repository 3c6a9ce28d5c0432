"""What ends a command early ends it in one line; what does not concern it does not end it."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import toy_runs

from experiments import cli, files
from experiments.figures import _tables
from experiments.lab import setup

TEXT = toy_runs.TOML.partition("[methods.unlearn_als]")[0]


@pytest.fixture(autouse=True)
def precision():
    """A run in this process chooses its own precision; the next test gets back what it had."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


def refused(capsys, *words):
    """Runs a command that must be refused; returns its one line."""
    assert cli.main([str(word) for word in words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


# ---- results that cannot be written


@pytest.fixture
def uncomputed(monkeypatch):
    """Fails where a cell is computed."""
    from experiments.lab import judging

    monkeypatch.setattr(judging.Judging, "row", lambda *_: pytest.fail("a cell was computed"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_disk_is_noticed_before_the_first_cell_is_computed(
    tmp_path, capsys, monkeypatch, uncomputed, number
):
    def full(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", full)
    path = toy_runs.small(tmp_path, TEXT)
    line = refused(capsys, "run", path, "--results", tmp_path / "new" / "results")
    assert os.strerror(number) in line and "results" in line and "--results" in line
    assert not (tmp_path / "new").exists()


def test_results_that_are_a_file_or_no_place_for_files_are_refused(tmp_path, capsys, uncomputed):
    path = toy_runs.small(tmp_path, TEXT)
    (tmp_path / "file").write_text("mine")
    for command in ("run", "plan", "collect", "figures", "report"):
        refused(capsys, command, path, "--results", tmp_path / "file")
    assert "a file" in refused(capsys, "run", path, "--results", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    if Path("/proc/self").exists():  # nobody can make a folder there
        assert "/proc/none" in refused(capsys, "run", path, "--results", "/proc/none")


def test_a_disk_that_is_full_when_tables_are_written_is_one_line(tmp_path, capsys, monkeypatch):
    path = toy_runs.write(tmp_path, TEXT)
    toy_runs.fill(path, tmp_path)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    line = refused(capsys, "collect", path, "--results", tmp_path)
    assert "cells.csv" in line and os.strerror(errno.ENOSPC) in line
    assert [p.name for p in (tmp_path / "toy").iterdir()] == ["cells"]


@pytest.mark.parametrize("content", [b"", b"a,b\n1\n2,3,4\n", b"\xff\xfe", b"cell,status\nx,ok\n"])
def test_a_broken_table_is_refused_by_name(tmp_path, capsys, content):
    path = toy_runs.write(tmp_path, TEXT)
    toy_runs.fill(path, tmp_path)
    assert cli.main(["collect", path, "--results", str(tmp_path)]) == 0
    (tmp_path / "toy/cells.csv").write_bytes(content)
    for command in ("figures", "report"):
        line = refused(capsys, command, path, "--results", tmp_path)
        assert "cells.csv" in line and "collect" in line


def test_committed_tables_stay_readable():
    folders = [path.parent for path in (toy_runs.ROOT / "results").glob("*/cells.csv")]
    for folder in folders:
        tables = _tables.read(folder)
        assert len(_tables.finished(tables)) and len(tables.metrics)
        assert len(_tables.further(tables)) <= len(tables.cells)


# ---- settings of methods


SETTINGS = {
    "methods.unlearn_als.max_sweeps=0": "max_sweeps must be an integer, 1 or more; got 0",
    "methods.unlearn_als.max_sweeps=1,0": "max_sweeps must be an integer, 1 or more; got 0",
    "methods.unlearn_als.tol=-1": "tol must be 0 or more; got -1",
    "methods.sisa.attention_lr=0.1": "attention_lr is not read with",
    "methods.sisa.aggregation=attention": "attention needs attention_lr",
    "methods.newton.damping=-1": "damping must be 0 or more",
}


@pytest.mark.parametrize("words", SETTINGS)
def test_a_setting_that_fits_no_model_is_refused_before_the_first_cell(
    tmp_path, capsys, uncomputed, words
):
    text = TEXT + "[methods.unlearn_als]\n[methods.sisa]\nn_shards = 2\n"
    text += '[methods.newton]\nhessian = "full"\n'
    path = toy_runs.small(tmp_path, text)
    line = refused(capsys, "run", path, words, "--results", tmp_path)
    assert SETTINGS[words] in line and f"method {words.split('.')[1]}: " in line
    assert not list(tmp_path.rglob("*.json"))


# ---- devices


def test_a_device_that_is_not_there_is_one_line(tmp_path):
    if shutil.which("nvidia-smi"):
        pytest.skip("there may be one")
    path = toy_runs.small(tmp_path, TEXT)
    done = toy_runs.command("run", path, "--results", tmp_path, "--device", "gpu", "--quiet")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "--device gpu" in done.stderr and "doctor" in done.stderr


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("no such platform\nmore")])
def test_however_jax_says_it(monkeypatch, error):
    def none():
        raise error

    monkeypatch.setattr(jax, "devices", none)
    with pytest.raises(setup.Refused, match=r"JAX_PLATFORMS: (jax finds none|no such platform;)"):
        setup.configure(None, "float64")


# ---- a reader that leaves


def unread(*words, **more):
    """A command whose output nobody reads, not even its first line."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, "-m", "experiments", *map(str, words)],
            cwd=toy_runs.ROOT,
            env=toy_runs.ENVIRONMENT,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            **more,
        )
    finally:
        os.close(writing)


def test_a_reader_that_leaves_changes_no_exit_code_and_makes_no_noise(tmp_path):
    path = toy_runs.write(tmp_path, TEXT)
    cells = toy_runs.fill(path, tmp_path)
    words = [path, "--results", tmp_path]
    for command in (["--help"], ["plan", *words], ["collect", *words]):
        done = unread(*command)
        assert (done.returncode, done.stderr) == (0, ""), command
    (tmp_path / "toy/cells" / f"{cells[0].id}.json").unlink()
    done = unread("collect", *words)
    assert done.returncode == 1 and done.stderr.startswith("1 cells have no result yet")
    assert toy_runs.within("collect", *words).returncode == 1
    done = unread("collect", path, "--results", tmp_path / "nothing")
    assert done.returncode == 2 and done.stderr.startswith("error: ")


def test_output_that_cannot_be_written_is_said(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no such device here")
    path = toy_runs.write(tmp_path, TEXT)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "experiments", "plan", path],
            cwd=toy_runs.ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == f"error: plan: {os.strerror(errno.ENOSPC)}\n"


def test_a_run_that_nobody_reads_computes_its_cells_and_cleans_up_after_killed_ones(tmp_path):
    path = toy_runs.small(tmp_path, TEXT)
    folder = tmp_path / "toy/cells"
    folder.mkdir(parents=True)
    left = folder / f".x.json.{files._host()}-{2**22 + 1}.tmp"  # no process has so large a number
    left.write_text("half")
    more = ["seeds=0,1", "request.ratio=0.1", "ks=[]", "--results", tmp_path]
    done = unread("run", path, *more, umask=0o027)
    assert (done.returncode, done.stderr) == (0, "")
    found = list(folder.iterdir())
    assert len(found) == 2 and not left.exists()
    assert {file.stat().st_mode & 0o777 for file in found} == {0o640}


def test_the_page_of_help_tells_the_exit_codes(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for words in ("  0  done", "  1  done, but", "diverged", "  2  refused", "130"):
        assert words in out
    for command in ("run", "collect"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert "Exit code: 0 " in " ".join(capsys.readouterr().out.split())


# ---- code that a config names


MODULE = """
from pathlib import Path

Path(__file__).with_suffix(".imported").touch()


def read(root, *, least: int = 1): ...
def build(*model, **settings): ...
def draw(tables): ...
"""


@pytest.mark.parametrize(
    "override",
    [
        "data.use=named_code:read",
        "models.ials.use=named_code:build",
        "methods.m.use=named_code:build",
    ],
)
@pytest.mark.parametrize("command", ["run", "audit"])
def test_code_that_a_config_names_is_not_even_imported_without_leave(
    tmp_path, capsys, monkeypatch, command, override
):
    (tmp_path / "named_code.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    path = toy_runs.write(tmp_path, f"{TEXT}\n[methods.m]\nuse = 'unlearn_als'\n")
    words = [path, override, "data.steps=[]", "--results", str(tmp_path / "results")]
    line = refused(capsys, command, *words)
    assert "named_code" in line and "--allow-code" in line
    assert cli.main(["plan", *words]) == 0  # which reads the source text and runs none of it
    assert not (tmp_path / "named_code.imported").exists()
    assert not (tmp_path / "results").exists()


def test_a_figure_that_is_named_by_its_module_needs_leave_too(tmp_path, capsys, monkeypatch):
    (tmp_path / "named_code.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    path = toy_runs.write(tmp_path, TEXT)
    words = [path, "--results", tmp_path]
    assert "--allow-code" in refused(capsys, "figures", *words, "--only", "named_code:draw")
    assert "--allow-code" in refused(capsys, "figures", *words, "figures=named_code:draw")
    assert not (tmp_path / "named_code.imported").exists()
