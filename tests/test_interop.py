"""Exchange of data: ids, SciPy matrices, RecBole files, request files, the old shuffle of NumPy."""

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from oracles import dense, without

from jaxforget.prepare import interop, split
from jaxforget.sparse import layout


def frame_of(**columns):
    return pd.DataFrame(
        {"user": ["b", "a", "b"], "item": [9, 9, 4], "value": [1.0, 2.0, 3.0]} | columns
    )


# Ids


def test_ids_are_numbered_by_first_appearance():
    train, users, items = interop.encode(frame_of())
    assert users.tolist() == ["b", "a"] and items.tolist() == [9, 4]
    triples = zip(train.users.tolist(), train.items.tolist(), train.values.tolist(), strict=True)
    assert list(triples) == [(0, 0, 1.0), (0, 1, 3.0), (1, 0, 2.0)]
    assert train.n_users == 2 and train.n_items == 2


@pytest.mark.parametrize("dtype", ["str", object, "category"])
def test_text_ids_come_back_as_plain_numpy_text(dtype, tmp_path):
    frame = frame_of(user=pd.Series(["007", "ü", "007"], dtype=dtype))
    _, users, items = interop.encode(frame)
    assert users.dtype.kind == "U" and users.tolist() == ["007", "ü"]
    assert items.dtype == np.int64
    np.save(
        tmp_path / "users.npy", users, allow_pickle=False
    )  # labels can be stored without pickle


def test_encoding_a_real_table_and_going_back_gives_the_same_rows():
    rng = np.random.default_rng(1)
    pairs = rng.permutation(4 * 20)[:50]
    frame = pd.DataFrame({
        "user": np.array(["x", "y", "z", "NA"])[pairs // 20], "item": 100 + pairs % 20,
        "value": rng.integers(1, 6, 50).astype(np.float32),
    })  # fmt: skip
    train, users, items = interop.encode(frame)
    back = interop.to_frame(train, users=users, items=items)
    assert sorted(back.itertuples(index=False, name=None)) == sorted(
        frame.itertuples(index=False, name=None)
    )


@pytest.mark.parametrize("missing", ["user", "item", "value"])
def test_a_frame_without_a_column_is_refused_by_name(missing):
    with pytest.raises(ValueError, match=f"lacks {missing}; it has"):
        interop.encode(frame_of().drop(columns=missing))


@pytest.mark.parametrize("side", ["user", "item"])
def test_a_missing_id_is_refused_with_its_row(side):
    with pytest.raises(ValueError, match=f"row 1 has no {side} id"):
        interop.encode(frame_of(**{side: ["p", None, "q"]}))


def test_a_nan_value_is_refused():
    with pytest.raises(ValueError, match="finite"):
        interop.encode(frame_of(value=[1.0, np.nan, 2.0]))


def test_numbered_frames_are_taken_as_they_stand():
    frame = pd.DataFrame({"user": [3, 0], "item": [1, 2], "value": [5.0, 4.0]})
    train = interop.from_frame(frame, n_users=6)
    assert train.users.tolist() == [0, 3] and (train.n_users, train.n_items) == (6, 3)
    with pytest.raises(ValueError, match="integers"):
        interop.from_frame(frame_of())
    with pytest.raises(ValueError, match="encode the ids"):
        interop.from_frame(frame.assign(item=[-1, 2]))


# SciPy


def random_train(seed=0, n=60):
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(15 * 11)[:n]
    return layout.build(
        pairs // 11, pairs % 11, rng.integers(0, 6, n).astype(float), n_users=17, n_items=12
    )


def test_scipy_gets_the_same_matrix():
    train = random_train()
    matrix = interop.to_scipy(train)
    assert isinstance(matrix, scipy.sparse.csr_matrix) and matrix.has_canonical_format
    np.testing.assert_array_equal(matrix.toarray(), dense(train, train.values))


def test_weight_0_is_left_out_as_if_never_loaded():
    train = random_train()
    weights = np.random.default_rng(1).integers(0, 2, 60)
    alone = without(train, weights, layout.build)
    ours, theirs = interop.to_scipy(train, weights), interop.to_scipy(alone)
    assert ours.nnz == weights.sum() and (ours != theirs).nnz == 0
    pd.testing.assert_frame_equal(interop.to_frame(train, weights=weights), interop.to_frame(alone))


@pytest.mark.parametrize(
    "form", [scipy.sparse.csr_matrix, scipy.sparse.csc_array, scipy.sparse.coo_array]
)
def test_scipy_round_trip_keeps_cells_zeros_and_shape(form):
    train = random_train()
    back = interop.from_scipy(form(interop.to_scipy(train)))
    assert (back.n_users, back.n_items) == (17, 12)
    for name in ("users", "items", "values"):
        np.testing.assert_array_equal(getattr(back, name), getattr(train, name))


def test_cells_that_scipy_stores_twice_are_one_interaction_with_their_sum():
    cells = (np.array([200, 100, 7], np.uint8), (np.array([0, 0, 1]), np.array([2, 2, 0])))
    matrix = scipy.sparse.coo_matrix(cells, shape=(2, 3))
    train = interop.from_scipy(matrix)
    assert train.values.tolist() == [300, 7]  # in uint8, SciPy would wrap to 44
    assert interop.from_scipy(matrix, repeats="last").values.tolist() == [100, 7]
    with pytest.raises(ValueError, match="user 0 with item 2 at position 1"):
        interop.from_scipy(matrix, repeats="refuse")


def test_the_arrays_that_scipy_gets_can_be_written_and_are_no_views():
    train = random_train()
    for weights in (None, np.ones(60)):
        matrix = interop.to_scipy(train, weights)
        assert all(a.flags.writeable for a in (matrix.data, matrix.indices, matrix.indptr))
        matrix.data[:] = -1
    assert float(train.values.min()) >= 0


def test_a_frame_with_a_repeated_pair_is_refused_by_original_ids_and_as_numbers():
    frame = frame_of(user=["b", "b", "b"], item=[9, 4, 9])
    with pytest.raises(ValueError, match=r"1 rows repeat.*\('b', 9\).*the step duplicates"):
        interop.encode(frame)
    numbered = frame.assign(user=0)
    with pytest.raises(ValueError, match="user 0 with item 9 at position 2"):
        interop.from_frame(numbered)
    assert interop.from_frame(numbered, repeats="mean").values.tolist() == [2.0, 2.0]


def test_an_empty_matrix_has_users_and_no_interactions():
    train = interop.from_scipy(scipy.sparse.csr_matrix((3, 4)))
    assert (train.n_users, train.n_items, len(train.values)) == (3, 4, 0)
    assert interop.to_scipy(train).shape == (3, 4)


# RecBole


@pytest.mark.parametrize("timed", [False, True])
def test_recbole_files_round_trip(tmp_path, timed):
    frame = pd.DataFrame({
        "user": ["01", 'a "b"', "NA"], "item": ["x", "ü", "z"],
        "value": np.array([0.1, 3.5, -2], np.float32),
    })  # fmt: skip
    if timed:
        frame["time"] = [1368928648, 0, 5]
    interop.to_recbole(frame, tmp_path / "a.inter")
    assert (
        (tmp_path / "a.inter")
        .read_bytes()
        .startswith(b"user_id:token\titem_id:token\trating:float")
    )
    pd.testing.assert_frame_equal(
        interop.from_recbole(tmp_path / "a.inter"), frame, check_dtype=True
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": ["a", None, "b"]}, "row 1 has no user id: drop it"),
        ({"item": pd.array([1, 2, None], dtype="Int64")}, "row 2 has no item id: drop it"),
        ({"item": [1.0, 2.0, 3.0]}, "row 0: item ids must be all text or all integers; got 1.0"),
        ({"user": ["a", 7, "b"]}, "row 1: user ids must be all text or all integers; got 7"),
        ({"value": [1.0, np.nan, 3.0]}, "row 1: value must be a finite number; got nan"),
        ({"value": [1.0, 1e300, 3.0]}, r"a value of size 1e\+300, which no float32 holds"),
        ({"user": [1, -1, 2]}, "a user id below 0: -1"),
        ({"item": ["a", "", "b"]}, "a item id that is empty or has a tab or line break: ''"),
        ({"time": [1.0, 2.0, np.inf]}, "row 2: time must be a finite number; got inf"),
        ({"time": pd.to_datetime(["2020", "2021", "2022"])}, "row 0: time must be a finite"),
    ],
)
def test_what_recbole_could_not_read_again_is_not_written(tmp_path, columns, message):
    with pytest.raises(ValueError, match=message):
        interop.to_recbole(frame_of(**columns), tmp_path / "a.inter")
    assert not (tmp_path / "a.inter").exists()


def test_recbole_ids_may_hold_no_tab(tmp_path):
    with pytest.raises(ValueError, match="user id that is empty or has a tab or line break"):
        interop.to_recbole(frame_of(user=["a", "b\tc", "d"]), tmp_path / "a.inter")
    assert not (tmp_path / "a.inter").exists()


# Requests


def test_a_request_names_original_ids_of_either_kind(tmp_path):
    _, users, items = interop.encode(frame_of())
    (tmp_path / "request.csv").write_text("item,user,why\n4,b,moved\n9,a,\n")
    asked = interop.read_pairs(tmp_path / "request.csv", users, items)
    assert [ids.tolist() for ids in asked] == [[0, 1], [1, 0]]
    assert all(ids.dtype == np.int32 for ids in asked)


def test_text_ids_of_a_request_keep_their_zeros(tmp_path):
    (tmp_path / "request.csv").write_text("user,item\n1,0111161\n")
    users, items = interop.read_pairs(
        tmp_path / "request.csv", np.array([1]), np.array(["0111161"])
    )
    assert users.tolist() == [0] and items.tolist() == [0]
    with pytest.raises(ValueError, match=r"1 pairs are not in the data.*\(1, 0111161\)"):
        interop.read_pairs(tmp_path / "request.csv", np.array([1]), np.array(["111161"]))


def test_pairs_that_are_not_in_the_data_are_named_the_first_three(tmp_path):
    (tmp_path / "r.csv").write_text("user,item\n1,5\n2,5\n1,6\n3,5\n4,5\n")
    with pytest.raises(ValueError, match=r"r\.csv: 4 pairs.*\(2, 5\), \(1, 6\), \(3, 5\):"):
        interop.read_pairs(tmp_path / "r.csv", np.array([1]), np.array([5]))


@pytest.mark.parametrize(
    ("content", "message"),
    [("user,item\n1,x\n", "line 2: item must be an integer"), ("a,b\n1,5\n", "line 1: the header"),
     ("user,item\n", "line 2: no interactions"), ("user,item\n1\n", "line 2: expected 2 columns")],
)  # fmt: skip
def test_a_bad_request_file_is_named_with_its_line(tmp_path, content, message):
    (tmp_path / "r.csv").write_text(content)
    with pytest.raises(ValueError, match=f"r.csv, {message}"):
        interop.read_pairs(tmp_path / "r.csv", np.array([1]), np.array([5]))


# The order of published splits


@pytest.mark.parametrize(("seed", "n"), [(1024, 1000), (0, 1), (2**32 - 1, 7), (3, 0)])
def test_the_legacy_order_is_that_of_numpys_global_generator(seed, n):
    state = np.random.get_state()
    np.random.seed(seed)
    index = np.arange(n)
    np.random.shuffle(index)
    np.random.set_state(state)
    np.testing.assert_array_equal(split.legacy_permutation(seed, n), index)


def test_the_legacy_order_leaves_the_global_generator_alone():
    np.random.seed(5)
    wanted = np.random.rand()
    np.random.seed(5)
    split.legacy_permutation(1, 10)
    assert np.random.rand() == wanted


def test_tables_of_arrow_are_read_as_those_of_pandas():
    pyarrow = pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"user": ["b", "a"], "item": [7, 2**40], "value": [1.0, 2.0]})
    table = pyarrow.Table.from_pandas(frame)
    for ours, theirs in zip(interop.encode(frame), interop.encode(table)):
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    numbers = frame.assign(user=[0, 1], item=[2, 0])
    want, got = (interop.from_frame(x) for x in (numbers, pyarrow.Table.from_pandas(numbers)))
    jax.tree.map(np.testing.assert_array_equal, want, got)


def test_what_is_no_table_is_refused():
    with pytest.raises(ValueError, match="must be a frame of pandas, Polars or Arrow; got dict"):
        interop.encode({"user": [1], "item": [1], "value": [1.0]})
