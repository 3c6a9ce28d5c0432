"""Compiled programs are kept on disk, and no number depends on whether they were found there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import toy_runs

from experiments.lab import compilation, progress


def run(path, results, **environment):
    """A run in a process of its own; returns its rows by cell and what it said."""
    given = {k: v for k, v in toy_runs.ENVIRONMENT.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    words = ["run", path, "--results", str(results), "seeds=0", "ks=[]", "request.ratio=0.1"]
    done = subprocess.run(
        [sys.executable, "-m", "experiments", *words, "--only", "method=retrain"],
        cwd=toy_runs.ROOT,
        env=given | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (json.loads(file.read_text()) for file in Path(results).glob("*/cells/*.json"))
    return {row["id"]: row for row in rows}, done.stdout + done.stderr


def test_a_second_run_finds_the_programs_and_has_the_same_numbers(tmp_path):
    """Seconds of a compilation that did not happen are not stated."""
    path, kept = toy_runs.small(tmp_path), {"JAXFORGET_COMPILATION_CACHE": str(tmp_path / "kept")}
    kept |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    first, _ = run(path, tmp_path / "first", **kept)
    assert any((tmp_path / "kept" / compilation.features()).iterdir())
    second, said = run(path, tmp_path / "second", **kept)
    assert "compiled before" in said
    for name, row in first.items():
        assert row["metrics"] == second[name]["metrics"] and row["info"] == second[name]["info"]
        assert row["timings"]["fit_compile_seconds"] > 0
        assert second[name]["timings"]["fit_compile_seconds"] is None
        assert second[name]["timings"]["fit_seconds"] > 0


def test_what_jax_was_told_comes_first_then_the_option_then_the_users_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "of jax"))
    monkeypatch.setenv(compilation.OPTION, "off")
    assert compilation.folder() == tmp_path / "of jax"
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    assert compilation.folder() is None
    monkeypatch.setenv(compilation.OPTION, str(tmp_path))
    assert compilation.folder() == tmp_path / compilation.features()
    monkeypatch.setenv(compilation.OPTION, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compilation.folder().parts[-3:] == ("jaxforget", "compiled", compilation.features())


def test_a_folder_that_cannot_be_made_is_said_and_nothing_else_changes(
    monkeypatch, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv(compilation.OPTION, str(tmp_path / "file"))
    compilation.keep()
    assert capsys.readouterr().err.startswith("compiled programs are not kept: ")


@pytest.mark.parametrize("seconds, words", [(None, "compiled before"), (1.26, "compile 1.3 s")])
def test_the_log_says_whether_a_program_was_compiled(seconds, words):
    times = {"unlearn_seconds": 0.5, "unlearn_compile_seconds": seconds}
    assert words in progress.summary({"status": "ok", "metrics": [], "timings": times})
