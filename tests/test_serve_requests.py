"""``serve-requests`` and ``erase.Session``: requests in turn are as good as all at once."""

import io
import json
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
from experiments.commands import _beginning, _journal, _state, _stream
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


@pytest.mark.parametrize(("kind", "ids"), [("users", [3]), ("items", [5, 6, 7, 8])])
def test_a_session_does_not_begin_with_the_interactions_of_who_was_erased_before(kind, ids):
    model, served = trained()
    first = erase.Session(model, served, TRAIN)
    first.erase(**{kind: ids})
    some = "5, 6, 7, ..." if len(ids) > 3 else "3"
    with pytest.raises(ValueError, match=rf"{len(ids)} {kind} whose rows are 0 \({some}\): if"):
        erase.Session(model, first.factors, TRAIN)
    numbers, later = (USERS, ITEMS)[kind == "items"], {"users": [8], "items": [9]}
    rest = ~np.isin(numbers, ids)
    sizes = {"n_users": U, "n_items": I}
    left = layout.build(USERS[rest], ITEMS[rest], VALUES[rest].astype(np.float64), **sizes)
    known = erase.Session(model, first.factors, TRAIN, weights=first.weights)
    for session in (known, erase.Session(model, first.factors, left)):  # as it should be told
        for name, asked in later.items():
            session.erase(**{name: asked})
        np.testing.assert_array_equal(np.asarray(getattr(session.factors, kind))[ids], 0)
        session.retrain(jax.random.key(0))
        np.testing.assert_array_equal(np.asarray(getattr(session.factors, kind))[ids], 0)
    trusted = erase.Session(model, first.factors, TRAIN, trust=True)
    trusted.retrain(jax.random.key(0))
    assert np.asarray(getattr(trusted.factors, kind))[ids].any(axis=1).all()


def test_a_session_keeps_something_to_serve():
    model, served = trained()
    session = erase.Session(model, served, TRAIN)
    some, rest = np.unique(ITEMS)[:2], np.unique(ITEMS)[2:]
    session.erase(items=some)
    before = session.factors, session.weights, session.rest
    for named in ({"items": rest}, {"users": np.unique(USERS)}, {"users": USERS, "items": ITEMS}):
        with pytest.raises(ValueError, match="names every interaction: there is nothing to serve"):
            session.erase(**named)
    assert (session.factors, session.weights, session.rest) == before
    assert session.erase(items=rest[1:])["interactions"] > 0  # one item is left


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
    for again in (go_on(folder), begin(folder)):  # the same lines: nothing is new
        assert cli.main(again) == 0
        assert "13 lines of" in capsys.readouterr().out
        assert (folder / "stream" / "journal.jsonl").read_bytes() == before


def test_what_a_file_holds_beside_settings_is_refused_or_kept_by_name(folder, capsys):
    arrays, before = dict(np.load(folder / "model.npz")), sorted(folder.iterdir())
    np.savez(folder / "model.npz", **arrays, history=np.arange(5))
    told = refused(capsys, begin(folder))
    assert "model.npz: history is no setting, and may hold something" in told
    assert sorted(folder.iterdir()) == before
    assert cli.main(begin(folder, "stream", "--keep", "history")) == 0
    assert np.load(folder / "stream" / "model.npz")["history"].tolist() == [*range(5)]
    for again in (go_on(folder), begin(folder, "stream", "--keep", "history")):
        assert cli.main(again) == 0
    capsys.readouterr()
    told = refused(capsys, go_on(folder, "stream", "--keep", "other"))
    assert "began with another --keep ['other']" in told


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


def test_what_does_not_fit_the_folder_is_refused(folder, capsys, monkeypatch):
    interop.save_factors(folder / "other.npz", trained(2)[1], settings=SAVED)
    (folder / "huge.csv").write_text(f"user\n{'9' * 5000}\n")
    huge = ["--requests", str(folder / "huge.csv")]
    assert "line 2: user must be an integer, 0 or more; got '999" in refused(
        capsys, begin(folder, "huge", *huge)
    )
    assert "has no stream yet: give --model" in refused(capsys, go_on(folder))
    assert cli.main(begin(folder)) == 0
    for option in ("--tol=0.2", "--budget=1", "--reg=7", "--threshold=3", "--repeats=sum"):
        told = refused(capsys, go_on(folder, "stream", option))
        assert f"began with another {option.replace('=', ' ')}" in told
    told = refused(capsys, go_on(folder, "stream", "--model", str(folder / "other.npz")))
    assert "began with another --model: it goes on as it began" in told
    same = ["--tol=0.1", "--budget=0.01", "--model", str(folder / "model.npz")]
    assert cli.main(go_on(folder, "stream", *same)) == 0
    capsys.readouterr()
    with monkeypatch.context() as patched:
        patched.setattr(_beginning, "_given", lambda args: {})
        patched.setattr(_state, "HOW", (*_state.HOW, "what a later version writes"))
        assert "of an earlier version" in refused(capsys, go_on(folder))
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
    assert "line 2: expected 2 columns (user, item), got 1: '1'" in refused(capsys, go_on(folder))
    (folder / "requests.csv").write_text("person\n1\n")
    assert "line 1: must be user, item, or user,item" in refused(capsys, go_on(folder))
    for option, words in (("--tol=2", "--tol must lie"), ("--budget=0", "--budget must be")):
        assert words in refused(capsys, begin(folder, "other", option))
    assert not (folder / "other").exists()


def erased(folder, out="stream"):
    rows = interop.load_factors(folder / out / "model.npz").users
    return set(np.flatnonzero(~rows.any(axis=1)).tolist())


def asks(folder, *lines, end="\n"):
    (folder / "requests.csv").write_text("\n".join(["user", *map(str, lines)]) + end)


def test_a_list_may_grow_and_another_one_may_follow(folder, capsys):
    asks(folder, 1, 2, 3)
    assert cli.main(begin(folder)) == 0
    asks(folder, 7, 8)  # shorter than what the journal has
    assert cli.main(go_on(folder)) == 0
    asks(folder, 10, 11, 12, 13, 14)
    assert cli.main(go_on(folder)) == 0
    asks(folder, 7, 8, 9)
    assert cli.main(go_on(folder)) == 0
    assert "2 lines of" in capsys.readouterr().out
    assert erased(folder) == {1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 14}


def test_all_lines_of_standard_input_are_met_and_a_bad_one_ends_it(folder, capsys, monkeypatch):
    def pipe(text):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        arguments = begin(folder) if not (folder / "stream").exists() else go_on(folder)
        arguments[arguments.index("--requests") + 1] = "-"
        return cli.main(arguments)

    assert pipe("user\n1\n2\n") == 0
    assert pipe("user\n1\n3\n\n4\n") == 0
    assert erased(folder) == {1, 2, 3, 4}
    assert pipe("user\nx\n") == 2
    assert "line 2: user must be an integer, 0 or more; got 'x'" in capsys.readouterr().err
    assert pipe("user\n5\nx\n6\n") == 1
    assert "got 'x': it stopped there" in capsys.readouterr().err
    assert pipe("user\n7\n8") == 1
    assert "line 3 of - has no end, so it may be half written" in capsys.readouterr().err
    assert erased(folder) == {1, 2, 3, 4, 5, 7}


def test_a_line_without_its_end_waits_for_it(folder, capsys):
    asks(folder, 1, 2, end="")
    assert cli.main(begin(folder)) == 1
    assert "line 3 of" in capsys.readouterr().err and erased(folder) == {1}
    asks(folder, 1, 23)
    assert cli.main(go_on(folder)) == 0
    assert erased(folder) == {1, 23}


def test_a_bad_line_of_a_file_is_refused_before_any_is_met(folder, capsys):
    asks(folder, 1, "", 2, "2.5")
    assert "line 5: user must be an integer" in refused(capsys, begin(folder))
    assert erased(folder) == set()
    asks(folder, " 1", "", "+2", "003", 99)
    assert cli.main(go_on(folder)) == 0
    assert "1 lines name nothing that the model learnt from" in capsys.readouterr().out
    assert erased(folder) == {1, 2, 3}


def test_a_row_that_is_not_the_one_of_its_id_is_refused_by_a_stream_too(tmp_path, capsys):
    n_users, n_items = 600, 40
    liked = np.random.default_rng(5).permuted(np.tile(np.arange(n_items), (n_users, 1)), axis=1)
    users, items = np.repeat(np.arange(n_users), 6), liked[:, :6].ravel()
    sizes = {"n_users": n_users, "n_items": n_items}
    train = layout.build(users, items, np.ones(len(users)), **sizes)
    model = models.load("ials")(dim=D, max_sweeps=100, **HOW)
    served = model.fit(jax.random.key(0), train, jnp.ones_like(train.values))[0]
    interop.save_factors(tmp_path / "model.npz", served, settings=SAVED)
    data = scipy.sparse.csr_matrix((np.ones(len(users)), (users, items)), shape=(n_users, n_items))
    scipy.sparse.save_npz(tmp_path / "data.npz", data)
    ids = np.arange(n_users)
    ids[[3, 8]] = 8, 3
    (tmp_path / "users.csv").write_text("\n".join(["user", *map(str, ids)]) + "\n")
    where = ["--users", str(tmp_path / "users.csv")]
    asks(tmp_path, 5, 3)
    assert "1 of the 2 users that the list" in refused(capsys, begin(tmp_path, "stream", *where))
    assert erased(tmp_path) == set()
    asks(tmp_path, 5)
    assert cli.main(go_on(tmp_path, "stream", *where)) == 0
    assert erased(tmp_path) == {5}
    asks(tmp_path, 3)
    assert cli.main(begin(tmp_path, "trusted", *where, "--trust")) == 0
    assert erased(tmp_path, "trusted") == {8}


def test_a_stream_does_not_begin_with_the_interactions_of_who_was_erased_before(folder, capsys):
    asks(folder, 3)
    assert cli.main(begin(folder, "first")) == 0
    (folder / "model.npz").write_bytes((folder / "first" / "model.npz").read_bytes())
    asks(folder, 8)
    assert "has interactions of 1 users whose rows in" in refused(capsys, begin(folder))
    assert not (folder / "stream").exists()
    assert cli.main(begin(folder, "stream", "--trust")) == 0


@pytest.fixture
def other(folder):
    """Two streams of one beginning that met other requests, and one of another table."""
    for out, asked in (("stream", [3]), ("other", [5, 6])):
        asks(folder, *asked)
        assert cli.main(begin(folder, out)) == 0
    return folder


def test_a_state_a_journal_and_a_table_of_another_stream_are_refused(other, capsys):
    folder, stream = other, other / "stream"
    honest = {name: (stream / name).read_bytes() for name in _stream.PARTS}
    theirs = {name: (folder / "other" / name).read_bytes() for name in _stream.PARTS}
    asks(folder, 3)
    assert cli.main(begin(folder, "looser", "--tol=0.2")) == 0
    third = {name: (folder / "looser" / name).read_bytes() for name in _stream.PARTS}
    labels = dict(np.load(stream / "table.npz"))
    labels["user_labels"] = labels["user_labels"].copy()
    labels["user_labels"][[10, 11]] = 11, 10
    np.savez(folder / "labels.npz", **labels)
    edited = honest["journal.jsonl"].replace(b'"user": [3]', b'"user": [7]')
    wrong = "lines were lost|line 1: is not the request that state.npz has met"
    cases = [
        ("state.npz", theirs["state.npz"], "lines were lost"),
        ("state.npz", third["state.npz"], "line 1: does not follow the beginning of this stream"),
        ("journal.jsonl", edited, wrong),
        ("journal.jsonl", theirs["journal.jsonl"], wrong),
        ("journal.jsonl", third["journal.jsonl"], "does not follow the beginning of this stream"),
        ("table.npz", (folder / "labels.npz").read_bytes(), "not the table with which the stream"),
    ]
    for name, content, words in cases:
        (stream / name).write_bytes(content)
        told = refused(capsys, go_on(folder))
        assert any(word in told for word in words.split("|")), (name, told)
        (stream / name).write_bytes(honest[name])
    asks(folder, 5)  # with one more request met: the state of the other stream still does not fit
    assert cli.main(go_on(folder)) == 0
    honest = {name: (stream / name).read_bytes() for name in _stream.PARTS}
    for name in ("state.npz", "journal.jsonl"):
        (stream / name).write_bytes(theirs[name])
        assert "is not the request that state.npz has met" in refused(capsys, go_on(folder))
        (stream / name).write_bytes(honest[name])
    assert cli.main(go_on(folder)) == 0 and erased(folder) == {3, 5}


def test_a_journal_of_another_stream_does_not_begin_one(folder, capsys):
    asks(folder)
    assert cli.main(begin(folder)) == 0  # no request is met yet
    asks(folder, 3)
    assert cli.main(begin(folder, "other", "--tol=0.2")) == 0
    journal = (folder / "other" / "journal.jsonl").read_bytes()
    (folder / "stream" / "journal.jsonl").write_bytes(journal)
    assert "line 1: does not follow the beginning of this" in refused(capsys, go_on(folder))


def test_a_damaged_state_is_one_error_and_nothing_is_filled_in(folder, capsys):
    asks(folder, 3)
    assert cli.main(begin(folder)) == 0
    path = folder / "stream" / "state.npz"
    state = dict(np.load(path))
    damaged = {"weights": state["weights"][:-1], "done": np.array(-1), "how": state["how"][:20]}
    damaged |= {"unfit_user": state["unfit_user"][1:], "rest_item": state["rest_item"][1:]}
    plain, _, settings = state["how"].tobytes().partition(b"\n")
    cut = plain + b"\n" + settings[:9]
    cases = [(state | {name: value}, "") for name, value in damaged.items()]
    cases += [(state | {"how": np.frombuffer(cut, np.uint8)}, "")]
    cases += [({n: x for n, x in state.items() if n != name}, f"lacks {name}") for name in state]
    for arrays, words in cases:
        np.savez(path, **arrays)
        told = refused(capsys, go_on(folder))
        assert "state.npz" in told and words in told
    np.savez(path, **state)
    assert cli.main(go_on(folder)) == 0 and erased(folder) == {3}


@pytest.mark.parametrize(
    "named",
    ['"user": ["3"]', '"user": [99]', '"who": [3]', '"user": 3', '"user": [3.7]', '"user": [true]',
     '"user": [4294967299]', '"user": [-1]', '"user": [3], "item": []', '"user": [3], "who": 1'],
)  # fmt: skip
def test_a_line_of_the_journal_that_is_no_request_is_refused(named, folder, capsys):
    asks(folder, 5)
    assert cli.main(begin(folder)) == 0
    journal = folder / "stream" / "journal.jsonl"
    line = journal.read_text()
    entry = json.loads(line.replace('"user": [5]', named))
    entry |= {"request": 2, "follows": _journal.digest(json.loads(line))}
    journal.write_text(line + json.dumps(entry) + "\n")
    assert "line 2: is no request of this stream" in refused(capsys, go_on(folder))


@pytest.mark.slow
def test_a_model_in_16_bits_is_served_too(folder, capsys):
    factors = interop.load_factors(folder / "model.npz")
    rows = {f"{side[:-1]}_factors": np.float16(x) for side, x in factors._asdict().items()}
    np.savez(folder / "model.npz", **rows, **SAVED)
    asks(folder, 3)
    assert cli.main(begin(folder)) == 0
    assert erased(folder) == {3}
    assert interop.load_factors(folder / "stream" / "model.npz").users.dtype == np.float16


def test_what_is_interrupted_while_it_is_met_is_met_again(folder, monkeypatch, capsys):
    how = ["--check=2", "--budget=1e-9"]
    asks(folder, 1, 2, 3)
    assert cli.main(begin(folder, "whole", *how)) == 0

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(erase.Session, "retrain", interrupt)
        assert cli.main(begin(folder, "stream", *how)) == 130
    assert cli.main(begin(folder, "stream", *how)) == 0
    for name in ("model.npz", "state.npz"):
        one, other = (folder / out / name for out in ("stream", "whole"))
        assert one.read_bytes() == other.read_bytes(), name

    def fail(*args):
        raise ValueError("a session: the update is not finite: retrain the model")

    asks(folder, 1, 2, 3, 4)
    monkeypatch.setattr(erase.Session, "erase", lambda self, **named: fail())
    capsys.readouterr()
    told = refused(capsys, begin(folder, "stream", *how))
    assert "request 4, which is in the journal: a session" in told


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "name",
    ["model.npz", "model.safetensors", "table.npz", "receipt.json", "report.html", "notes.txt"],
)
def test_a_stream_does_not_begin_among_the_files_of_something_else(name, folder, capsys):
    site = folder / "site"
    site.mkdir()
    (site / name).write_bytes(b"of somebody else")
    told = refused(capsys, begin(folder, "site"))
    assert f"site has {name}: a stream begins in a folder of its own" in told
    assert contents(site) == {name: b"of somebody else"}


def test_a_stream_does_not_begin_where_its_inputs_lie(folder, capsys, monkeypatch):
    site = folder / "site"
    site.mkdir()
    (folder / "link").symlink_to(site)
    asked = folder / "requests.csv"
    for name in ("model", "data"):
        (folder / f"{name}.npz").rename(site / f"{name}.npz")
    before = contents(site)
    inputs = ["--model", str(site / "model.npz"), "--interactions", str(site / "data.npz")]
    for out in ("site", "link"):
        words = ["serve-requests", str(folder / out), *inputs, "--requests", str(asked)]
        told = refused(capsys, words)
        assert f"site/model.npz lies in {folder / out}, where the stream writes" in told
        assert contents(site) == before
    monkeypatch.chdir(site)
    words[1], words[3] = ".", "model.npz"
    told = refused(capsys, words)
    assert "--model model.npz lies in ., where" in told
    assert contents(site) == before


def test_a_stream_begins_in_an_empty_folder_and_where_a_first_call_was_killed(
    folder, capsys, monkeypatch
):
    asks(folder, 3)
    (folder / "stream").mkdir()
    (folder / "stream" / ".lock").touch()
    for moment in (0, 1, 2):  # before the table, the model and the state
        assert killed_at(folder, moment, monkeypatch, begin(folder))
        assert not (folder / "stream" / "state.npz").exists()
    assert cli.main(begin(folder)) == 0
    assert set(contents(folder / "stream")) == {".lock", "model.npz", *_stream.PARTS}
    assert erased(folder) == {3}


def test_of_two_processes_that_begin_a_stream_the_later_one_is_refused(folder, capsys, monkeypatch):
    asks(folder, 3)
    of, mine = _beginning.of, []

    def read_slowly(args):
        found = of(args)
        if not mine:  # the other begins, meets its request and ends while this one reads
            mine.append(found)
            assert cli.main(begin(folder)) == 0
        return found

    monkeypatch.setattr(_beginning, "of", read_slowly)
    assert "has journal.jsonl, model.npz, state.npz, ...: a" in refused(capsys, begin(folder))
    assert erased(folder) == {3}


def test_a_stream_keeps_something_to_serve(folder, capsys, monkeypatch):
    def pipe(*lines):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(["user", *map(str, lines)]) + "\n"))
        arguments = go_on(folder)
        arguments[arguments.index("--requests") + 1] = "-"
        return arguments

    everybody = np.unique(USERS).tolist()
    told = "names every interaction: there is nothing to serve then"
    for batch in ("--batch=1", f"--batch={len(everybody)}"):
        asks(folder, *everybody)
        assert told in refused(capsys, begin(folder, batch, batch))
        assert not (folder / batch / "journal.jsonl").exists() and erased(folder, batch) == set()
    asks(folder, *everybody[:-1])
    assert cli.main(begin(folder, "stream", "--batch=99")) == 0
    before = (folder / "stream" / "journal.jsonl").read_bytes()
    asks(folder, *everybody)  # the list has grown by who is left
    assert told in refused(capsys, go_on(folder))
    assert told in refused(capsys, pipe(everybody[-1]))
    assert (folder / "stream" / "journal.jsonl").read_bytes() == before
    assert cli.main(pipe(everybody[0], everybody[-1])) == 1
    assert f"{told}: it stopped there" in capsys.readouterr().err
    assert erased(folder) == set(everybody[:-1])
