"""Readers of data sets: what is read, what is refused, and where files are looked for."""

import hashlib
import sys
import types
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pandas as pd
import pytest

from jaxforget import _plugins, data

# The door


def test_every_data_set_has_what_the_door_promises():
    folder = Path(data.__file__).parent
    assert [name for name in data.names() if name.startswith("_")] == []
    assert {"movietweetings", "movielens", "bookcrossing", "amazon", "recbole", "adjacency",
            "delimited"} <= set(data.names())  # fmt: skip
    for path in folder.glob("[!_]*.py"):
        module = __import__(f"jaxforget.data.{path.stem}", fromlist=["read"])
        assert callable(module.read)
        for name, source in module.SOURCES.items():
            assert source.name == name and source.licence and source.citation and source.counts
            assert source.sha256 is None or len(bytes.fromhex(source.sha256)) == 32
            assert source.url is None or source.url.startswith(("http://", "https://"))
            assert source.url is None or source.files
    assert {"ml-100k", "movietweetings", "book-crossing"} <= set(data.sources())


def test_what_fetch_saves_is_where_locate_looks(tmp_path):
    for source in data.sources().values():
        if source.url is None:
            continue
        saved = f"{source.folder}/{source.url.rpartition('/')[2]}"
        assert saved in {place.partition("!")[0] for place in source.files}, source.name


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("movielnes", {}, "no data set 'movielnes'; did you mean 'movielens'"),
        ("_formats", {}, "no data set '_formats'"),
        ("movielens", {"sise": "1m"}, "no setting 'sise'; did you mean 'size'"),
        ("movielens", {}, "needs the setting 'size'"),
        ("movielens", {"size": "2m"}, "size must be one of 100k, 1m.*got '2m'"),
        ("movietweetings", {"core": 15}, "core must be 10"),
        ("bookcrossing", {"implicit": "no"}, "implicit must be"),
        ("amazon", {"columns": "2015"}, "columns must be"),
        ("amazon", {}, "needs the setting 'columns'"),
        ("no.such.package:read", {}, "cannot be imported"),
        ("jaxforget.data:no_such_function", {}, "cannot be imported"),
    ],
)
def test_a_wrong_name_or_setting_is_one_helpful_error(tmp_path, name, settings, message):
    with pytest.raises(ValueError, match=message):
        data.read(name, tmp_path, **settings)


@pytest.mark.parametrize("root", [None, "somewhere"])
def test_a_missing_data_set_says_where_it_is_from_and_where_it_goes(tmp_path, root):
    root = root and tmp_path / root
    with pytest.raises(FileNotFoundError) as caught:
        data.read("movielens", root, size="1m")
    said = str(caught.value)
    assert "https://files.grouplens.org/datasets/movielens/ml-1m.zip" in said
    assert data.sources()["ml-1m"].sha256 in said
    assert str(Path(root or "<data root>") / "ml-1m") in said
    assert "python -m experiments data fetch ml-1m" in said and "\n" not in said


def test_a_missing_file_of_the_user_is_named(tmp_path):
    for name, more in (("recbole", {}), ("delimited", {"columns": ["user", "item"]}),
                       ("adjacency", {}), ("amazon", {"columns": "2014"})):  # fmt: skip
        with pytest.raises(FileNotFoundError, match=r"nowhere\.csv.*relative to the data root"):
            data.read(name, tmp_path, path="nowhere.csv", **more)


def test_packages_outside_the_tree_bring_their_own_data_sets(monkeypatch):
    module = types.ModuleType("outside")
    module.read = lambda root, *, n=1: pd.DataFrame({"user": [root] * n, "item": 1, "value": 2.0})
    monkeypatch.setitem(sys.modules, "outside", module)
    assert data.read("outside:read", "a", n=2)["user"].tolist() == ["a", "a"]
    with pytest.raises(ValueError, match="no setting 'm'"):
        data.read("outside:read", "a", m=2)

    point = EntryPoint("theirs", "outside:read", "jaxforget.datasets")
    monkeypatch.setattr(_plugins, "_points", lambda group, path: (point,))
    assert "theirs" in data.names() and len(data.read("theirs", "a", n=3)) == 3
    assert data.load("theirs", "a").n_users == 1


# The sets, in miniature: the layouts of the official archives

COLONS = b"196::242::3::881250949\n186::302::4::891717742\n"
COMMAS = b"userId,movieId,rating,timestamp\n196,242,3.0,881250949\n186,302,4.0,891717742\n"
MOVIELENS = {
    "100k": ("ml-100k/u.data", COLONS.replace(b"::", b"\t")),
    "1m": ("ml-1m/ratings.dat", COLONS),
    "10m": ("ml-10M100K/ratings.dat", COLONS),
    "20m": ("ml-20m/ratings.csv", COMMAS),
    "25m": ("ml-25m/ratings.csv", COMMAS),
    "latest-small": ("ml-latest-small/ratings.csv", COMMAS.replace(b"\n", b"\r\n")),
}


@pytest.mark.parametrize("place", ["", "folder"])
@pytest.mark.parametrize("size", MOVIELENS)
def test_movielens_reads_the_official_zip_and_the_unpacked_folder(tmp_path, size, place):
    member, content = MOVIELENS[size]
    archive = tmp_path / (f"ml-{size}" if place else "") / f"ml-{size}.zip"
    archive.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(member, content)
    wanted = {
        "user": [196, 186], "item": [242, 302], "value": [3.0, 4.0],
        "time": [881250949, 891717742],
    }  # fmt: skip
    assert data.read("movielens", tmp_path, size=size).to_dict("list") == wanted
    archive.unlink()
    (tmp_path / member).parent.mkdir(exist_ok=True)
    (tmp_path / member).write_bytes(content)
    assert data.read("movielens", tmp_path, size=size).to_dict("list") == wanted


def test_a_damaged_official_zip_is_damage_not_absence(tmp_path):
    (tmp_path / "ml-1m.zip").write_bytes(b"half a download")
    with pytest.raises(ValueError, match=r"ml-1m\.zip.*damaged"):
        data.read("movielens", tmp_path, size="1m")


def test_book_crossing_options_drop_zeros_and_clean_isbns(tmp_path):
    (tmp_path / "book-crossing").mkdir()
    (tmp_path / "book-crossing" / "BX-Book-Ratings.csv").write_bytes(
        b'"User-ID";"ISBN";"Book-Rating"\r\n"1";" 034-x";"0"\r\n"2";"034X";"7"\r\n'
        b'"3";"\\"5";"9"\r\n'
        b'"4";"?!";"1"\r\n'
    )
    raw = data.read("bookcrossing", tmp_path)
    assert raw["item"].tolist() == [" 034-x", "034X", '"5', "?!"]
    assert raw["value"].tolist() == [0.0, 7.0, 9.0, 1.0]
    rated = data.read("bookcrossing", tmp_path, implicit="drop", clean_isbn=True)
    assert rated["item"].tolist() == ["034X", "5"] and rated.index.tolist() == [0, 1]


def test_amazon_column_orders_are_told_apart_by_the_setting_alone(tmp_path):
    (tmp_path / "c.csv").write_bytes(b"A1,0001,5.0,10\n")
    older = data.read("amazon", tmp_path, columns="2014", path="c.csv")
    newer = data.read("amazon", tmp_path, columns="2018", path="c.csv")
    assert (older["user"][0], older["item"][0]) == ("A1", "0001")
    assert (newer["user"][0], newer["item"][0]) == ("0001", "A1")


def test_amazon_does_not_lose_a_row_to_a_header_it_does_not_have(tmp_path):
    (tmp_path / "c.csv").write_bytes(b"userId,productId,Rating,timestamp\nA1,0001,5.0,10\n")
    with pytest.raises(ValueError, match=r"c\.csv, line 1: value must be a finite number"):
        data.read("amazon", tmp_path, columns="2014", path="c.csv")


# The embedded set


def test_the_embedded_ratings_are_the_published_10_core():
    frame = data.read("movietweetings", None)
    assert (len(frame), frame["user"].nunique(), frame["item"].nunique()) == (44_613, 2_059, 1_099)
    assert frame.groupby("user").size().min() >= 10 and frame.groupby("item").size().min() >= 10
    assert not frame.duplicated(["user", "item"]).any()
    assert frame["value"].between(0, 10).all() and frame["item"].str.fullmatch(r"\d{7}").all()
    assert pd.to_datetime(frame["time"].min(), unit="s") >= pd.Timestamp(2013, 2, 28)


def test_the_embedded_ratings_come_with_their_licence_and_card():
    folder = Path(data.__file__).parent
    packed = (folder / "movietweetings-10core.dat.gz").read_bytes()
    assert hashlib.sha256(packed).hexdigest() == data.sources()["movietweetings"].sha256
    assert "Copyright (c) 2013 Simon Dooms" in (folder / "movietweetings.LICENSE").read_text()
    card = (folder / "movietweetings.md").read_text()
    assert data.sources()["movietweetings"].sha256 in card and "44,613" in card


def test_loading_gives_interactions_over_ids_by_first_appearance():
    frame = data.read("movietweetings", None)
    train = data.load("movietweetings", None)
    assert (train.n_users, train.n_items, len(train.values)) == (2_059, 1_099, 44_613)
    assert float(train.values.sum()) == frame["value"].sum()
