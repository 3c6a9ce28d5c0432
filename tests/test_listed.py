"""Requests as lists of original ids, and splits that were published as files."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import toy_runs
from hypothesis import given

from experiments import cli
from experiments.config import grid, reading
from experiments.errors import Refused
from jaxforget.prepare import forget, published, requests, split
from jaxforget.sparse import layout
from jaxforget.types import Split

USERS, ITEMS = np.array(["ann", "bob", "cid", "dan"]), np.array([70, 71, 2**40])
PARTS = Split(
    layout.build([0, 0, 1, 2], [0, 1, 1, 2], [5.0, 4.0, 3.0, 2.0], n_users=4, n_items=3),
    layout.build([0, 2], [2, 0], [1.0, 2.0], n_users=4, n_items=3),
    layout.build([1, 2], [0, 1], [3.0, 4.0], n_users=4, n_items=3),
)


def listed(tmp_path, text, **settings):
    (tmp_path / "r.csv").write_text(text)
    return requests.listed(tmp_path / "r.csv", PARTS, USERS, ITEMS, **settings)


def pairs(part):
    return list(zip(part.users.tolist(), part.items.tolist(), part.values.tolist(), strict=True))


def test_a_list_of_users_takes_their_held_out_rows_with_it(tmp_path):
    found = listed(tmp_path, "user,why\nann,moved\nbob,\n")
    assert found.counts == {"asked": 2, "missing": 0, "train": 3, "valid": 1, "test": 1}
    assert found.users.tolist() == [0, 1] and found.items is None
    assert pairs(found.split.valid) == [(2, 0, 2.0)] and pairs(found.split.test) == [(2, 1, 4.0)]
    assert found.split.train is PARTS.train and found.split.test.n_users == 4
    _, request = forget.listed(PARTS.train, users=found.users, items=found.items)
    assert request.after.tolist() == [0, 0, 0, 1]


def test_a_list_of_items_or_pairs(tmp_path):
    by_item = listed(tmp_path, "item\n70\n")
    assert by_item.counts == {"asked": 1, "missing": 0, "train": 1, "valid": 1, "test": 1}
    assert forget.listed(PARTS.train, items=by_item.items)[1].after.tolist() == [0, 1, 1, 1]
    some = listed(tmp_path, f"item,user\n{2**40},cid\n71,cid\n{2**40},ann\n")
    assert some.counts == {"asked": 3, "missing": 0, "train": 1, "valid": 1, "test": 1}
    assert (some.users.tolist(), some.items.tolist()) == ([2], [2])
    _, request = forget.listed(PARTS.train, users=some.users, items=some.items)
    assert request.after.tolist() == [1, 1, 1, 0]


def test_what_is_missing_is_named_as_it_was_written_or_counted(tmp_path):
    text = f"user,item\nann,70\nann,{2**32 + 70}\neve,70\ndan,71\n"
    with pytest.raises(ValueError, match=rf"3 of 4 lines .*'ann, {2**32 + 70}; eve, 70; dan, 71'"):
        listed(tmp_path, text)
    found = listed(tmp_path, text, ignore_missing=True)
    assert found.counts == {"asked": 4, "missing": 3, "train": 1, "valid": 0, "test": 0}
    with pytest.raises(ValueError, match=r"1 of 1 lines .*'dan'"):  # known, but without rows
        listed(tmp_path, "user\ndan\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: the file is empty"),
        ("user,item\n", "line 2: no ids"),
        ("customer\nann\n", "line 1: the header must have user, item or both"),
        ("user,user\nann,bob\n", "each once"),
        ("user,item\nann\n", "line 2: expected 2 columns"),
        ("user,item\nann,70,3\n", "line 2: expected 2 columns"),
        ("item\n7e1\n", "line 2: item must be an integer, 0 or more; got '7e1'"),
        ("user,item\nann,\n", "line 2: item must be an integer"),
        ("user\n\n \n", "line 2: no ids"),
        ("\nuser\n", "line 3: no ids"),
        ("user\n\n,\n", "line 3: expected 1 columns"),
        ("user,item\ndan,70\nann,2\n", "2 of 2 lines"),
        ("user,item\ncid,71\n", "names no training interaction"),
    ],
)
def test_a_bad_list_is_refused_with_its_line(text, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        listed(tmp_path, text)


TRIPLES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), max_size=12)
ASKED = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=6)


@given(TRIPLES, ASKED, st.sampled_from(["user", "item", "both"]))
def test_lists_are_found_as_a_loop_over_python_sets_finds_them(tmp_path_factory, rows, asked, side):
    placed = {(u, i): part for u, i, part in rows}
    parts = []
    for part in range(3):
        here = sorted(pair for pair, p in placed.items() if p == part)
        u, i = np.array(here, np.int64).reshape(-1, 2).T
        parts.append(layout.build(u, i, np.ones(len(here)), n_users=4, n_items=3))
    names = {"user": ["user"], "item": ["item"], "both": ["user", "item"]}[side]
    lines = [",".join(str(dict(user=u, item=i)[n]) for n in names) for u, i in asked]
    path = tmp_path_factory.mktemp("lists") / "r.csv"
    path.write_text("\n".join([",".join(names), *lines]) + "\n")

    def names_it(line, pair):
        return all(line[k] == pair[k] for k, n in enumerate(("user", "item")) if n in names)

    hits = [{pair for pair in placed if names_it(line, pair)} for line in asked]
    gone = set().union(*hits)
    train = [pair for pair in gone if placed[pair] == 0]

    def call():
        return requests.listed(path, Split(*parts), np.arange(4), np.arange(3), ignore_missing=True)

    if not train:
        with pytest.raises(ValueError, match="names no training interaction"):
            call()
        return
    found = call()
    assert found.counts["missing"] == sum(not hit for hit in hits)
    for number, name in enumerate(Split._fields):
        assert found.counts[name] == sum(placed[pair] == number for pair in gone)
    left = forget.listed(parts[0], users=found.users, items=found.items)[1].after
    assert left.tolist() == [float(p[:2] not in gone) for p in pairs(parts[0])]
    for number in (1, 2):
        assert {p[:2] for p in pairs(found.split[number])} == {
            pair for pair, part in placed.items() if part == number and pair not in gone
        }


def test_forget_listed_checks_what_it_is_given():
    with pytest.raises(ValueError, match=r"1 of 2 users have no training .* 3"):
        forget.listed(PARTS.train, users=[0, 3])
    with pytest.raises(ValueError, match=str(2**32)):
        forget.listed(PARTS.train, items=[2**32])
    with pytest.raises(ValueError, match="integer ids; got float64"):
        forget.listed(PARTS.train, users=[0.0])
    with pytest.raises(ValueError, match="got neither"):
        forget.listed(PARTS.train)
    after = jax.vmap(lambda ids: forget.listed(PARTS.train, users=ids)[1].after)
    asked = jnp.array([[0, 3], [2, -1], [7, 1]])
    assert after(asked).tolist() == [[0, 0, 1, 1], [1, 1, 1, 0], [1, 1, 0, 1]]
    twice = forget.listed(PARTS.train, users=[1], before=jnp.array([0.0, 1.0, 1.0, 1.0]))[1]
    assert twice.after.tolist() == [0, 1, 0, 1]


# ---- through the runner

LIST = (
    toy_runs.TOML.partition("[methods.unlearn_als]")[0]
    .replace("ratio = [0.01, 0.1]", 'path = "{path}"\nignore_missing = true')
    .replace('"random"', '"listed"')
    .replace("[0, 1, 2]", "[0]")
)


def test_the_runner_forgets_a_list_and_says_what_became_of_it(tmp_path, capsys):
    path = tmp_path / "request.csv"
    path.write_text("user\n1\n2\n3\n4\n1000000\n")
    config = toy_runs.small(tmp_path, LIST.replace("{path}", str(path)))
    assert cli.main(["run", config, "--results", str(tmp_path), "--quiet"]) == 0
    assert cli.main(["collect", config, "--results", str(tmp_path)]) == 0
    assert cli.main(["report", config, "figures=[]", "--results", str(tmp_path)]) == 0
    page = (tmp_path / "toy" / "report.html").read_text()
    assert "5 lines, 1 lines ignored" in page and "validation rows dropped" in page
    row = pd.read_csv(tmp_path / "toy" / "cells.csv").iloc[0]
    assert (row["request.asked"], row["request.missing"], row["kind"]) == (5, 1, "listed")
    assert row["request.train"] > 0 and row["request.valid"] + row["request.test"] > 0
    capsys.readouterr()
    strict = LIST.replace("{path}", str(path)).replace("ignore_missing = true", "")
    config = toy_runs.small(tmp_path, strict)
    assert cli.main(["run", config, "--results", str(tmp_path / "two")]) == 2
    assert "1000000" in capsys.readouterr().err


def published_toml(folder, more=""):
    (folder / "a.txt").write_text("3 10 11 12\n5 10 13\n6 11 12 13 14\n")
    (folder / "b.txt").write_text("3 13\n5 11 12\n7 10\n6 99\n")
    text = LIST.partition("[request]")[2].partition("[models")[2]
    return (
        'seeds = [0, 1]\n[data]\nuse = "adjacency"\npath = "a.txt"\n'
        f'[split]\nby = "files"\ntest = {{path = "b.txt"}}\n{more}'
        f'[request]\nkind = "random"\nratio = 0.2\n[models{text}'
    )


def test_published_files_are_the_split(tmp_path):
    from experiments.lab import setup

    loaded = reading.read(toy_runs.write(tmp_path, published_toml(tmp_path)))
    cells = grid.cells(loaded)
    assert len({c.key("split") for c in cells}) == 1  # nothing is drawn, so no seed matters
    prepared = setup.laboratory(loaded.experiment, None, str(tmp_path)).materials.prepared(cells[0])
    train, valid, test = prepared.split
    assert prepared.users.tolist() == [3, 5, 6] and prepared.items.tolist() == list(range(10, 15))
    assert pairs(test) == [(0, 3, 1.0), (1, 1, 1.0), (1, 2, 1.0)]  # 7 and 99 have no training
    assert len(train.users) == 9 and len(valid.users) == 0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('test = {path = "b.txt"}', "", "split.test: missing"),
        ('by = "files"', 'by = "user"', "split.test: only read where"),
        ('by = "files"', 'by = "files"\nseed = 3', "split.seed: not read"),
        ("{path = ", "{pth = ", "split.test.pth: unknown setting"),
        ("{path = ", "{path = 3, p = ", "split.test"),
        ('{path = "b.txt"}', "3", "split.test"),
    ],
)
def test_a_split_by_files_is_checked_before_anything_runs(old, new, words, tmp_path):
    path = toy_runs.write(tmp_path, published_toml(tmp_path).replace(old, new))
    with pytest.raises(Refused, match=words):
        grid.cells(reading.read(path))


def test_parts_share_their_ids_and_no_pair_is_in_two_of_them():
    table = pd.DataFrame({"user": [4, 4, 9], "item": [1, 2, 1], "value": [1.0, 2.0, 3.0]})
    other = pd.DataFrame({"user": [9, 8], "item": [2, 1], "value": [4.0, 5.0]})
    both = published.join(table, None, other)
    kept = published.split_parts(both, cold="keep")
    assert kept.users.tolist() == [4, 9, 8] and pairs(kept.split.test) == [(1, 1, 4.0), (2, 0, 5.0)]
    assert pairs(published.split_parts(both).split.test) == [(1, 1, 4.0)]
    with pytest.raises(ValueError, match=r"repeat .* \(4, 1\)"):
        published.split_parts(published.join(table, table.iloc[:1], other))
    with pytest.raises(ValueError, match=r"test file has other columns .*item"):
        published.join(table, None, other.astype({"item": str}))
    with pytest.raises(ValueError, match="training part is empty"):
        published.split_parts(published.join(table.iloc[:0], table, other))
    with pytest.raises(ValueError, match="part must be"):
        published.split_parts(both.assign(part=3))
    with pytest.raises(ValueError, match="lacks part"):
        published.split_parts(table)
    with pytest.raises(ValueError, match="cold"):
        published.split_parts(both, cold="other")
    assert split.TEST == 2


@pytest.mark.parametrize(
    "header",
    [
        *("user, item", "user,Item", "user,\xa0item", "user,\u200bitem", "user,\uff49tem"),
        *("user_id,item", "user ,item", "USER,item", "user,item_ids", "#user,item", "user,'item'"),
    ],
)
def test_a_pair_is_not_read_as_a_whole_user_or_item_for_a_name_in_the_header(header, tmp_path):
    (tmp_path / "r.csv").write_text(f"{header}\nann,71\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"r\.csv, line 1: the column .* would not be read, .* out"
    ):
        requests.listed(tmp_path / "r.csv", PARTS, USERS, ITEMS)


@pytest.mark.parametrize(
    "header",
    [
        *("user_id:token\titem_id_list:token_seq", "user:token\titem_id:token"),
        *("User_id:token\titem_id:token", "user_id:token\titem:token"),
    ],
)
def test_nor_for_a_field_of_recbole(header, tmp_path):
    (tmp_path / "r.inter").write_text(f"{header}\nann\t71\n")
    with pytest.raises(ValueError, match=r"r\.inter, line 1: the column .* would not be read"):
        requests.listed(tmp_path / "r.inter", PARTS, USERS, ITEMS)
    (tmp_path / "r.inter").write_text("rating:float\tuser_id:token\ttimestamp:float\n1\tann\t2\n")
    assert requests.listed(tmp_path / "r.inter", PARTS, USERS, ITEMS).counts["train"] == 2
