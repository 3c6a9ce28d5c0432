"""The readers on the published files; skipped where the files are not at hand."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jaxforget import data
from jaxforget.data import _formats
from jaxforget.prepare import forget, preprocess, split


def real(folder):
    """The root of the real data, where it holds that folder; else skips the test."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("JAXFORGET_DATA", beside))
    if not (root / folder).exists():
        pytest.skip("real data not present: set JAXFORGET_DATA")
    return root


GOWALLA = ["gowalla-lightgcn/train.txt.gz", "gowalla-lightgcn/test.txt.gz"]
LCFN = [
    f"amazon-electronics/lcfn-10core/{part}_data.json.gz"
    for part in ("train", "validation", "test")
]
HEAD = "amazon-electronics/ratings_Electronics.head50698.csv.gz"
REAL = {
    "movietweetings": ("movietweetings-100k", {"core": "full"}, (16_554, 10_506, 100_000)),
    "movielens 100k": ("ml-100k", {"size": "100k"}, (943, 1_682, 100_000)),
    "movielens 1m": ("ml-1m", {"size": "1m"}, (6_040, 3_706, 1_000_209)),
    "movielens new": ("ml-latest-small", {"size": "latest-small"}, (610, 9_724, 100_836)),
    "amazon": ("amazon-electronics", {"columns": "2014", "path": HEAD}, (47_141, 3_529, 50_698)),
    "adjacency": ("gowalla-lightgcn", {"path": GOWALLA}, (29_858, 40_981, 1_027_370)),
    "adjacency in JSON": ("amazon-electronics", {"path": LCFN}, (20_247, 11_589, 347_393)),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_meet_their_published_counts(name):
    folder, settings, counts = REAL[name]
    frame = data.read(name.partition(" ")[0], real(folder), **settings)
    assert (frame["user"].nunique(), frame["item"].nunique(), len(frame)) == counts


def test_real_movietweetings_keeps_leading_zeros_and_ratings_of_zero():
    frame = data.read("movietweetings", real("movietweetings-100k"), core="full")
    assert "0111161" in set(frame["item"]) and (frame["value"] == 0).sum() == 12


def test_the_embedded_10_core_is_the_10_core_of_the_real_snapshot():
    full = data.read("movietweetings", real("movietweetings-100k"), core="full")
    core, embedded = preprocess.k_core(full, k=10), data.read("movietweetings", None)
    rows = ["item", "value", "time"]  # the users were renumbered
    ours, theirs = (frame[rows].sort_values(rows, ignore_index=True) for frame in (core, embedded))
    pd.testing.assert_frame_equal(ours, theirs)


def test_real_movielens_1m_has_the_official_histogram():
    frame = data.read("movielens", real("ml-1m"), size="1m")
    counts = frame["value"].value_counts().sort_index().to_list()
    assert counts == [56_174, 107_557, 261_197, 348_971, 226_310]
    head = _formats.read_double_colon(real("ml-1m") / "ml-1m/ratings.head10000.dat")
    assert "time" in head
    pd.testing.assert_frame_equal(
        head[["user", "item", "value"]], frame[["user", "item", "value"]][:10_000]
    )


def test_the_official_splits_of_movielens_100k_are_the_data():
    root = real("ml-100k")
    columns = ["user", "item", "value", "time"]
    whole = data.read("movielens", root, size="100k").sort_values(columns, ignore_index=True)
    for name in ("u1", "u5"):
        parts = [
            data.read(
                "delimited",
                root,
                path=f"ml-100k/splits.zip!ml-100k/{name}.{part}",
                columns=columns,
                separator="\t",
                text=[],
            )
            for part in ("base", "test")
        ]
        both = pd.concat(parts).sort_values(columns, ignore_index=True)
        pd.testing.assert_frame_equal(both, whole)


@pytest.mark.parametrize("file", ["ml-10m_sample.dat", "ml-25m_sample.csv"])
def test_the_heads_of_the_large_movielens_sets_read(file):
    root = real("movielens-heads")
    columns = ["user", "item", "value", "time"]
    if file.endswith("csv"):
        columns = dict(zip(("userId", "movieId", "rating", "timestamp"), columns, strict=True))
    frame = data.read(
        "delimited",
        root,
        path=f"movielens-heads/{file}",
        columns=columns,
        separator="," if file.endswith("csv") else "::",
        text=[],
    )
    assert len(frame) == 10_000 - file.endswith("csv")  # 10,000 lines, one of them a header
    assert set(frame["value"] * 2) <= set(range(1, 11))


def test_real_book_crossing_keeps_escaped_isbns_and_zeros():
    frame = data.read("bookcrossing", real("book-crossing"))
    assert (len(frame), frame["user"].nunique(), frame["item"].nunique()) == (
        1_149_779,
        105_283,
        340_549,
    )
    escaped = frame[frame["item"].str.contains('"', regex=False)]
    assert sorted(escaped["item"]) == ['"0210000010', '"0432534220"', '"2842053052"']
    assert (frame["value"] == 0).sum() == 716_109
    rated = data.read("bookcrossing", real("book-crossing"), implicit="drop", clean_isbn=True)
    assert len(rated) == 433_670 and rated["item"].str.fullmatch("[0-9A-Z]+").all()


@pytest.mark.parametrize(
    ("member", "value", "rows", "repeated"),
    [("game_play", "Hours", 70_489, 12), ("game_purchase", "Purchase", 129_511, 707)],
)
def test_real_steam_has_repeated_pairs_inside_a_zip(member, value, rows, repeated):
    root = real("steam-caserec")
    frame = data.read(
        "delimited",
        root,
        path=f"steam-caserec/steam.zip!steam/{member}.dat",
        columns={"User_ID": "user", "Game_ID": "item", value: "value"},
        separator="\t",
    )
    assert len(frame) == rows
    with pytest.raises(ValueError, match=f"^{repeated} rows repeat"):
        preprocess.duplicates(frame, how="error")
    summed = preprocess.duplicates(frame, how="sum")
    assert len(summed) == rows - repeated
    assert summed["value"].sum() == pytest.approx(frame["value"].sum(), rel=1e-5)


def test_real_receraser_lists_read_with_users_that_have_no_test_items():
    root = real("ml-1m")
    train = data.read("adjacency", root, path="ml-1m/receraser/train.txt.gz")
    test = data.read("adjacency", root, path="ml-1m/receraser/test.txt.gz")
    assert (len(train), len(test)) == (720_152, 200_041)
    assert train["user"].nunique() - test["user"].nunique() == 6


def test_real_digital_music_has_cold_test_items():
    root = real("amazon-digital-music")
    train, test = (
        data.read(
            "delimited",
            root,
            path=f"amazon-digital-music/cure4rec/{part}.csv.gz",
            columns={"uid": "user", "iid": "item", "val": "value"},
            text=[],
        )
        for part in ("train", "test")
    )
    assert (len(train), len(test)) == (197_188, 41_504)
    both = pd.concat([train, test], ignore_index=True)
    both["time"] = both.index  # the published order: training rows first
    shares = (len(train) / len(both), 0.0, len(test) / len(both))
    cold = set(test["item"]) - set(train["item"])
    assert len(cold) == 15_620
    dropped, kept = (
        split.split_frame(both, seed=0, shares=shares, by="time", cold=cold)
        for cold in ("drop", "keep")
    )
    assert len(dropped.split.train.values) == len(kept.split.train.values) == 197_188
    assert (dropped.split.train.n_items, kept.split.train.n_items) == (
        train["item"].nunique(),
        115_082,
    )
    known = test["item"].isin(set(train["item"])) & test["user"].isin(set(train["user"]))
    assert len(dropped.split.test.values) == known.sum() < len(kept.split.test.values) == 41_504


def test_the_book_crossing_recipe_gives_the_known_counts():
    frame = preprocess.k_core(data.read("bookcrossing", real("book-crossing")), k=5)
    assert (len(frame), frame["user"].nunique(), frame["item"].nunique()) == (
        585_579,
        15_798,
        38_093,
    )
    train, valid, test = split.split_frame(frame, seed=1024, shares=(0.6, 0.2, 0.2)).split
    assert (len(train.values), train.n_users, train.n_items) == (351_347, 15_758, 37_992)
    assert (len(valid.values), len(test.values)) == (116_757, 116_716)


CARD = (Path(__file__).parents[1] / "results/BENCHMARKS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("part", GOWALLA)
def test_the_split_of_the_benchmark_card_is_that_of_gowalla_here(part):
    """sha256 of the sorted lines "user item", whatever the order in which the file has them."""
    frame = data.read("adjacency", real("gowalla-lightgcn"), path=part)
    lines = sorted(f"{u} {i}\n".encode() for u, i in frame[["user", "item"]].to_numpy())
    assert hashlib.sha256(b"".join(lines)).hexdigest() in CARD


def test_the_test_items_of_gowalla_are_more_popular_than_training_items():
    train, test = (data.read("adjacency", real("gowalla-lightgcn"), path=part) for part in GOWALLA)
    counts = train["item"].value_counts()
    own, others = counts[train["item"]] - 1, counts[test["item"]]
    found = [np.log1p(x.to_numpy()).mean() for x in (others, own)]
    assert [f"{x:.2f}" for x in found] == ["3.51", "3.46"]
    assert "3.51 over test pairs and 3.46" in " ".join(CARD.split())
    within = [
        pd.Series(np.log1p(x.to_numpy())).groupby(part["user"].to_numpy()).mean()
        for x, part in ((others, test), (own, train))
    ]
    apart = (within[0] - within[1]).dropna()
    half = 1.96 * apart.std() / len(apart) ** 0.5
    assert f"{apart.mean():.3f} ± {half:.3f}" == "0.043 ± 0.008"


def test_the_leave_one_out_file_of_the_benchmark_card_is_the_one_here():
    path = real("ml-1m") / "ml-1m/ncf/ml-1m.test.negative.gz"
    assert hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest() in CARD
    users, items = _formats.read_candidates(path)
    assert items.shape == (6_040, 100) and users.tolist() == list(range(6_040))
    frame = data.read("movielens", real("ml-1m"), size="1m").assign(value=1.0)
    train, _, _ = data.encode(frame)
    held = forget.pairs(train, users, items[:, 0])[1]  # each of them is a rating
    assert int((held.before - held.after).sum()) == 6_040
