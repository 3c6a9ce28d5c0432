"""``kill -9`` during a run at random moments, then run again: the same tables, byte for byte."""

import random
import signal
import subprocess
import sys
import time

import toy_runs

TEXT = toy_runs.TOML.partition("[methods.ladder]")[0]  # 8 cells in three programs
WORDS = ["seeds=0,1", "split.seed=0", "ks=[]", "figures=[]"]
LIMIT = 120  # seconds after which a run that makes no cell has failed the test


def killed(path, results, n_cells, delay):
    """Runs until ``n_cells`` exist and a moment more, then kills; False if it finished first."""
    folder = results / "toy/cells"
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments", "run", path, *WORDS, "--results", str(results)],
        cwd=toy_runs.ROOT,
        env=toy_runs.ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + LIMIT
    while process.poll() is None and len(list(folder.glob("*.json"))) < n_cells:
        assert time.monotonic() < deadline, "the run makes no cell"
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def collected(path, results):
    done = toy_runs.within("run", path, *WORDS, "--results", results)
    assert done.returncode == 0, done.stderr
    done = toy_runs.within("collect", path, *WORDS, "--results", results)
    assert done.returncode == 0, done.stderr
    return {name: (results / "toy" / name).read_bytes() for name in ("cells.csv", "metrics.csv")}


def test_a_killed_and_resumed_run_gives_the_bytes_of_a_straight_one(tmp_path):
    path, luck = toy_runs.small(tmp_path, TEXT), random.Random(0)
    straight = collected(path, tmp_path / "straight")
    n_killed = sum(
        killed(path, tmp_path / "broken", n_cells, luck.uniform(0, 0.3)) for n_cells in (1, 4)
    )
    assert n_killed  # a run that was never cut short would prove nothing
    assert collected(path, tmp_path / "broken") == straight
