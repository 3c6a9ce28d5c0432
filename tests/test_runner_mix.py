"""Results that do not belong together, or are damaged, are refused in one line with the way out."""

import hashlib
import json
import os
import shutil

import pandas as pd
import pytest
import toy_runs
from hypothesis import given
from hypothesis import strategies as st

from experiments import cli, files
from experiments.config import grid
from experiments.lab import provenance, store

TEXT = toy_runs.TOML.partition("[methods.unlearn_als]")[0]


def refused(capsys, *words):
    """Runs a command that must be refused; returns its one line."""
    assert cli.main([str(word) for word in words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


@pytest.fixture
def filled(tmp_path):
    """A config, its results folder and its cells, with made-up numbers."""
    path = toy_runs.write(tmp_path, TEXT)
    cells = toy_runs.fill(path, tmp_path)
    return path, tmp_path / "toy/cells", cells


def sealed(row):
    """A row with a checksum that fits: what only somebody who means to can make."""
    return row | {"checksum": store.checksum(row)}


# ---- a run on data that changed


def test_data_that_changed_between_two_seeds_are_refused_before_anything_is_computed(
    tmp_path, capsys
):
    """Each seed splits anew, so only the table before the split can be compared."""
    words = ["seeds=0,1", "request.ratio=0.1", "ks=[]", "--results", str(tmp_path), "--quiet"]
    path = toy_runs.small(tmp_path, TEXT)
    table = tmp_path / "small.csv"
    assert cli.main(["run", path, *words, "--only", "seed=0"]) == 0
    original = table.read_text()
    table.write_text(original + "39,77,5\n0,77,5\n")
    line = refused(capsys, "run", path, *words, "--only", "seed=1")
    assert "other data" in line and "--force" in line
    assert len(list((tmp_path / "toy/cells").iterdir())) == 1
    forced = cli.main(["run", path, *words, "--only", "seed=1", "--force"])
    assert forced == 0  # somebody wants it; the mix is still refused
    line = refused(capsys, "collect", path, *words[:-1])
    assert "different data" in line and "run --force" in line
    assert not (tmp_path / "toy/cells.csv").exists()


def test_changed_data_are_refused_beside_cells_made_from_tables_too(tmp_path, capsys):
    """Tables hold the hash of a cell's own split, which is made again to compare it."""
    words = ["seeds=0,1", "request.ratio=0.1", "ks=[]", "--results", str(tmp_path)]
    path = toy_runs.small(tmp_path, TEXT)
    assert cli.main(["run", path, *words, "--quiet", "--only", "seed=0"]) == 0
    assert cli.main(["collect", path, *words]) == 1
    for cell in (tmp_path / "toy/cells").iterdir():
        cell.unlink()
    assert cli.main(["restore", path, *words]) == 0
    capsys.readouterr()
    table = tmp_path / "small.csv"
    original = table.read_text()
    table.write_text(original + "39,77,5\n0,77,5\n")
    line = refused(capsys, "run", path, *words, "--quiet", "--only", "seed=1")
    assert "other data" in line and "--force" in line
    assert len(list((tmp_path / "toy/cells").iterdir())) == 1
    table.write_text(original)
    assert cli.main(["run", path, *words, "--quiet", "--only", "seed=1"]) == 0
    assert cli.main(["collect", path, *words]) == 0


def test_the_hash_of_a_table_is_that_of_its_content():
    table = pd.DataFrame({"user": ["a", "b"], "item": [1, 2], "value": [1.0, 2.0]})
    others = [
        table.assign(value=[1.0, 2.5]),
        table.assign(user=["a", "c"]),
        table.iloc[::-1],
        table.iloc[:1],
        table.rename(columns={"value": "time"}),
    ]
    hashes = {provenance.table_hash(frame) for frame in [table, *others]}
    assert len(hashes) == 6
    assert provenance.table_hash(table.copy()) in hashes


# ---- what collect refuses


def test_cells_of_different_data_are_refused_also_those_of_other_settings(filled, capsys):
    path, folder, cells = filled
    row = store.read(folder, cells[0].id)
    (folder / f"{cells[0].id}.json").write_text(json.dumps(sealed(row | {"table_hash": "22" * 32})))
    line = refused(capsys, "collect", path, "--results", folder.parents[1])
    assert cells[0].id in line and "different data" in line
    # narrowed to the others: the folder is mixed all the same
    refused(capsys, "collect", path, "seeds=1,2", "--results", folder.parents[1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row | {"reason": "edited"}, "checksum"),
        (lambda row: row | {"metrics": row["metrics"][1:]}, "checksum"),
        (lambda row: sealed(row | {"version": "0.0.1"}), "0.0.1"),
        (lambda row: sealed(row | {"format": 1}), "format 1"),
        (lambda row: {k: v for k, v in row.items() if k != "format"}, "format 1"),
        (lambda row: sealed(row | {"spec": row["spec"] | {"schema": 0}}), "schema"),
        (lambda row: sealed(row | {"spec": row["spec"] | {"seed": 77}}), "spec"),
        (lambda row: {k: v for k, v in row.items() if k != "timings"}, "timings"),
    ],
)
@pytest.mark.parametrize("command", ["collect", "run", "plan"])
def test_a_cell_that_was_edited_or_is_of_another_version_is_refused(
    filled, capsys, command, change, words
):
    path, folder, cells = filled
    file = folder / f"{cells[0].id}.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    line = refused(capsys, command, path, "--results", folder.parents[1])
    assert file.name in line and words in line and "--force" in line
    assert not (folder.parent / "cells.csv").exists()


def test_a_cell_that_was_copied_or_renamed_is_refused(filled, capsys):
    path, folder, cells = filled
    shutil.copy(folder / f"{cells[0].id}.json", folder / f"{cells[1].id}.json")
    assert "copied or renamed" in refused(capsys, "collect", path, "--results", folder.parents[1])
    (folder / f"{cells[1].id}.json").rename(folder / "backup.json")
    assert "backup.json" in refused(capsys, "collect", path, "--results", folder.parents[1])


def test_whole_cells_of_other_settings_are_left_out_and_counted(filled, capsys):
    path, folder, _ = filled
    assert cli.main(["collect", path, "seeds=0,1", "--results", str(folder.parents[1])]) == 0
    out = capsys.readouterr().out
    assert "4 of 4 cells collected" in out and "2 cells of other settings left out" in out
    assert len((folder.parent / "cells.csv").read_text().splitlines()) == 5


# ---- damage of any kind


BROKEN = [b"", b"[]", b"{}", b"null", b"7", b'"x"', b"{", b"\xff\xfe", b"[" * 100_000, b"1e999"]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_file_that_is_no_cell_is_refused_by_name(filled, capsys, content):
    path, folder, cells = filled
    file = folder / f"{cells[0].id}.json"
    file.write_bytes(content)
    assert file.name in refused(capsys, "collect", path, "--results", folder.parents[1])


def test_a_folder_in_the_place_of_a_cell_is_refused_by_every_command(filled, capsys):
    path, folder, cells = filled
    file = folder / f"{cells[0].id}.json"
    file.unlink()
    file.mkdir()
    for words in (["collect"], ["plan"], ["run"], ["run", "--force"]):
        line = refused(capsys, words[0], path, *words[1:], "--results", folder.parents[1])
        assert file.name in line and "folder" in line


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of one cell, its name, and a folder to damage it in."""
    folder = tmp_path_factory.mktemp("damage")
    cell = toy_runs.fill(toy_runs.write(folder, TEXT), folder)[0]
    content = (folder / "toy/cells" / f"{cell.id}.json").read_bytes()
    return cell.id, content, tmp_path_factory.mktemp("one")


damage = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1), st.just(b"")),
    st.tuples(st.just("put"), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("over"), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
)


@given(damage)
def test_a_damaged_cell_is_refused_or_its_content_is_what_it_was(whole, how):
    name, content, folder = whole
    kind, where, put = how
    at = int(where * len(content))
    rest = {"cut": b"", "put": content[at:], "over": content[at + len(put) :]}[kind]
    (folder / f"{name}.json").write_bytes(content[:at] + put + rest)
    try:
        row = store.read(folder, name)
    except store.Refused as error:
        assert f"{name}.json" in str(error) and "\n" not in str(error)
    else:
        assert row == json.loads(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.sampled_from(sorted(store.FIELDS | {"table_hash", "data_hash", "traceback"})), json_values
)
def test_no_field_can_be_replaced(whole, field, value):
    name, content, folder = whole
    before = json.loads(content)
    (folder / f"{name}.json").write_text(json.dumps(before | {field: value}))
    try:
        assert grid.canonical(store.read(folder, name)) == grid.canonical(before)
    except store.Refused as error:
        assert f"{name}.json" in str(error)


# ---- files: whole, with the permissions of the umask, and none left behind


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_results_have_the_permissions_that_the_umask_leaves(tmp_path, mask):
    before = os.umask(mask)
    try:
        files.write_atomically(tmp_path / "new" / "file", b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "file").stat().st_mode & 0o777 == 0o666 & ~mask


def test_unfinished_files_of_dead_processes_are_removed_and_those_of_others_stay(tmp_path):
    host = hashlib.sha256(files.socket.gethostname().encode()).hexdigest()[:8]
    dead = tmp_path / f".a.json.{host}-{2**22 + 1}.tmp"  # no process has so large a number
    alive = tmp_path / f".b.json.{host}-{os.getppid()}.tmp"
    far = tmp_path / ".c.json.aaaaaaaa-1.tmp"  # another machine, now
    old = tmp_path / ".d.json.k3jd8s.tmp"  # of an earlier version, long ago
    for path in (dead, alive, far, old, tmp_path / "e.json"):
        path.write_text("x")
    os.utime(old, (1e9, 1e9))
    files.clean(tmp_path)
    assert {path for path in tmp_path.iterdir()} == {alive, far, tmp_path / "e.json"}
