"""A tiny config, and made-up results for it: what the tests of the runner share."""

import contextlib
import hashlib
import io
import math
import os
import subprocess
import sys
from pathlib import Path

from compiling import FLAGS

from experiments import cli
from experiments.config import grid, reading
from experiments.lab import store

ROOT = Path(__file__).parent.parent
# conftest.py names a compilation cache: all runs and all workers share it
ENVIRONMENT = os.environ | {
    "JAX_ENABLE_X64": "0",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": FLAGS,
}
TOML = """# Forgetting film ratings comes close to retraining.
# It takes a few passes.
seeds = [0, 1, 2]
figures = ["pass_curves", "ratio_curves", "tolerance_times"]
[data]
use = "movietweetings"
steps = [{use = "binarise", threshold = 8.0}]
[request]
kind = "random"
ratio = [0.01, 0.1]
[models.ials]
dim = 4
reg = 5.0
alpha = 10.0
max_sweeps = 3
[methods.retrain]
[methods.unlearn_als]
max_sweeps = [1, 2]
ratio = 0.1
[methods.ladder]
use = "unlearn_als"
tol = [1e-1, 1e-2, 1e-3]
"""

EMPTY = TOML.replace('kind = "random"\nratio = [0.01, 0.1]', 'kind = "none"').replace(
    "ratio = 0.1", ""
)
KINDS = TOML.replace('kind = "random"', 'kind = ["random", "users"]')
SPAM = TOML.replace('"random"', '"shilling_bandwagon"\nfillers = 9\nunpopular = 0.5')
CANARIES = TOML.replace('"random"', '"canaries"\nfillers = 9\nunpopular = 0.5')
SWITCHES = TOML.partition("[methods.ladder]")[0] + (
    "[methods.ifru]\nhops = 1\nkeep = [0.2, 1.0]\nspillover = [true, false]\n"
)
CERTIFIED = TOML.partition("[methods.unlearn_als]")[0].replace("= 5.0", "= [5.0, 10.0]") + (
    "[methods.certified_als]\ntol = [1e-1, 1e-3]\n"
)
NESTED = TOML.replace("seeds = [0, 1, 2]", "seeds = [0, 1, 2]\nunlearn_seeds = [0, 1]").replace(
    "[request]", "[split]\nseed = [0, 1, 2]\n[request]"
)
DRAWABLE = {
    "components": NESTED,
    "certificate_grid": CERTIFIED,
    "certificate_times": CERTIFIED,
    "certificate_slack": CERTIFIED,
    "empty_request": EMPTY,
    "deletion_kinds": KINDS,
    "exposure": SPAM,
    "keep_curves": SWITCHES,
    "spillover": SWITCHES,
}


def write(folder: Path, text: str = TOML, name: str = "toy") -> str:
    """The config as a file; returns its path."""
    path = folder / f"{name}.toml"
    path.write_text(text)
    return str(path)


def luck(*words: object) -> float:
    """A number in [0, 1) that depends on the words alone."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def made_up(cell: grid.Cell) -> dict:
    """A stored row as the runner writes it, with numbers of the right kind."""
    settings, amount = cell.spec["method"]["settings"], cell.axes["ratio"] or 0.0
    passes = settings.get("max_sweeps") or round(-4 * math.log10(settings.get("tol") or 1e-3))
    after = (0.2 + amount) * math.exp(-passes / 4) * (1 + 0.1 * luck(cell.id))
    if cell.axes["method"] == "retrain":
        after = 0.15 + 0.01 * luck(cell.id)
    rows = []
    for stage, distance in (("before", 0.2 + amount), ("after", after), ("reference", None)):
        gap = distance or 0.0
        shift = 0.01 * luck("seed", cell.axes["seed"])
        for k in cell.spec["ks"]:
            rows.append([stage, "test", "ndcg", k, 0.3 + shift + 0.1 * gap + k / 1000])
        for name, slope in (("auc", 0.05), ("auc_or", 0.1), ("auc_and", 0.2)):
            rows.append([stage, "test", name, None, 0.9 + shift - slope * gap])
        rows.append([stage, "retained", "loss", None, 1000.0 * (1 + 0.1 * gap)])
        rows.append([stage, "forgotten", "membership", None, 0.5 + 0.1 * gap + shift])
        if cell.axes["kind"] == "canaries":
            rows.append([stage, "forgotten", "rank_exposure", None, 1.4 + gap + shift])
        if cell.axes["kind"].startswith("shilling"):
            for k in cell.spec["ks"]:
                rows.append([stage, "all", "exposure", k, 0.1 + gap + shift])
        if distance is not None:
            rows.append([stage, "all", "distance", None, distance])
            rows.append([stage, "test", "distance", None, 7.0 + distance])
    unlearn = {"sweeps": passes, "residual": 1e-4}
    if cell.spec["method"]["use"] == "certified_als":
        unlearn = {"steps": passes, "relative_bound": 1.5 * after, "rank": 3, "certified": True}
        for stage in ("after", "reference"):
            rows.append([stage, "valid", "ndcg", cell.spec["ks"][0], 0.25 + 0.1 * luck(cell.id)])
    fit = {"sweeps": 3, "steps": 2 * passes, "relative_bound": after}
    return {
        "id": cell.id,
        "spec": cell.spec,
        "status": "ok",
        "reason": None,
        "traceback": None,
        "table_hash": "11" * 32,
        "data_hash": "00" * 32,
        "metrics": rows,
        "info": {"fit": fit, "unlearn": unlearn},
        "timings": {"fit_seconds": 2.0, "unlearn_seconds": 0.1 * passes, "reference_seconds": 2.0},
        "provenance": {"device_kind": "cpu", "git_sha": "abc", "started": "2026-01-01T00:00:00Z"},
    }


def fill(path: str, results: Path, change=lambda cell, row: row) -> list[grid.Cell]:
    """Stores made-up results for every cell of a config."""
    loaded = reading.read(path)
    cells = grid.cells(loaded)
    for cell in cells:
        store.write(results / loaded.name / "cells", change(cell, made_up(cell)))
    return cells


def small(folder: Path, text: str = TOML) -> str:
    """A config on a data set of its own, small enough to compile quickly; returns its path."""
    lines = [
        f"{user},{item},{1 + round(4 * luck('value', user, item))}"
        for user in range(40)
        for item in range(25)
        if luck("met", user, item) < 0.3
    ]
    (folder / "small.csv").write_text("\n".join(lines) + "\n")
    data = (
        f'[data]\nuse = "delimited"\npath = "{folder}/small.csv"\n'
        'columns = ["user", "item", "value"]\ntext = []\n'
    )
    start, end = text.index("[data]"), text.index("[request]")
    return write(folder, text[:start] + data + text[end:])


def command(*words: object, **more: object) -> subprocess.CompletedProcess:
    """``python -m experiments ...`` in a process of its own, from the repository."""
    return subprocess.run(
        [sys.executable, "-m", "experiments", *map(str, words)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


def within(*words: object) -> subprocess.CompletedProcess:
    """What ``command`` gives, run in this process: nothing is imported or compiled once more."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(word) for word in words])
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def beside(command: str, path: str, *more: str) -> int:
    """Runs a command in this process, with the results beside its config; returns the exit code."""
    return cli.main([command, path, *more, "--results", path.rpartition("/")[0]])


def refused(capsys, *words: str) -> str:
    """What ``beside`` says where it refuses: one line."""
    capsys.readouterr()
    assert beside(*words) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1
    return told


def tweets(*parts: str, seeds: str = "[0]", max_sweeps: int = 3) -> str:
    """A config of a small ALS model on likes of the embedded data; ``parts``: request, methods."""
    head = f"""
seeds = {seeds}
ks = [5]

[data]
use = "movietweetings"
steps = [{{use = "binarise", threshold = 8.0}}, {{use = "k_core", k = 10}}]

[split]
by = "interaction"
shares = [0.8, 0.1, 0.1]
seed = 0

[models.ials]
dim = 4
reg = 5.0
alpha = 4.0
max_sweeps = {max_sweeps}
"""
    return "\n".join([head, *parts])
