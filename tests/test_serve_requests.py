"""``serve-requests`` and ``erase.Session``: requests in turn are as good as all at once."""

import os
import random
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import toy_runs
from test_erase import HOW, ITEMS, SAVED, USERS, VALUES, D, I, U

from experiments import cli
from experiments.commands import _journal, _stream
from jaxforget import erase, models
from jaxforget.prepare import interop
from jaxforget.sparse import layout

TRAIN = layout.build(USERS, ITEMS, VALUES.astype(np.float64), n_users=U, n_items=I)
ASKED = np.random.default_rng(1).permutation(U)[:12].tolist()


def trained(max_sweeps=8):
    model = models.load("ials")(dim=D, max_sweeps=max_sweeps, **HOW)
    return model, model.fit(jax.random.key(0), TRAIN, jnp.ones_like(TRAIN.values))[0]


# ---- the library


@pytest.mark.slow
def test_a_stream_of_a_converged_model_ends_where_one_request_and_retraining_end():
    model, served = trained(1000)
    how = {"tol": 1e-9, "max_rounds": 500}
    stream, batch = (erase.Session(model, served, TRAIN, **how) for _ in range(2))
    for user in ASKED:
        stream.erase(users=[user])
    batch.erase(users=ASKED)
    np.testing.assert_array_equal(stream.weights, batch.weights)
    retrained = model.fit(jax.random.key(0), TRAIN, stream.weights)[0]
    want = np.asarray(retrained.users) @ np.asarray(retrained.items).T
    for session in (stream, batch):
        got = np.asarray(session.factors.users) @ np.asarray(session.factors.items).T
        np.testing.assert_allclose(got, want, atol=1e-5)
        assert session.drift()["drift"] < 1e-7


def test_a_stream_ends_near_one_request_where_training_was_not_finished():
    model, served = trained(8)
    stream, batch = (erase.Session(model, served, TRAIN) for _ in range(2))
    for user in ASKED[:3]:
        stream.erase(users=[user])
    batch.erase(users=ASKED[:3])
    a, b, old = (
        np.asarray(f.users) @ np.asarray(f.items).T for f in (stream.factors, batch.factors, served)
    )
    stay = np.setdiff1d(np.arange(U), ASKED[:3])
    assert np.linalg.norm((a - b)[stay]) < 0.5 * np.linalg.norm((b - old)[stay])
    np.testing.assert_array_equal(a[ASKED[:3]], 0)


def test_a_session_goes_on_from_its_state_bit_for_bit():
    model, served = trained()
    whole, first = (erase.Session(model, served, TRAIN) for _ in range(2))
    for user in ASKED:
        whole.erase(users=[user])
    for user in ASKED[:5]:
        first.erase(users=[user])
    state = jax.tree.map(np.asarray, (first.factors, first.weights, first.rest, first.rhs))
    more = dict(zip(("weights", "rest", "rhs"), state[1:]))
    second = erase.Session(model, state[0], TRAIN, **more)
    for user in ASKED[5:]:
        second.erase(users=[user])
    for a, b in zip(whole.factors, second.factors):
        np.testing.assert_array_equal(a, b)


def test_a_request_that_is_named_again_changes_nothing_and_pairs_and_items_work():
    model, served = trained()
    session = erase.Session(model, served, TRAIN)
    assert session.erase(users=[3])["interactions"] > 0
    before = session.factors
    assert session.erase(users=[3])["interactions"] == 0
    np.testing.assert_array_equal(session.factors.users, before.users)
    row = int(np.flatnonzero(USERS != 3)[0])
    assert session.erase(users=[USERS[row]], items=[ITEMS[row]])["interactions"] == 1
    assert session.erase(items=[int(ITEMS[row])])["interactions"] > 0
    np.testing.assert_array_equal(session.factors.items[ITEMS[row]], 0)


def test_retraining_begins_a_session_again():
    model, served = trained(3)
    session = erase.Session(model, served, TRAIN)
    session.erase(users=ASKED)
    session.retrain(jax.random.key(9))
    want = model.fit(jax.random.key(9), TRAIN, session.weights)[0]
    np.testing.assert_allclose(session.factors.items, want.items, atol=1e-9)
    assert session.drift()["drift"] < 1e-12


def test_what_a_session_cannot_serve_is_refused_and_leaves_it_as_it_was():
    model, served = trained()
    mf = models.load("mf")(dim=2, init_scale=0.1, lr=0.1, n_epochs=1, reg=0.1)
    with pytest.raises(ValueError, match="needs a model trained by ALS"):
        erase.Session(mf, served, TRAIN)
    with pytest.raises(ValueError, match="factors of 30 users and 40 items"):
        erase.Session(model, served._replace(users=served.items, items=served.users), TRAIN)
    with pytest.raises(ValueError, match="not finite"):
        erase.Session(model, served._replace(users=served.users * jnp.nan), TRAIN)
    with pytest.raises(ValueError, match="a session: weights"):
        erase.Session(model, served, TRAIN, weights=jnp.ones(3))
    session = erase.Session(model, served, TRAIN)
    with pytest.raises(ValueError, match="users have no training interactions"):
        session.erase(users=[999])
    with pytest.raises(ValueError, match="give users, items, or both"):
        session.erase()
    np.testing.assert_array_equal(session.factors.users, served.users)
    np.testing.assert_array_equal(session.weights, 1)


# ---- the command


@pytest.fixture
def folder(tmp_path):
    served = trained()[1]
    interop.save_factors(tmp_path / "model.npz", served, settings=SAVED)
    data = scipy.sparse.csr_matrix((VALUES, (USERS, ITEMS)), shape=(U, I))
    scipy.sparse.save_npz(tmp_path / "data.npz", data)
    (tmp_path / "requests.csv").write_text("\n".join(["user", *map(str, ASKED), "99"]) + "\n")
    return tmp_path


def begin(folder, out="stream", *more):
    return [
        "serve-requests",
        str(folder / out),
        "--model",
        str(folder / "model.npz"),
        "--interactions",
        str(folder / "data.npz"),
        "--requests",
        str(folder / "requests.csv"),
        "--save=3",
        "--check=5",
        *more,
    ]


def go_on(folder, out="stream", *more):
    whole = begin(folder, out, *more)
    return whole[:2] + whole[6:]


def test_requests_are_met_in_turn_and_the_model_is_served_in_its_format(folder, capsys):
    assert cli.main(begin(folder)) == 0
    told = capsys.readouterr().out
    assert "request 13: 0 interactions, 1 lines name nothing" in told
    assert "13 requests," in told and "p50" in told and "request 5: " in told and "drift" in told
    new = interop.load_factors(folder / "stream" / "model.npz")
    np.testing.assert_array_equal(new.users[ASKED], 0)
    assert new.users.dtype == np.float32
    settings = interop.load_settings(folder / "stream" / "model.npz")
    assert {name: settings[name].item() for name in SAVED} == SAVED
    before = (folder / "stream" / "journal.jsonl").read_bytes()
    assert cli.main(go_on(folder)) == 0  # the same lines: nothing is new
    assert (folder / "stream" / "journal.jsonl").read_bytes() == before


def test_more_lines_are_a_batch_and_a_budget_used_up_is_a_training_anew(folder, capsys):
    assert cli.main(begin(folder, "stream", "--batch=4", "--check=1", "--budget=1e-9")) == 0
    told = capsys.readouterr().out
    assert "4 requests," in told and told.count("trained anew") == 4
    new = interop.load_factors(folder / "stream" / "model.npz")
    np.testing.assert_array_equal(new.users[ASKED], 0)


class Killed(BaseException):
    """What stands for a kill inside the process of a test."""


def killed_at(folder, moment, monkeypatch, arguments):
    """Runs a call that ends, as a kill would end it, at its n-th write or update."""
    left, dead = moment, False

    def counted(function):
        def call(*args, **more):
            nonlocal left, dead
            left -= 1
            if left < 0 or dead:
                dead = True
                raise Killed
            return function(*args, **more)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(_stream, "write_atomically", counted(_stream.write_atomically))
        patched.setattr(_journal.os, "fsync", counted(os.fsync))
        patched.setattr(erase.Session, "erase", counted(erase.Session.erase))
        try:
            cli.main(arguments)
        except Killed:
            return True
    return False


def test_a_stream_that_is_killed_at_any_moment_ends_in_the_same_bytes(folder, monkeypatch, capsys):
    assert cli.main(begin(folder, "whole")) == 0
    rng = random.Random(0)
    out, n_kills = folder / "stream", 0
    arguments = begin(folder)
    for _ in range(12):
        n_kills += killed_at(folder, rng.randrange(1, 9), monkeypatch, arguments)
        if (out / "state.npz").exists():
            arguments = go_on(folder)
        journal = out / "journal.jsonl"
        if journal.exists() and rng.random() < 0.5:  # a line that the kill cut off
            journal.write_bytes(journal.read_bytes() + b'{"request": 9')
    assert cli.main(arguments) == 0
    assert n_kills > 4
    for name in ("model.npz", "journal.jsonl", "state.npz"):
        assert (out / name).read_bytes() == (folder / "whole" / name).read_bytes(), name


@pytest.mark.slow
def test_fifty_real_kills_of_a_stream_of_fifty_requests(folder):
    lines = np.random.default_rng(2).integers(0, U, 50)
    (folder / "requests.csv").write_text("\n".join(["user", *map(str, lines)]) + "\n")
    command = [sys.executable, "-m", "experiments"]
    how = {"cwd": toy_runs.ROOT, "env": toy_runs.ENVIRONMENT, "capture_output": True}
    done = subprocess.run([*command, *begin(folder, "whole")], check=False, **how)
    assert done.returncode == 0, done.stderr
    rng = random.Random(0)
    arguments = begin(folder)
    for _ in range(50):
        with subprocess.Popen(
            [*command, *arguments], cwd=toy_runs.ROOT, env=toy_runs.ENVIRONMENT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as child:  # fmt: skip
            time.sleep(rng.uniform(1.0, 4.0))
            child.send_signal(signal.SIGKILL)
        if (folder / "stream" / "state.npz").exists():
            arguments = go_on(folder)
    done = subprocess.run([*command, *arguments], check=False, **how)
    assert done.returncode == 0, done.stderr
    for name in ("model.npz", "journal.jsonl"):
        one, other = (folder / out / name for out in ("stream", "whole"))
        assert one.read_bytes() == other.read_bytes(), name


def refused(capsys, arguments):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def test_what_does_not_fit_the_folder_is_refused(folder, capsys):
    assert "has no stream yet: give --model" in refused(capsys, go_on(folder))
    assert cli.main(begin(folder)) == 0
    assert "has a stream: it goes on without" in refused(capsys, begin(folder))
    journal = folder / "stream" / "journal.jsonl"
    honest = journal.read_bytes()
    journal.write_bytes(honest.replace(b'"user": [', b'"user": [1, ', 1))
    assert "line 2: does not follow the line before: it was edited" in refused(
        capsys, go_on(folder)
    )
    journal.write_bytes(b"".join(honest.splitlines(keepends=True)[:3]))
    assert "lines were lost; put the journal back" in refused(capsys, go_on(folder))
    journal.write_bytes(honest)
    (folder / "requests.csv").write_text("user,item\n1\n")
    assert "line 2: 1 fields, not 2" in refused(capsys, go_on(folder))
    (folder / "requests.csv").write_text("person\n1\n")
    assert "line 1: must be user, item, or user,item" in refused(capsys, go_on(folder))
    for option, words in (("--tol=2", "--tol must lie"), ("--budget=0", "--budget must be")):
        assert words in refused(capsys, begin(folder, "other", option))
    assert not (folder / "other").exists()
