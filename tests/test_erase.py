"""``erase``: from a served model, its table and a request to the model without it, and a report."""

import argparse
import csv
import dataclasses
import gzip
import html.parser
import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from experiments import cli, files
from experiments.commands import _erased, _served_table, _updates
from jaxforget import als, data, erase, models
from jaxforget.als.certificate.digests import hash_arrays, hash_data
from jaxforget.prepare import interop, preprocess
from jaxforget.sparse import layout
from jaxforget.types import Factors

U, I, D = 40, 30, 6
HOW = {"reg": 4.0, "alpha": 3.0}
SAVED = {"regularization": 4.0, "alpha": 3.0, "iterations": 8, "factors": D, "use_cg": False}


def cells():
    """Users like items of their own half, so that a wrong numbering shows."""
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(U * I)[:700], I)
    kept = (users % 2 == items % 2) | (rng.random(700) < 0.1)
    return users[kept], items[kept], rng.integers(1, 4, int(kept.sum())).astype(np.float32)


USERS, ITEMS, VALUES = cells()
TRAIN = layout.build(USERS, ITEMS, VALUES, n_users=U, n_items=I)


@pytest.fixture(scope="module")
def served():
    """A model that was trained for eight passes, in float32."""
    model = models.load("ials")(dim=D, max_sweeps=8, **HOW)
    train = dataclasses.replace(TRAIN, values=TRAIN.values.astype(jnp.float32))
    return model.fit(jax.random.key(0), train, jnp.ones_like(train.values))[0]


@pytest.fixture
def folder(served, tmp_path):
    interop.save_factors(tmp_path / "model.npz", served, settings=SAVED)
    data = scipy.sparse.csr_matrix((VALUES, (USERS, ITEMS)), shape=(U, I))
    scipy.sparse.save_npz(tmp_path / "data.npz", data)
    (tmp_path / "request.csv").write_text("user\n3\n8\n")
    return tmp_path


def command(folder, *more, model="model.npz", data="data.npz", request="request.csv", out="out"):
    files = [str(folder / name) for name in (model, data, request)]
    return cli.main(["erase", *files, "--out", str(folder / out), *more])


def refused(capsys, folder, *more, **files):
    """Runs what must be refused; nothing is written; returns the one line."""
    before = sorted(folder.iterdir())
    assert command(folder, *more, **files) == 2
    assert sorted(folder.iterdir()) == before
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    return error


def report(folder, out="out"):
    return json.loads((folder / out / "report.json").read_text())


def letters(number):
    """Ids as text whose order is not that of the numbers."""
    return f"id-{(number * 7) % 41:02d}"


def written(folder, kind):
    """The table in one of its formats, and the options to read it with."""
    rows = list(zip(USERS.tolist(), ITEMS.tolist(), VALUES.tolist()))
    if kind == "csv":
        lines = ["who,what,much", *(f"{u},{i},{v}" for u, i, v in rows)]
        (folder / "data.csv").write_text("\n".join(lines))
        return "data.csv", ["--columns", "user=who,item=what,value=much"]
    if kind == "gz":
        lines = ["user\titem\tvalue", *(f"{u}\t{i}\t{v}" for u, i, v in rows)]
        (folder / "data.tsv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
        return "data.tsv.gz", []
    if kind == "dat":
        (folder / "data.dat").write_text("\n".join(f"{u}::{i}::{v}" for u, i, v in rows))
        return "data.dat", []
    if kind == "inter":
        lines = ["user_id:token\titem_id:token\trating:float"]
        (folder / "data.inter").write_text(
            "\n".join([*lines, *(f"{u}\t{i}\t{v}" for u, i, v in rows)])
        )
        for side, size in (("users", U), ("items", I)):
            (folder / side).write_text("\n".join(["id", *map(str, range(size))]))
        return "data.inter", [f"--{s}={folder / s}" for s in ("users", "items")]
    if kind == "parquet":
        pytest.importorskip("pyarrow")
        import pandas as pd

        frame = pd.DataFrame({"user": USERS, "item": ITEMS, "value": VALUES})
        frame.to_parquet(folder / "data.parquet")
        return "data.parquet", []
    return "data.npz", []


@pytest.mark.parametrize("kind", ["npz", "csv", "gz", "dat", "inter", "parquet"])
def test_the_model_comes_back_without_the_users_whatever_the_table_is(kind, folder, served, capsys):
    data, more = written(folder, kind)
    assert command(folder, *more, data=data) == 0
    new = interop.load_factors(folder / "out" / "model.npz")
    assert new.users.dtype == np.float32
    np.testing.assert_array_equal(new.users[[3, 8]], 0)
    assert (np.abs(new.users).sum(axis=1) > 0).sum() == U - 2
    settings = interop.load_settings(folder / "out" / "model.npz")
    assert {name: settings[name].item() for name in SAVED} == SAVED
    gone = np.isin(TRAIN.users, (3, 8))
    found = report(folder)
    assert found["request"]["interactions"] == gone.sum() and found["request"]["kind"] == "users"
    assert found["retained"]["sha256"] == hash_data(TRAIN, ~gone)
    assert found["zero"] == {
        "users_emptied": 2,
        "users_zero": 2,
        "items_emptied": 0,
        "items_zero": 0,
    }
    assert found["certified"] is False and "ids" not in found["request"]
    told = capsys.readouterr().out
    assert f"{gone.sum():,} of {len(USERS):,} interactions to be erased" in told
    assert "The model is not certified" in told
    assert "The model is not certified" in (folder / "out" / "report.html").read_text()


def test_the_page_is_whole_and_shows_what_the_report_holds(folder):
    (folder / "request.csv").write_text(f"user,item\n{USERS[0]},{ITEMS[0]}\n")
    more = ["--name-ids", "--keep-served-until", "2026-12-31 <b>", "--method", "local"]
    assert command(folder, *more) == 0
    page, found = (folder / "out" / "report.html").read_text(), report(folder)
    opened = []

    class Tags(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag != "meta":
                opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Tags().feed(page)
    assert not opened and "$" not in page and "<b>" not in page
    for fact in (
        found["request"]["sha256"],
        found["retained"]["sha256"],
        found["model"]["after"],
        *found["files"].values(),
        found["method"]["claim"],
        "2026-12-31",
        "<td>nobody lost everything</td>",
    ):
        assert fact in page
    assert found["keep_served_until"] == "2026-12-31 <b>"
    assert found["request"]["ids"] == {"users": [int(USERS[0])], "items": [int(ITEMS[0])]}


def test_text_ids_are_numbered_as_the_model_numbers_them(folder):
    """Against the same request by row numbers."""
    sorted_users = sorted(range(U), key=letters)  # row r of the model is user sorted_users[r]
    name = {row: letters(number) for row, number in enumerate(sorted_users)}
    lines = [f"{name[u]},i{i:02d},{v}" for u, i, v in zip(USERS, ITEMS, VALUES)]
    (folder / "data.csv").write_text("\n".join(["user,item,value", *lines]))
    (folder / "named.csv").write_text(f"user\n{name[3]}\n{name[8]}\n")
    assert command(folder, "--ids", "sorted", data="data.csv", request="named.csv") == 0
    assert command(folder, out="plain") == 0
    one, other = (interop.load_factors(folder / out / "model.npz") for out in ("out", "plain"))
    np.testing.assert_array_equal(one.users, other.users)
    assert report(folder)["request"] == report(folder, "plain")["request"]


def test_a_numbering_that_is_not_the_models_is_refused_and_nobody_is_forgotten(folder, capsys):
    lines = [f"u{u:02d},i{i:02d},{v}" for u, i, v in zip(USERS, ITEMS, VALUES)]
    (folder / "data.csv").write_text("\n".join(["user,item,value", *lines]))
    (folder / "named.csv").write_text("user\nu03\n")
    assert "text: say how" in refused(capsys, folder, data="data.csv", request="named.csv")
    error = refused(capsys, folder, "--ids", "appearance", data="data.csv", request="named.csv")
    assert "is no model of" in error and "--ids" in error
    assert (
        command(folder, "--ids", "appearance", "--trust", data="data.csv", request="named.csv") == 0
    )


def test_two_exchanged_ids_in_a_file_of_ids_do_not_forget_somebody_else(folder, capsys):
    """Where the model as a whole still fits."""
    model = models.load("ials")(dim=D, max_sweeps=200, **HOW)
    train = dataclasses.replace(TRAIN, values=TRAIN.values.astype(jnp.float32))
    served = model.fit(jax.random.key(0), train, jnp.ones_like(train.values))[0]
    interop.save_factors(folder / "model.npz", served, settings=SAVED)
    ids = list(range(U))
    for exchanged, code in ((False, 0), (True, 2)):
        if exchanged:
            ids[3], ids[8] = ids[8], ids[3]
        (folder / "ids.csv").write_text("\n".join(["id", *map(str, ids)]))
        (folder / "request.csv").write_text("user\n3\n")
        more = ["--users", str(folder / "ids.csv")]
        assert command(folder, *more, out=f"out{code}") == code
    error = capsys.readouterr().err
    assert "is no model of" in error or "1 of the 1 users that" in error
    (folder / "ids.csv").write_text("\n".join(["id", "07", "7", *map(str, range(2, U))]))
    assert "an id is there twice" in refused(capsys, folder, *more)
    for line in ("1_0", "٣", "5.0", "9" * 25):
        (folder / "ids.csv").write_text("\n".join(["id", line, *map(str, range(1, U))]))
        told = refused(capsys, folder, *more)
        assert f"ids.csv, line 2: an id must be an integer; got '{line}'" in told


def test_exchanged_ids_are_found_where_all_rows_are_much_alike_and_rows_left_behind_are_not():
    ratings = data.read("movietweetings", None)
    train = data.encode(preprocess.binarise(ratings, threshold=8.0))[0]
    ones = jnp.ones_like(train.values)
    model = models.load("ials")(dim=16, reg=30.0, alpha=1.0, max_sweeps=15)
    factors = jax.jit(model.fit)(jax.random.key(0), train, ones)[0]
    assert not any(side.any() for side in _erased.unfit(model, train, factors))
    users, items = np.asarray(train.users), np.asarray(train.items)
    sizes = {"n_users": train.n_users, "n_items": train.n_items}
    a, b = 1752, 241  # out by a thirtieth when exchanged, where the usual row is by a millionth
    swap = {a: b, b: a}
    theirs = np.array([swap.get(user, user) for user in users.tolist()])
    wrong = _erased.unfit(model, layout.build(theirs, items, train.values, **sizes), factors)
    assert np.flatnonzero(wrong[0]).tolist() == [b, a] and not wrong[1].any()
    # a pair is erased, and rows that are out by less than a tenth are left: nobody is exchanged
    session = erase.Session(model, factors, train)
    row = len(users) // 2
    session.erase(users=[int(users[row])], items=[int(items[row])])
    left = np.asarray(session.weights) > 0
    columns = (users[left], items[left], np.asarray(train.values)[left])
    wrong = _erased.unfit(model, layout.build(*columns, **sizes), session.factors)
    assert not any(side.any() for side in wrong)


ODD = ("Smith, J", 'say "hi"', '"', "a\x85b", "a\u2028b", " u 3 ", "a\x0bb", "\u00e9", "'x'", "007")


def test_files_of_ids_are_read_as_tables_are_and_written_so_that_they_are_read_again(folder):
    names = [*ODD, *(f"u{u:02d}" for u in range(len(ODD), U))]

    def write(name, rows):
        with open(folder / name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    rows = list(zip(USERS.tolist(), ITEMS.tolist(), VALUES.tolist()))
    write("data.csv", [("user", "item", "value"), *((names[u], i, v) for u, i, v in rows)])
    write("users.csv", [("id",), *((name,) for name in names)])
    more = ["--method", "local", "--trust", "--users"]
    for n, name in enumerate((*ODD[:5], "u20")):
        write("request.csv", [("user",), (name,)])
        out = f"out{n}"
        file = str(folder / "users.csv")
        assert command(folder, *more, file, "--drop-rows", data="data.csv", out=out) == 0
        content = (folder / out / "users.csv").read_text(encoding="utf-8")
        read = [row[0] for row in csv.reader(io.StringIO(content, newline=""))]
        assert read == ["id", *(x for x in names if x != name)]
        kept = _served_table._labels(folder / out / "users.csv", False)
        assert kept.tolist() == read[1:]
    assert _served_table._labels(folder / out / "items.csv", True).tolist() == [*range(I)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_plain_files_of_ids_have_one_in_a_line_however_it_is_written(end, tmp_path):
    path, ids = tmp_path / "ids", ["Smith, J", "say hi", "a\u2028b", " b ", 'say "hi"', "007"]
    text = end.join(["\ufeffid", *ids[:3], f'"{ids[3]}"', *ids[4:], ""])
    path.write_bytes(text.encode())
    assert _served_table._labels(path, False).tolist() == ids
    path.write_bytes(end.join(["id", "007", '"8"', "", " 9"]).encode())
    assert _served_table._labels(path, True).tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    "text, words",
    [
        (",id\n0,a\n", "line 1: must have one column, of ids; got ',id'"),
        ('id\n"a\n', "line 2: unexpected end of data"),
        ('id\n"a\nb"\n', "line 2: a quote is not closed on its line"),
        ('id\n""\n', "line 2: id is empty"),
        ("id\na\0\n", "line 2: id holds the character NUL"),
        ("id\n\xff\n", "line 2: not utf-8 text"),
    ],
)
def test_what_is_no_file_of_ids_is_refused_with_its_line(text, words, folder, capsys):
    lines = [f"u{u},{i},{v}" for u, i, v in zip(USERS, ITEMS, VALUES)]
    (folder / "data.csv").write_text("\n".join(["user,item,value", *lines]))
    (folder / "ids.csv").write_bytes(text.encode("latin-1"))
    told = refused(capsys, folder, "--users", str(folder / "ids.csv"), data="data.csv")
    assert f"ids.csv, {words}" in told


def test_who_was_erased_before_is_not_brought_back_by_a_table_that_still_has_them(folder, capsys):
    for asked, kind in (("user\n3\n", "users"), ("item\n5\n", "items")):
        (folder / "request.csv").write_text(asked)
        first, new = f"erased {kind}", f"again {kind}"
        assert command(folder, out=first) == 0
        more = {"model": f"{first}/model.npz", "request": "second.csv", "out": new}
        (folder / "second.csv").write_text("user\n8\n")
        told = refused(capsys, folder, "--method", "retrain", **more)
        number = asked.split()[1]
        assert f"has interactions of 1 {kind} whose rows in" in told and f"are 0 ({number})" in told
        assert "take their interactions out of the table" in told
        rest = (USERS if kind == "users" else ITEMS) != int(number)
        sides = (USERS[rest], ITEMS[rest])
        data = scipy.sparse.csr_matrix((VALUES[rest], sides), shape=(U, I))
        scipy.sparse.save_npz(folder / "clean.npz", data)
        assert command(folder, data="clean.npz", **more) == 0
        again = interop.load_factors(folder / new / "model.npz")
        row = getattr(again, kind)[int(number)]
        np.testing.assert_array_equal(row, 0)
        assert not again.users[8].any()
    # a request for some of the erased person's pairs leaves others, which would do the same
    own = [f"{USERS[row]},{ITEMS[row]}" for row in np.flatnonzero(USERS == 3)]
    (folder / "second.csv").write_text("\n".join(["user,item", *own[:-1]]) + "\n")
    told = refused(capsys, folder, model="erased users/model.npz", request="second.csv")
    assert "has interactions of 1 users whose rows in" in told


def test_rows_of_zeros_that_fit_their_interactions_are_no_sign_of_an_erasure(folder):
    # a person whose interactions count 0, or are with an item whose row is 0, has such a row
    users, items = np.append(USERS[USERS != 3], [3, 3]), np.append(ITEMS[USERS != 3], [0, I])
    values = np.append(VALUES[USERS != 3], [0.0, 0.0]).astype(np.float32)
    train = layout.build(users, items, values, n_users=U, n_items=I + 1)
    model = models.load("ials")(dim=D, max_sweeps=8, **HOW)
    factors = model.fit(jax.random.key(0), train, jnp.ones_like(train.values))[0]
    assert not factors.users[3].any() and not factors.items[I].any()
    interop.save_factors(folder / "model.npz", factors, settings=SAVED)
    data = scipy.sparse.csr_matrix((values, (users, items)), shape=(U, I + 1))
    scipy.sparse.save_npz(folder / "data.npz", data)
    (folder / "request.csv").write_text("user\n8\n")
    assert command(folder) == 0
    # where all rows of a side are 0 none of them tells anything
    table = _served_table.Table(train, np.arange(U), np.arange(I + 1))
    zeros = factors._replace(users=jnp.zeros_like(factors.users))
    _erased.refuse_erased(argparse.Namespace(), model, table, zeros, jnp.ones_like(train.values))


@pytest.mark.parametrize("method", [m for m in _updates.METHODS if m != "certified"])
@pytest.mark.parametrize("asked", ["user\n3\n", "item\n5\n", "user,item\n{},{}\n"])
def test_every_method_serves_users_items_and_pairs(method, asked, folder):
    (folder / "request.csv").write_text(asked.format(USERS[0], ITEMS[0]))
    assert command(folder, "--method", method, "--name-ids") == 0
    found = report(folder)
    assert found["method"]["name"] == method
    after = found["residual"]["after, on retained data"]
    before = found["residual"]["before, on all data"]
    assert after < (5 if method == "retrain" else 1.5) * before
    assert set(found["request"]["ids"]) <= {"users", "items"}


@pytest.mark.parametrize("method", [m for m in _updates.METHODS if m != "certified"])
def test_a_model_of_explicit_feedback_is_served_with_its_own_objective(method, folder):
    model = models.load("explicit_als")(dim=4, reg=0.2, max_sweeps=12)
    train = dataclasses.replace(TRAIN, values=TRAIN.values.astype(jnp.float32))
    served, _ = model.fit(jax.random.key(1), train, jnp.ones_like(train.values))
    interop.save_factors(folder / "model.npz", served, settings={"iterations": 12})
    asked = ("--method", method, "--explicit", "--reg", "0.2")
    assert command(folder, *asked) == 0
    found = report(folder)
    assert found["model"]["objective"] == {"nu": 1.0, "reg": 0.2}
    kept = ~np.isin(TRAIN.users, (3, 8))
    want = float(als.optimality(*_of_report(folder, train, model, kept)))
    np.testing.assert_allclose(found["residual"]["after, on retained data"], want, rtol=1e-3)
    assert want < 2 * found["residual"]["before, on all data"] + 0.02


def _of_report(folder, train, model, kept):
    new = interop.load_factors(folder / "out" / "model.npz")
    new = Factors(*map(jnp.asarray, new))
    return new, train, model.terms(train, jnp.asarray(kept, train.values.dtype))


@pytest.mark.parametrize("method", [m for m in _updates.METHODS if m != "certified"])
def test_rows_of_the_erased_are_nought_also_where_passes_take_a_few_steps_of_cg(
    method, folder, served
):
    interop.save_factors(folder / "model.npz", served, settings=SAVED | {"use_cg": True})
    assert command(folder, "--method", method) == 0
    assert report(folder)["zero"]["users_zero"] == 2
    new = interop.load_factors(folder / "out" / "model.npz")
    np.testing.assert_array_equal(new.users[[3, 8]], 0)


def test_training_anew_takes_a_pass_at_least_whatever_the_file_says(folder, served):
    """With none the served model would come back, called exact."""
    interop.save_factors(folder / "model.npz", served, settings=SAVED | {"iterations": 0})
    assert command(folder, "--method", "retrain") == 0
    new = interop.load_factors(folder / "out" / "model.npz")
    assert np.abs(new.items - served.items).max() > 1e-3


def test_rows_can_be_gone_and_the_ids_of_the_others_are_written(folder):
    lines = [f"u{u:02d},i{i:02d},{v}" for u, i, v in zip(USERS, ITEMS, VALUES)]
    (folder / "data.csv").write_text("\n".join(["user,item,value", *lines]))
    (folder / "request.csv").write_text("user\nu03\nu08\n")
    more = ["--ids", "sorted"]
    assert command(folder, *more, data="data.csv", out="zero") == 0
    assert command(folder, *more, "--drop-rows", data="data.csv") == 0
    whole, new = (interop.load_factors(folder / o / "model.npz") for o in ("zero", "out"))
    np.testing.assert_array_equal(new.users, np.delete(whole.users, [3, 8], axis=0))
    np.testing.assert_array_equal(new.items, whole.items)
    ids = (folder / "out" / "users.csv").read_text().split()
    assert ids == ["id", *(f"u{u:02d}" for u in range(U) if u not in (3, 8))]
    found = report(folder)
    assert found["model"]["after"] == hash_arrays(*new)
    again = ["--users", str(folder / "out" / "users.csv"), "--items"]
    again += [str(folder / "out" / "items.csv"), "--trust"]
    left = [line for line in lines if line[:3] not in ("u03", "u08")]
    (folder / "left.csv").write_text("\n".join(["user,item,value", *left]))
    (folder / "request.csv").write_text("user\nu09\n")
    (folder / "out" / "model.npz").rename(folder / "new.npz")
    assert command(folder, *again, model="new.npz", data="left.csv", out="second") == 0
    second = interop.load_factors(folder / "second" / "model.npz")
    np.testing.assert_array_equal(second.users[ids.index("u09") - 1], 0)


def test_local_moves_those_who_stay_less_than_passes_do(folder):
    moved = {}
    for method in ("local", "passes"):
        assert command(folder, "--method", method, out=method) == 0
        moved[method] = report(folder, method)["others"]
    assert moved["local"]["distance"] < moved["passes"]["distance"]
    assert moved["local"]["users"] == U - 2


def test_the_method_follows_the_size_of_the_request():
    assert _updates.choose(None, None, 0.001, 64)[0] == "local"
    method, why = _updates.choose(None, None, 0.001, 512)
    assert method == "difference" and "512 factors" in why
    assert _updates.choose(None, None, 0.05, 64)[0] == "difference"
    assert _updates.choose(None, None, 0.5, 64)[0] == "retrain"
    assert _updates.choose(None, 1e-3, 0.5, 64)[0] == "certified"
    assert _updates.choose("passes", None, 0.5, 64)[0] == "passes"


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """A model whose optimum fits, and a proof that it forgot."""
    folder = tmp_path_factory.mktemp("certified")
    model = models.load("ials")(dim=8, reg=40.0, alpha=3.0, max_sweeps=60)
    values = dataclasses.replace(TRAIN, values=TRAIN.values.astype(jnp.float32))
    served = model.fit(jax.random.key(0), values, jnp.ones_like(values.values))[0]
    how = {"regularization": 40.0, "alpha": 3.0}
    interop.save_factors(folder / "model.npz", served, settings=how)
    data = scipy.sparse.csr_matrix((VALUES, (USERS, ITEMS)), shape=(U, I))
    scipy.sparse.save_npz(folder / "data.npz", data)
    (folder / "request.csv").write_text("user\n3\n8\n")
    assert command(folder, "--certify", "1e-4") == 0
    return folder


def verify(folder, *more):
    out = folder / "out"
    files = [str(out / name) for name in ("receipt.json", "model.npz", "retained.npz")]
    return cli.main(["verify", *files, "--request", str(out / "request.csv"), *more])


def test_a_certificate_is_of_the_numbers_as_they_are_served(certified, capsys):
    found = report(certified)
    assert found["certified"] and 0 < found["bound"] <= 1e-4
    assert (
        "differs from the optimum that never saw the"
        in (certified / "out" / "report.html").read_text()
    )
    new = interop.load_factors(certified / "out" / "model.npz")
    assert new.users.dtype == np.float32
    np.testing.assert_array_equal(new.users[[3, 8]], 0)
    assert verify(certified, "--before", str(certified / "model.npz")) == 0
    assert "forgotten" in capsys.readouterr().out
    optimum = models.load("ials")(dim=8, reg=40.0, alpha=3.0, max_sweeps=4000, tol=1e-10)
    exact = dataclasses.replace(TRAIN, values=TRAIN.values.astype(jnp.float64))
    kept = jnp.asarray(~np.isin(TRAIN.users, (3, 8)), jnp.float64)
    best, info = optimum.fit(jax.random.key(5), exact, kept)
    assert info["sweeps"] < 4000
    best, served = (np.asarray(f.users) @ np.asarray(f.items).T for f in (best, new))
    assert np.linalg.norm(best - served) <= found["bound"] * np.linalg.norm(served)


def test_a_receipt_is_signed_with_a_key_where_one_is_given(certified, tmp_path, capsys):
    pytest.importorskip("cryptography")
    assert cli.main(["keygen", str(tmp_path / "key")]) == 0
    more = ["--certify", "1e-4", "--sign", str(tmp_path / "key")]
    assert command(certified, *more, out="signed") == 0
    out = certified / "signed"
    files = [str(out / name) for name in ("receipt.json", "model.npz", "retained.npz")]
    assert cli.main(["verify", *files, "--signer", str(tmp_path / "key.pub")]) == 0
    assert "signed    by sha256:" in capsys.readouterr().out
    (tmp_path / "none").write_text("no key")
    more = ["--certify", "1e-4", "--sign", str(tmp_path / "none")]
    assert "no receipt of what is served: not a private key" in refused(
        capsys, certified, *more, out="unsigned"
    )


def test_the_retained_rows_may_be_a_table_as_erase_reads_it(certified, tmp_path, capsys):
    kept = ~np.isin(USERS, (3, 8))
    data = scipy.sparse.csr_matrix((VALUES[kept], (USERS[kept], ITEMS[kept])), shape=(U, I))
    scipy.sparse.save_npz(tmp_path / "matrix.npz", data)
    lines = [f"{u},{i},{v}" for u, i, v in zip(USERS[kept], ITEMS[kept], VALUES[kept])]
    (tmp_path / "table.csv").write_text("\n".join(["user,item,value", *lines]))
    (tmp_path / "short.csv").write_text("\n".join(["user,item,value", *lines[1:]]))
    out = certified / "out"
    for name, code in (("matrix.npz", 0), ("table.csv", 0), ("short.csv", 1)):
        files = [str(out / "receipt.json"), str(out / "model.npz"), str(tmp_path / name)]
        assert cli.main(["verify", *files, "--request", str(out / "request.csv")]) == code, name
    assert "the retained data are not those of the receipt" in capsys.readouterr().out


def test_a_receipt_of_another_model_than_the_served_one_is_not_verified(certified, capsys):
    out = certified / "out"
    honest = (out / "model.npz").read_bytes()
    new = interop.load_factors(out / "model.npz")
    try:
        shifted = Factors(np.nextafter(new.users, np.float32(9)), new.items)
        interop.save_factors(out / "model.npz", shifted, settings={"regularization": 40.0})
        assert verify(certified) == 1
        assert "are not those of the receipt" in capsys.readouterr().out
    finally:
        (out / "model.npz").write_bytes(honest)


def test_a_model_in_16_bits_is_served_by_its_values_in_32_and_has_no_receipt(folder, capsys):
    factors = interop.load_factors(folder / "model.npz")
    narrow = {name: side.astype(np.float16) for name, side in factors._asdict().items()}
    arrays = {"user_factors": narrow["users"], "item_factors": narrow["items"]}
    np.savez(folder / "model.npz", **arrays, **SAVED)
    assert "factors of float16: a receipt is about" in refused(capsys, folder, "--certify", "1e-2")
    assert command(folder) == 0
    assert interop.load_factors(folder / "out" / "model.npz").users.dtype == np.float16
    from experiments.commands import _served_table

    (folder / "large.csv").write_text("user,item,value\n" + f"{U - 1},{I - 1},2049\n")
    args = argparse.Namespace(
        columns=None, threshold=None, repeats="refuse", ids=None, users=None, items=None
    )
    table = _served_table.read(folder / "large.csv", factors._replace(**narrow), args)
    assert table.train.values.tolist() == [2049]


def test_a_bound_that_cannot_be_kept_is_refused(folder, capsys):
    error = refused(capsys, folder, "--certify", "1e-3")
    assert "not certified: the bound is" in error and "more dimensions than the model" in error


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(folder, capsys):
    before = sorted(folder.iterdir())
    for method in ("local", "difference"):
        assert command(folder, "--dry-run", "--method", method) == 0
        told = capsys.readouterr().out
        assert "touched: 2 users and" in told and "time: about" in told and "MB" in told
    assert sorted(folder.iterdir()) == before


def test_safetensors_come_back_as_such(folder, served):
    safetensors = pytest.importorskip("safetensors.numpy")
    arrays = interop.implicit_arrays(served)
    safetensors.save_file(arrays, folder / "model.safetensors", metadata={"by": "somebody"})
    more = ["--reg", "4", "--alpha", "3", "--keep", "by"]
    assert command(folder, *more, model="model.safetensors") == 0
    with __import__("safetensors").safe_open(
        folder / "out" / "model.safetensors", framework="numpy"
    ) as file:
        assert file.metadata() == {"by": "somebody"}
        np.testing.assert_array_equal(file.get_tensor("user_factors")[[3, 8]], 0)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"learning_rate": 0.1, "regularization": 1.0}, "trained by gradient descent"),
        ({"regularization": 4.0}, "does not say its alpha: give --alpha"),
        ({"alpha": 3.0}, "does not say its regularization: give --reg"),
        ({"regularization": 0.0, "alpha": 3.0}, "reg must be"),
        ({"regularization": 4.0, "alpha": 3.0, "iterations": "many"}, "model.npz: "),
        ({"regularization": 4.0, "alpha": 3.0, "use_cg": True, "cg_steps": [1, 2]}, "model.npz: "),
        ({"regularization": 4.0, "alpha": 99.0}, "is no model of"),
        ({"regularization": "many", "alpha": 3.0}, "regularization must be a number"),
    ],
)
def test_models_that_erase_does_not_serve_are_refused(settings, words, folder, served, capsys):
    interop.save_factors(folder / "model.npz", served, settings=settings)
    assert words in refused(capsys, folder)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("request.csv", "user\n3\n99\n", "1 of 2 lines name nothing"),
        ("request.csv", "user\n", "no ids"),
        ("request.csv", "person\n3\n", "the header must have user, item or both"),
        ("request.csv", "user\nthree\n", "line 2"),
        ("request.csv", "", "request.csv"),
        ("model.npz", "no archive", "model.npz"),
        ("data.npz", "no archive", "data.npz"),
        ("data.csv", "user,thing,value\n1,2,3\n", "item"),
        ("data.csv", "user,item,value\n1,2,three\n", "line 2"),
        ("data.csv", "user,item,value\n1,2,3\n1,2,4\n", "repeat an earlier pair"),
        ("data.csv", "user,item,value\n1,99,3\n", "item 99 has no row in the model"),
        ("data.csv", "user,item,value\n", "no "),
        ("data.dat", "1;2;3\n", "line 1"),
    ],
)
def test_files_that_cannot_be_used_are_refused_by_name(name, content, words, folder, capsys):
    (folder / name).write_text(content)
    data = name if name.startswith("data") else "data.npz"
    error = refused(capsys, folder, data=data)
    assert words in error and name in error


@pytest.mark.parametrize(
    "more, words",
    [
        (["--method", "certified"], "--certify"),
        (["--certify", "1e-3", "--method", "local"], "--method certified"),
        (["--certify", "2"], "must lie in (0, 1)"),
        (["--drop-rows", "--certify", "1e-3"], "give one of the two"),
        (["--sign", "key"], "--sign signs the receipt of --certify"),
        (["--passes", "0"], "--passes must be 1 or more"),
        (["--passes", "3"], "--passes needs --method"),
        (["--tol", "0.1", "--method", "passes"], "--tol is of --method local"),
        (["--explicit", "--certify", "1e-3"], "leave out it or --explicit"),
        (["--explicit", "--alpha", "2"], "--alpha is of implicit feedback"),
        (["--columns", "user:who"], "--columns must be like"),
    ],
)
def test_options_that_do_not_go_together_are_refused(more, words, folder, capsys):
    (folder / "data.csv").write_text("user,item,value\n1,2,3\n")
    assert words in refused(capsys, folder, *more, data="data.csv")


@pytest.mark.parametrize("kind", ["csv", "gz", "parquet", "dat", "inter", "npz"])
def test_columns_and_thresholds_that_a_table_cannot_serve_are_refused(kind, folder, capsys):
    data, more = written(folder, kind)
    if kind in ("dat", "inter", "npz"):
        told = refused(capsys, folder, *more, "--columns", "user=user,item=item", data=data)
        assert "--columns is of .csv, .tsv and .parquet: leave it out" in told
        return
    names = "user=who,item=what" if kind == "csv" else "user=user,item=item"
    told = refused(capsys, folder, "--columns", f"{names},value=weigth", data=data)
    assert "weigth" in told
    if kind != "parquet":  # where it is used for its name
        told = refused(capsys, folder, "--columns", names, "--threshold=1", data=data)
        assert "has no values, which --threshold reads" in told
    for wrong in ("user=a,item=a", "user=a,user=b,item=c", "user=a,value=b", "item=b"):
        assert "--columns must be like" in refused(capsys, folder, "--columns", wrong, data=data)


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize(
    "ids, bad, way",
    [
        (lambda n: n.astype(np.int64) - 20, "-20", "2**63 - 1"),
        (lambda n: n.astype(np.uint64) + np.uint64(2**63 - 5), None, "2**63 - 1"),
        (lambda n: np.array(["" if x == 3 else f"u{x}" for x in n]), "''", "empty"),
        (lambda n: np.array(["a\nb" if x == 3 else f"u{x}" for x in n]), r"'a\nb'", "a line break"),
        (lambda n: n.astype(np.uint64) + np.uint64(2**62), None, None),
        (lambda n: np.array([f"-{x}" for x in n]), None, None),
    ],
)
def test_tables_of_people_who_could_never_be_asked_for_are_refused(
    side, ids, bad, way, folder, capsys, monkeypatch
):
    import pandas as pd

    columns = {"user": USERS, "item": ITEMS, "value": VALUES}
    frame = pd.DataFrame(columns | {side: ids(columns[side])})
    monkeypatch.setattr(_served_table, "_parquet", lambda *_: frame)  # as pyarrow would read it
    (folder / "data.parquet").touch()
    first = frame[side][0]
    (folder / "request.csv").write_text(f"{side}\n{first}\n")
    if way is None:
        args = ["--ids", "sorted", "--trust"]
        assert command(folder, *args, data="data.parquet") == 0
        return
    told = refused(capsys, folder, "--ids", "sorted", data="data.parquet")
    wanted = bad or str(int(frame[side].max()))
    assert f"data.parquet: the {side} id {wanted} is" in told and way in told
    assert f"no request could name it: write the {side} ids as text" in told


def test_values_that_are_missing_are_refused_before_a_threshold_drops_them(folder, capsys):
    values = np.where(np.arange(len(VALUES)) % 7 == 0, np.nan, 5.0)
    data = scipy.sparse.csr_matrix((values, (USERS, ITEMS)), shape=(U, I))
    scipy.sparse.save_npz(folder / "data.npz", data)
    told = refused(capsys, folder, "--threshold=4", "--trust")
    assert "value must be a finite number; got nan" in told
    lines = ["user_id:token\titem_id:token", *(f"{u}\t{i}" for u, i in zip(USERS, ITEMS))]
    (folder / "data.inter").write_text("\n".join(lines))
    told = refused(capsys, folder, "--threshold=1", data="data.inter")
    assert "has no values, which --threshold reads" in told


def test_arrays_with_a_place_for_each_person_are_refused_by_name(folder, capsys):
    arrays = dict(np.load(folder / "model.npz"))
    ids, bias = np.array([f"u{k}" for k in range(U)]), np.arange(float(I))
    cases = [
        ({"user_ids": ids}, "user_ids may hold"),
        ({"item_bias": bias, "both": np.zeros((2, U))}, "item_bias, both may hold"),
        ({"context_factors": np.ones((3, D), np.float32)}, "context_factors beside user_factors"),
        ({"file": np.array(1.0)}, "file beside user_factors and item_factors would"),
    ]
    for more, words in cases:
        np.savez(folder / "model.npz", **arrays)
        with zipfile.ZipFile(folder / "model.npz", "a") as archive:
            for name, array in more.items():  # NumPy does not write all names
                content = io.BytesIO()
                np.save(content, array)
                archive.writestr(f"{name}.npy", content.getvalue())
        told = refused(capsys, folder, "--drop-rows")
        assert words in told and "take it out" in told
    np.savez(folder / "model.npz", **arrays, steps=np.arange(5))  # of neither size: it is kept
    told = refused(capsys, folder, "--keep", "step")  # by who says what it is
    assert "model.npz: steps is no setting, and may hold" in told and "--keep NAME" in told
    assert command(folder, "--keep", "steps") == 0
    assert np.load(folder / "out" / "model.npz")["steps"].tolist() == [*range(5)]


def test_a_tensor_beside_the_two_tables_is_refused_by_name(folder, capsys):
    numpy = pytest.importorskip("safetensors.numpy")
    arrays = dict(np.load(folder / "model.npz"))
    tables = {name: arrays[name] for name in ("user_factors", "item_factors")}
    numpy.save_file(tables | {"user_bias": np.arange(float(U))}, folder / "model.safetensors")
    told = refused(capsys, folder, "--reg=4", "--alpha=3", model="model.safetensors")
    assert "user_bias may hold" in told


def test_what_somebody_did_does_not_stay_in_the_file_beside_the_factors(folder, capsys):
    table = scipy.sparse.csr_matrix((VALUES, (USERS, ITEMS)), shape=(U, I))
    arrays, names = dict(np.load(folder / "model.npz")), ",".join(f"u{k}" for k in range(U))
    for more in (
        {"indptr": table.indptr, "indices": table.indices},
        {"names": np.array(names)},
        {"dtype": np.array(names)},
        {"names": np.array(names.encode())},
        {"last": np.array([[3.0]])},
        {"record": np.array((3, 5), [("user", int), ("item", int)])},
    ):
        np.savez(folder / "model.npz", **(arrays | more))
        told = refused(capsys, folder, "--keep", "other")
        assert f"model.npz: {', '.join(more)} is no setting, and may hold something" in told
        assert "take it out of the file, or --keep NAME" in told
    written = {"dtype": "float32", "use_native": True, "num_threads": 0, "random_state": 3}
    np.savez(folder / "model.npz", **(arrays | written))  # as implicit does
    assert command(folder) == 0
    with np.load(folder / "out" / "model.npz") as new:
        assert {name: new[name].item() for name in written} == written
    np.savez(folder / "model.npz", **arrays, user_ids=np.arange(U))
    told = refused(capsys, folder, "--keep", "user_ids", out="other")  # rows might be gone from it
    assert "user_ids may hold something of every user or item" in told


def test_single_numbers_of_safetensors_are_settings_and_other_metadata_is_refused(folder, capsys):
    numpy = pytest.importorskip("safetensors.numpy")
    arrays = dict(np.load(folder / "model.npz"))
    path = folder / "model.safetensors"
    numpy.save_file(arrays, path, metadata={"format": "np", "users": "u0,u1,u5"})
    told = refused(capsys, folder, model=path.name)
    assert "model.safetensors: users is no setting, and may hold something" in told
    numpy.save_file(arrays, path, metadata={"format": "np"})
    assert command(folder, model=path.name) == 0
    new = numpy.load_file(folder / "out" / path.name)
    assert {name: new[name].item() for name in SAVED} == SAVED
    assert report(folder)["model"]["objective"].items() >= HOW.items()


@pytest.mark.parametrize("side, other", [("user", "item"), ("item", "user")])
def test_tables_of_two_precisions_are_refused_and_none_is_rounded(side, other, folder, capsys):
    arrays = dict(np.load(folder / "model.npz"))
    for dtype, more in ((np.float16, []), (np.float64, ["--certify", "1e-3"])):
        name = f"{side}_factors"
        np.savez(folder / "model.npz", **(arrays | {name: arrays[name].astype(dtype)}))
        told = refused(capsys, folder, *more)
        assert f"{name} are {dtype.__name__}" in told or f"{name} {dtype.__name__}" in told
        assert f"{other}_factors" in told and "float32" in told and "save them alike" in told


def test_what_is_there_already_is_kept(folder, capsys):
    (folder / "out").mkdir()
    assert "out is there already" in refused(capsys, folder)
    assert not list((folder / "out").iterdir())


def test_a_failure_while_writing_leaves_no_folder(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "model.npz")

    monkeypatch.setattr("experiments.files.write_atomically", full)
    before = sorted(folder.iterdir())
    assert command(folder) == 2
    assert sorted(folder.iterdir()) == before


def test_a_run_that_is_terminated_leaves_nothing_and_one_that_was_killed_is_cleaned_up_after(
    folder, monkeypatch
):
    write = files.write_atomically

    def ended(path, content):
        write(path, content)
        os.kill(os.getpid(), signal.SIGTERM)

    before = sorted(folder.iterdir())
    assert threading.current_thread() is threading.main_thread()
    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomically", ended)
        assert command(folder) == 130
    assert sorted(folder.iterdir()) == before
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine = files.unfinished(folder / "out").name.replace(str(os.getpid()), "{}")
    names = [mine.format(dead.pid), mine.format(os.getppid()), ".out.theirs.tmp", ".other.tmp"]
    for name in names:
        (folder / name).mkdir()
        (folder / name / "request.csv").write_text("user\n3\n")
    os.utime(folder / names[2], (0, 0))
    assert refused_by_its_request(folder) == 2
    assert [(folder / name).exists() for name in names] == [False, True, True, True]


def refused_by_its_request(folder):
    (folder / "request.csv").write_text("user\n99\n")
    return command(folder)


def test_two_hundred_damaged_files_are_one_line_each_and_nothing_is_written(
    folder, capsys, monkeypatch
):
    """Whatever byte is lost or changed: refused, or read as what it says."""

    def reached(*_):
        raise AssertionError("done with reading")

    monkeypatch.setattr(_erased, "check_fit", reached)
    written(folder, "csv")
    rng = np.random.default_rng(0)
    n_refused = 0
    for k in range(200):
        name = ("model.npz", "data.npz", "request.csv", "data.csv")[k % 4]
        whole = (folder / name).read_bytes()
        damaged = bytearray(whole[: rng.integers(0, len(whole))] if k % 3 == 0 else whole)
        for place in rng.integers(0, max(1, len(damaged)), 1 + k % 5):
            if len(damaged):
                damaged[place] = rng.integers(0, 256)
        (folder / name).write_bytes(damaged)
        data, more = "data.npz", []
        if name == "data.csv":
            data, more = name, ["--columns", "user=who,item=what,value=much"]
        try:
            code = command(folder, *more, data=data)
        except AssertionError as fault:
            assert str(fault) == "done with reading"
        else:
            error = capsys.readouterr().err
            assert code == 2 and error.startswith("error: ") and error.count("\n") == 1, (
                name,
                error,
            )
            n_refused += 1
        (folder / name).write_bytes(whole)
        assert not (folder / "out").exists() and not list(folder.glob(".*"))
    assert n_refused > 120


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:OpenBLAS:RuntimeWarning")  # from implicit itself
def test_a_real_implicit_model_of_movielens_1m_recommends_without_ten_users(
    tmp_path, real_data, capsys
):
    """Trained, saved, erased from, loaded and asked by ``implicit`` itself."""
    als = pytest.importorskip("implicit.cpu.als")
    from jaxforget import data
    from jaxforget.prepare import preprocess

    try:
        ratings = data.read("movielens", real_data, size="1m")
    except FileNotFoundError as reason:
        pytest.skip(str(reason))
    likes = preprocess.binarise(ratings, threshold=4.0)
    users, u = np.unique(likes["user"], return_inverse=True)
    i = np.unique(likes["item"], return_inverse=True)[1]
    seen = scipy.sparse.csr_matrix((np.ones(len(u), np.float32), (u, i)))
    how = {"factors": 32, "regularization": 5.0, "alpha": 10.0, "iterations": 6}
    model = als.AlternatingLeastSquares(**how, random_state=0, num_threads=1)
    model.fit(seen, show_progress=False)
    model.save(str(tmp_path / "model.npz"))
    likes[["user", "item"]].to_csv(tmp_path / "likes.csv", index=False)
    gone = users[np.random.default_rng(0).permutation(len(users))[:10]]
    (tmp_path / "request.csv").write_text("\n".join(["user", *map(str, gone)]))
    assert command(tmp_path, "--ids", "sorted", data="likes.csv") == 0
    assert "of 575,281 interactions to be erased (10 lines" in capsys.readouterr().out

    new = als.AlternatingLeastSquares.load(str(tmp_path / "out" / "model.npz"))
    for name, value in how.items():
        assert getattr(new, name) == value, name
    erased = np.searchsorted(users, gone)
    np.testing.assert_array_equal(new.user_factors[erased], 0)
    left = seen.tolil()
    left[erased] = 0
    left = left.tocsr()
    others = np.setdiff1d(np.arange(len(users)), erased)[:500]
    lists = new.recommend(others, left[others], N=10)[0]
    before = model.recommend(others, left[others], N=10)[0]
    kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(lists, before)])
    assert kept > 0.95
    anew = new.recommend(others, left[others], N=10, recalculate_user=True)[0]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(lists, anew)]) > 0.7
    nobody = new.recommend(erased[:1], left[erased[:1]], N=10, recalculate_user=True)
    assert np.isfinite(nobody[1]).all() and np.abs(nobody[1]).max() == 0
    assert new.partial_fit_users(others[:2], left[others[:2]]) is None
