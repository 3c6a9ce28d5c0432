"""One model over devices: checkpoints, several processes, and what is refused."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import toy_runs

from experiments import cli
from experiments.lab import spreading

CONFIG = (
    toy_runs.TOML.partition("[methods.retrain]")[0].replace("seeds = [0, 1, 2]", "seeds = [0]")
    + "[methods.unlearn_als]\nmax_sweeps = 3\n"
)
WORDS = ["request.ratio=0.1", "split.seed=0"]


def factors(folder):
    """What a run left, by name."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            found |= {f"{path.stem} {k}": arrays[k] for k in arrays if k.endswith("_factors")}
    return found


def assert_same(got, want, tol=0.0):
    assert got.keys() == want.keys()
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=0, atol=tol * np.abs(array).max())


@pytest.fixture
def path(tmp_path):
    return toy_runs.small(tmp_path, CONFIG)


@pytest.fixture
def straight(path, tmp_path):
    """A run on one device without interruption."""
    words = ["train", path, *WORDS, "--out", str(tmp_path / "one"), "--every", "2"]
    assert cli.main(words) == 0
    found = factors(tmp_path / "one")
    assert set(found) == {
        f"{stage} {side}_factors" for stage in ("trained", "unlearned") for side in ("item", "user")
    }
    return found


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(
    path, straight, tmp_path, monkeypatch, capsys, after
):
    write, written = spreading.Checkpoints.write, []

    def stop(self, *args):
        write(self, *args)
        written.append(args[:2])
        if len(written) == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(spreading.Checkpoints, "write", stop)
    words = ["train", path, *WORDS, "--out", str(tmp_path / "two"), "--every", "2"]
    assert cli.main(words) == 130
    assert cli.main(words) == 0
    assert_same(factors(tmp_path / "two"), straight)
    assert written == [("trained", 2), ("trained", 3), ("unlearned", 2), ("unlearned", 3)]
    capsys.readouterr()
    assert cli.main([*words, "models.ials.reg=7.0"]) == 2
    err = capsys.readouterr().err
    assert "of other data, settings or devices" in err and err.count("\n") == 1
    assert_same(factors(tmp_path / "two"), straight)
    assert cli.main([*words, "models.ials.tol=0.1", "--force"]) == 2  # refused: nothing is removed
    assert_same(factors(tmp_path / "two"), straight)
    others = tmp_path / "two" / "served.npz"
    others.write_bytes(b"of somebody else")
    assert cli.main([*words, "models.ials.reg=7.0", "--force"]) == 0
    assert others.read_bytes() == b"of somebody else"
    others.unlink()
    assert (
        factors(tmp_path / "two")["trained item_factors"] != straight["trained item_factors"]
    ).any()


def test_a_checkpoint_of_another_stage_pass_or_model_is_refused(path, straight, tmp_path, capsys):
    out = tmp_path / "one"
    words = ["train", path, *WORDS, "--out", str(out), "--every", "2"]
    trained, unlearned = (out / f".{stage}-000003-0000.npz" for stage in spreading.STAGES[:2])
    honest = unlearned.read_bytes()
    arrays = dict(np.load(unlearned))
    del arrays["identity"]
    np.savez(tmp_path / "lacks.npz", **arrays)
    cases = [
        (trained.read_bytes(), "was written as .trained-000003-0000.npz; give another --out"),
        (honest[:200], "no checkpoint that can be read (File is not a zip file)"),
        ((tmp_path / "lacks.npz").read_bytes(), "no checkpoint that can be read ('identity is not"),
    ]
    for content, why in cases:
        unlearned.write_bytes(content)
        capsys.readouterr()
        assert cli.main(words) == 2
        err = capsys.readouterr().err
        assert why in err and err.count("\n") == 1
        unlearned.write_bytes(honest)
        assert_same(factors(out), straight)
    both = CONFIG.replace("seeds = [0]", "seeds = [0, 1]") + "[methods.retrain]\n"
    words[1] = toy_runs.small(tmp_path, both)
    # both methods of a seed share a folder; nothing of another seed comes to stand beside them
    assert cli.main([*words, "--only", "method=retrain,seed=0"]) == 0
    unlearned.unlink(), trained.unlink()
    capsys.readouterr()
    assert cli.main([*words, "--only", "method=unlearn_als,seed=1"]) == 2
    err = capsys.readouterr().err
    assert ".retrained-000003-0000.npz: of other data, settings or devices" in err
    assert cli.main([*words, "--only", "method=unlearn_als,seed=0"]) == 0
    found = factors(out)
    assert len([found.pop(f"retrained {side}_factors") for side in ("user", "item")]) == 2
    assert_same(found, straight)


@pytest.mark.parametrize("name", [f"{stage}.npz" for stage in spreading.STAGES])
def test_finished_tables_whose_checkpoints_are_not_there_are_kept(name, path, tmp_path, capsys):
    """As of ``cp``, which leaves out what is hidden: nobody can say of what they are."""
    out = tmp_path / "copied"
    out.mkdir()
    (out / name).write_bytes(b"of another run")
    words = ["train", path, *WORDS, "--out", str(out)]
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert f"{name}: is there without the checkpoints" in err and err.count("\n") == 1
    assert "give another --out, or --force" in err
    assert [(x.name, x.read_bytes()) for x in out.iterdir()] == [(name, b"of another run")]
    assert cli.main([*words, "--force"]) == 0
    assert set(factors(out)) == {
        f"{stage} {side}_factors" for stage in ("trained", "unlearned") for side in ("item", "user")
    }


def test_the_trained_model_is_the_one_of_the_runner(path, straight):
    """The start, the data and the passes are those of ``run``."""
    from experiments.config import grid, reading
    from experiments.lab import setup
    from experiments.lab.programs import keys

    loaded = reading.read(path, tuple(WORDS))
    (cell,) = grid.cells(loaded)
    lab = setup.laboratory(loaded.experiment, None, None)
    train, request = lab.materials.request(cell)
    fitted, _ = lab.programs.model(cell.spec["model"]).fit(keys(0)["fit"], train, request.before)
    np.testing.assert_allclose(straight["trained user_factors"], fitted.users, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["request.ratio=0.1,0.2"], "2 cells; choose one"),
        (["models.ials.tol=0.1"], "give tol = 0"),
        (["methods.unlearn_als.variant=drop"], 'variant = "untrain" alone'),
        (["methods.unlearn_als.use=drop"], "no method 'drop'"),
        (["--mesh", "99"], "--mesh 99: this process sees"),
        (["--every", "0"], "expected at least 1"),
        (["--processes", "2"], "go together"),
        (["--cluster", "--process", "0"], "--cluster asks the cluster"),
    ],
)
def test_what_a_mesh_cannot_do_is_refused_in_one_line(path, tmp_path, capsys, words, why):
    out = tmp_path / "out"
    assert cli.main(["train", path, *WORDS, *words, "--out", str(out)]) == 2
    err = capsys.readouterr().err
    assert why in err and err.count("\n") == 1
    assert not list(out.glob("*.npz"))


def started(path, out, port, *words):
    """Two processes of two devices each, which do not wait for this one."""
    common = [sys.executable, "-m", "experiments", "train", path, *WORDS, "--out", str(out)]
    common += ["--mesh", "2", "--every", "2", "--coordinator", f"127.0.0.1:{port}"]
    common += ["--processes", "2", "--lost-after", "10", *words]
    how = {"cwd": toy_runs.ROOT, "env": toy_runs.ENVIRONMENT, "text": True}
    return [
        subprocess.Popen(
            [*common, "--process", str(i)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how
        )
        for i in range(2)
    ]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_two_processes_have_the_model_of_one_and_survive_a_loss(path, straight, tmp_path):
    """A process that is killed ends the other one with a line; both go on where they were."""
    out = tmp_path / "two"
    for process in started(path, out, free_port()):
        assert process.wait(120) == 0, process.stderr.read()
    assert_same(factors(out), straight, tol=1e-4)

    long, out = ["models.ials.max_sweeps=3000"], tmp_path / "lost"
    first, second = started(path, out, free_port(), *long)
    while not list(out.glob(".trained-*")):
        time.sleep(0.1)
    children = subprocess.run(
        ["pgrep", "-P", str(second.pid)], capture_output=True, text=True, check=True
    )
    os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
    for process in (first, second):
        assert process.wait(60) == 1
        err = process.stderr.read()
        assert err.count("\n") == 1 and "a process was lost" in err and "goes on" in err
    kept = sorted(out.glob(".trained-*"))
    done = int(kept[0].name.split("-")[1])
    again = started(path, out, free_port(), *long)
    tables = [p.stdout.readline() for p in again[:1]]
    line = again[0].stdout.readline()
    for process in again:
        process.terminate()
        process.wait(60)
    assert "4 devices of 2 processes" in tables[0]
    assert int(line.split("pass ")[1].split()[0]) >= done
