"""What ``pip wheel .`` makes, in an empty folder: the library, and the runner as ``jaxforget``."""

import os
import subprocess
import sys
import zipfile

import pytest
import toy_runs

pytestmark = pytest.mark.slow
CONFIG = """# My own ratings.
seeds = [0]
ks = [5]
figures = ["ratio_curves", "mine:draw"]
[data]
use = "delimited"
path = "ratings.csv"
columns = ["user", "item", "value"]
text = []
[request]
ratio = 0.1
[models.ials]
dim = 4
reg = 5.0
alpha = 10.0
max_sweeps = 3
[methods.retrain]
[methods.unlearn_als]
max_sweeps = 2
"""
FIGURE = """
import matplotlib.pyplot as plt

def draw(tables):
    figure, axis = plt.subplots()
    axis.plot(tables.timings["unlearn_seconds"])
    return figure, tables.timings[["cell"]]
"""


def pip(*words):
    """Runs pip without a network; returns nothing, raises on failure."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=toy_runs.ROOT,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index", "-w", folder, ".")
    return next(folder.glob("jaxforget-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A function that runs Python with the wheel, without this checkout, in a folder."""
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel)
    others = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    # -S: no .pth file is read, hence no editable install; packages come from the path alone
    environment = toy_runs.ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(target), *others])}
    environment.pop("OPENBLAS_NUM_THREADS", None)

    def run(folder, *words):
        return subprocess.run(
            [sys.executable, "-S", *map(str, words)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run, target / "bin" / "jaxforget"


def test_the_wheel_holds_the_data_and_no_package_called_experiments(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "jaxforget",
        "jaxforget_experiments",
    }
    for name in ("10core.dat.gz", ".LICENSE", ".md"):
        assert any(
            n.startswith("jaxforget/data/movietweetings") and n.endswith(name) for n in names
        )
    for name in ("figures/style.mplstyle", "commands/report.html", "commands/erase.html"):
        assert f"jaxforget_experiments/{name}" in names


def test_the_installed_command_runs_a_users_config_on_a_users_file(installed, tmp_path):
    run, command = installed
    toy_runs.small(tmp_path)
    (tmp_path / "small.csv").rename(tmp_path / "ratings.csv")
    (tmp_path / "toy.toml").unlink()
    (tmp_path / "my.toml").write_text(CONFIG)
    (tmp_path / "mine.py").write_text(FIGURE)
    for step in ("plan", "run", "collect", "figures", "report"):
        more = {"run": ["--root", "."], "figures": ["--allow-code"]}.get(step, [])
        done = run(tmp_path, command, step, "my.toml", *more)
        assert done.returncode == 0, done.stderr + done.stdout
        if step == "plan":
            assert "2 cells (2 to run)" in done.stdout
        if step == "run":
            assert "next: jaxforget collect my.toml" in done.stdout
    results = tmp_path / "results" / "my"
    for name in ("cells.csv", "ratio_curves.svg", "mine_draw.svg", "report.html"):
        assert (results / name).is_file()
    assert ",ok," in (results / "cells.csv").read_text()


def test_installed_it_knows_its_version_and_no_git_and_is_not_called_experiments(
    installed, tmp_path
):
    run, command = installed
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)  # a repository of the user
    done = run(tmp_path, command, "doctor")
    assert done.returncode == 0, done.stderr
    facts = {line[:17].strip(): line[17:].strip() for line in done.stdout.splitlines()}
    assert facts["git_sha"] == facts["dirty"] == "unknown" and facts["jaxforget"][0].isdigit()
    code = (
        "import jaxforget_experiments.__main__, importlib.util, os, sys\n"
        "assert os.environ['OPENBLAS_NUM_THREADS'] == '1' and 'numpy' not in sys.modules\n"
        "assert importlib.util.find_spec('experiments') is None\n"
    )
    done = run(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr


def test_installed_it_reads_the_embedded_data_and_says_which_extra_is_missing(installed, tmp_path):
    run, _ = installed
    code = (
        "import sys, jaxforget as jf\n"
        "assert len(jf.data.read('movietweetings', None)) == 44613\n"
        "from jaxforget_experiments import cli\n"
        "sys.modules['msgspec'] = None\n"
        "raise SystemExit(cli.main(['plan', 'my.toml']))\n"
    )
    done = run(tmp_path, "-c", code)
    assert done.returncode == 2 and "jaxforget[experiments]" in done.stderr, done.stderr
