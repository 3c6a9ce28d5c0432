"""``verify`` and ``keygen``: what they print and demand, and one line for any damage."""

import argparse
import io
import json
import os
import stat
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_receipts import FORGET, GONE, KEPT, OBJECTIVE, TOL, TRAIN, forge
from test_receipts import issued as issued  # the fixtures
from test_receipts import models as models

from experiments import cli
from experiments.commands import _receipt_files, keygen, verify
from experiments.errors import Refused
from jaxforget.als.certificate import receipt, signing

NAMES = ("receipt.json", "factors.npz", "retained.npz", "request.csv", "before.npz")


@pytest.fixture(scope="module")
def folder(issued, models, tmp_path_factory):
    before, after = models
    path = tmp_path_factory.mktemp("receipt")
    verify.save(path, issued, after, TRAIN, FORGET.after, before=before, request=FORGET)
    return path


def arguments(folder, *more):
    files = [str(folder / name) for name in NAMES]
    return [*files[:3], "--request", files[3], "--before", files[4], *more]


@pytest.fixture
def copied(folder, tmp_path):
    for name in NAMES:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path


def test_it_says_what_is_verified_of_what_and_what_is_not(folder, issued, capsys):
    assert verify.main(arguments(folder, "--seed", "7")) == 0
    told = capsys.readouterr().out
    lines = told.splitlines()
    assert lines[0].startswith("verified  |M - M*| <= ") and "(promised 0.0001)" in lines[0]
    assert "chance of error 1e-09 for your seed 7" in lines[0]
    assert lines[1] == "objective reg 2, alpha 1, nu 0, unobserved 0"
    kept = int((~GONE).sum())
    shape = "14 users, 11 items"
    assert lines[2] == f"data      {kept} interactions, {shape}, {issued['retained']}"
    assert lines[3].startswith(f"forgotten {int(GONE.sum())} pairs; with them in the data")
    assert "over the rows of the request |M - M*| <= " in told and "unlearnt by a factor of" in told
    assert lines[-2:] == [
        "signed    by nobody",
        "unproved  version: the issuer's own word",
    ]


def test_without_the_request_nothing_is_called_forgotten(folder, capsys):
    assert verify.main(arguments(folder)[:3]) == 0
    told = capsys.readouterr().out
    assert "NOT shown to be forgotten" in told and "unlearnt" not in told
    assert "unproved  request, kept" in told and "unproved  before" in told


@pytest.mark.parametrize("value, kept", [("3.7", np.float32(3.7)), ("3.8", 3.8), ("1e300", 1e300)])
def test_values_of_the_request_may_be_those_before_the_issuer_rounded_them(tmp_path, value, kept):
    issued = receipt.hash_pairs([3], [27], np.array([3.7], np.float32))
    (tmp_path / "mine.csv").write_text(f"user,item,value\n3,27,{value}\n")
    args = argparse.Namespace(request=tmp_path / "mine.csv")
    found = verify._request(args, {"request": {"data": issued}})
    assert found[2].tolist() == [kept]


def test_an_untouched_model_is_not_verified(models, tmp_path, capsys):
    before, _ = models
    given = {"before": before, "objective": OBJECTIVE, "seed": 5, "version": "1"}
    forged = receipt.state(before, TRAIN, FORGET, tol=0.9, **given)
    verify.save(tmp_path, forged, before, TRAIN, FORGET.after, before=before, request=FORGET)
    assert verify.main(arguments(tmp_path)) == 1
    assert "FAILED   doing nothing meets the tolerance" in capsys.readouterr().out


@pytest.mark.parametrize(
    "demand, words",
    [
        (["--tol", "1e-9"], "tol 0.0001 was promised; you demand 1e-09"),
        (["--tol", "nan"], "you demand nan"),
        (["--reg", "30"], "reg of the objective is 2.0; you demand 30.0"),
        (["--alpha", "nan"], "alpha of the objective is 1.0"),
        (["--nu", "1"], "nu of the objective is 0.0"),
        (["--unobserved", "1"], "unobserved of the objective"),
        (["--retained", "0" * 64], "you demand another"),
        (["--signer", "sha256:" + "0" * 64], "signed by nobody; you demand sha256:0"),
    ],
)
def test_what_is_demanded_and_not_there_fails(folder, capsys, demand, words):
    assert verify.main(arguments(folder, *demand)) == 1
    assert words in capsys.readouterr().out


def test_what_is_demanded_and_there_is_verified(folder, issued, capsys):
    demands = ["--tol", "1e-4", "--reg", "2", "--alpha", "1", "--nu", "0", "--unobserved", "0"]
    demands += ["--retained", issued["retained"], "--proof", "cholesky"]
    assert verify.main(arguments(folder, *demands)) == 0
    assert "cholesky, chance of error 0 " in capsys.readouterr().out


@pytest.mark.parametrize(
    "setting, value",
    [
        ("--failure", "1e12"),
        ("--failure", "nan"),
        ("--steps", "0"),
        ("--width", "-1"),
        ("--seed", "-1"),
        ("--seed", str(2**70)),
        ("--proof", "hope"),
        ("--signer", "nowhere.pub"),
    ],
)
def test_settings_of_the_verifier_are_checked(folder, capsys, setting, value):
    assert cli.main(["verify", *arguments(folder, setting, value)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_key_is_made_signs_and_is_demanded(copied, issued, capsys):
    pytest.importorskip("cryptography")
    key = copied / "key"
    assert keygen.main([str(key)]) == 0
    fingerprint = capsys.readouterr().out.splitlines()[0]
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    signed = signing.sign(issued, key.read_bytes())
    (copied / "receipt.json").write_text(json.dumps(signed))
    assert verify.main(arguments(copied, "--signer", f"{key}.pub")) == 0
    assert f"signed    by {fingerprint}\n" in capsys.readouterr().out
    assert verify.main(arguments(copied, "--signer", fingerprint)) == 0
    other = copied / "other"
    keygen.main([str(other)])
    assert verify.main(arguments(copied, "--signer", f"{other}.pub")) == 1
    (copied / "receipt.json").write_text(json.dumps(forge(signed, ("version",), "2")))
    assert verify.main(arguments(copied)) == 1
    assert "the signature does not belong to this receipt" in capsys.readouterr().out
    content = key.read_bytes()
    assert cli.main(["keygen", str(key)]) == 2 and key.read_bytes() == content
    assert "is there already" in capsys.readouterr().err
    (copied / "half.pub").write_text("somebody's")
    assert cli.main(["keygen", str(copied / "half")]) == 2
    assert not (copied / "half").exists()
    assert cli.main(["keygen", "."]) == 2 and "names no file" in capsys.readouterr().err
    assert cli.main(["keygen", str(copied / "nowhere" / "key")]) == 2
    with pytest.raises(Refused):
        verify.main(arguments(copied, "--signer", str(key)))


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def columns(**changes):
    one = {name: np.asarray(getattr(KEPT, name)) for name in ("users", "items", "values")}
    return npz(**one | {"shape": np.array([14, 11])} | changes)


LINES = "\n".join(f"{u},{i}" for u, i in zip(TRAIN.users[GONE], TRAIN.items[GONE]))
DAMAGED = [
    ("receipt.json", b""),
    ("receipt.json", b"{}"),
    ("receipt.json", b"[1, 2]"),
    ("receipt.json", b"[" * 100_000),
    ("receipt.json", b"\xff\xfe{\x00}\x00"),
    ("receipt.json", b'{"schema": 2, "schema": 2}'),
    ("receipt.json", b'{"schema": NaN}'),
    ("receipt.json", b'{"schema": ' + b"9" * 10_000 + b"}"),
    ("factors.npz", b""),
    ("factors.npz", b"no archive"),
    ("factors.npz", npz(user_factors=np.ones((14, 11)))),
    ("factors.npz", npz(user_factors=np.ones((14, 11)), item_factors=np.full((11, 11), np.nan))),
    ("factors.npz", npz(user_factors=np.ones((14, 11)) * 1j, item_factors=np.ones((11, 11)))),
    ("factors.npz", npz(user_factors=np.full((14, 11), "a"), item_factors=np.ones((11, 11)))),
    ("factors.npz", npz(user_factors=np.ones((13, 11)), item_factors=np.ones((11, 11)))),
    ("factors.npz", npz(user_factors=np.ones((14, 11), int), item_factors=np.ones((11, 11), int))),
    ("before.npz", b"PK\x05\x06"),
    ("retained.npz", columns(users=np.full(len(KEPT.users), 1e20))),
    ("retained.npz", columns(users=np.full(len(KEPT.users), 2**63, np.uint64))),
    ("retained.npz", columns(users=np.full(len(KEPT.users), 14))),
    ("retained.npz", columns(shape=np.array([2**40, 11]))),
    ("retained.npz", columns(shape=np.array([14.0, 11.0]))),
    ("retained.npz", columns(shape=np.array(14))),
    ("retained.npz", columns(values=np.full(len(KEPT.users), "5"))),
    ("retained.npz", columns(values=np.full(len(KEPT.users), np.inf))),
    ("retained.npz", columns(values=np.ones(3))),
    ("retained.npz", columns(more=np.ones(3))),
    ("retained.npz", columns()[:-200]),
    ("retained.npz", columns(users=np.array([print] * len(KEPT.users), object))),
    ("request.csv", b""),
    ("request.csv", b"user;item\n1;2\n"),
    ("request.csv", b"user,item\n1,2,3\n"),
    ("request.csv", b"user,item\n1\n"),
    ("request.csv", b"user,item\n1e20,3\n"),
    ("request.csv", b"user,item\n100000000000000000000,3\n"),
    ("request.csv", b"user,item\n-1,3\n"),
    ("request.csv", b"user,item\n1_0,3\n"),
    ("request.csv", b'user,item\n"1,3\n'),
    ("request.csv", b"user,item,value\n1,3,nan\n"),
    ("request.csv", b"user,item,value\n1,3,five\n"),
    ("request.csv", "user,item\n1,3\n".encode("utf-16")),
]


@pytest.mark.parametrize("name, content", DAMAGED)
def test_any_damage_is_one_line_and_exit_code_2(copied, capsys, name, content):
    (copied / name).write_bytes(content)
    assert cli.main(["verify", *arguments(copied)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert captured.err.startswith("error: cannot") or copied.name in captured.err


def test_a_missing_file_and_a_folder_are_one_line(copied, capsys):
    for name in NAMES:
        (copied / name).unlink()
        assert cli.main(["verify", *arguments(copied)]) == 2
        (copied / name).mkdir()
        assert cli.main(["verify", *arguments(copied)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2 * len(NAMES)


def test_an_archive_that_unpacks_to_far_too_much_is_not_unpacked(copied, capsys, monkeypatch):
    monkeypatch.setattr(_receipt_files, "LARGEST", 1000)
    assert cli.main(["verify", *arguments(copied)]) == 2
    assert "are read at most" in capsys.readouterr().err


def test_a_mark_of_the_byte_order_and_other_line_ends_change_nothing(copied):
    for name in ("receipt.json", "request.csv"):
        text = (copied / name).read_bytes()
        (copied / name).write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    assert verify.main(arguments(copied)) == 0


def contents(folder, name):
    """What a file says, whatever its bytes."""
    path = folder / name
    if name.endswith("npz"):
        with np.load(path) as archive:
            return {key: archive[key].tolist() for key in archive.files}
    if name.endswith("json"):
        return json.loads(path.read_text())
    return [column.tolist() for column in _receipt_files.request(path)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
    cut=st.booleans(),
)
def test_random_damage_never_verifies_anything_else(folder, copied, name, place, bit, cut):
    whole = (folder / name).read_bytes()
    position = int(place * len(whole))
    damaged = bytearray(whole[:position] if cut else whole)
    if not cut:
        damaged[position] ^= 1 << bit
    (copied / name).write_bytes(damaged)
    try:
        code = verify.main(arguments(copied))
    except Refused as fault:
        assert len(str(fault)) < 1000
    else:
        assert code == 1 or contents(copied, name) == contents(folder, name)
    finally:
        (copied / name).write_bytes(whole)


def test_what_is_saved_is_whole_and_holds_no_more_than_asked(issued, models, tmp_path):
    _, after = models
    verify.save(tmp_path, issued, after, TRAIN, FORGET.after)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES[:3])
    with zipfile.ZipFile(tmp_path / "factors.npz") as archive:
        assert archive.testzip() is None
    assert issued["promise"]["tol"] == TOL
