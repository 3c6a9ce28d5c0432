"""One format of factor files: ours, that of the library ``implicit``, and that of receipts."""

import contextlib
import dataclasses
import os
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.commands import verify
from jaxforget.als.certificate import receipt as receipts
from jaxforget.prepare import interop
from jaxforget.sparse import layout
from jaxforget.types import Factors


def random_train(seed=0, n=60):
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(15 * 11)[:n]
    return layout.build(
        pairs // 11, pairs % 11, rng.integers(0, 6, n).astype(float), n_users=17, n_items=12
    )


def random_factors(dtype=np.float32):
    rng = np.random.default_rng(2)
    return Factors(rng.normal(size=(17, 4)).astype(dtype), rng.normal(size=(12, 4)).astype(dtype))


def test_saved_factors_come_back(tmp_path):
    factors = random_factors()
    interop.save_factors(tmp_path / "model", factors)  # the name is kept: no suffix is added
    for loaded in (
        interop.load_factors(tmp_path / "model"),
        interop.from_implicit(tmp_path / "model"),
    ):
        np.testing.assert_array_equal(loaded.users, factors.users)
        np.testing.assert_array_equal(loaded.items, factors.items)


@pytest.mark.filterwarnings("ignore:OpenBLAS:RuntimeWarning")  # from implicit itself
def test_implicit_loads_our_factors_and_recommends_by_their_scores(tmp_path):
    als = pytest.importorskip("implicit.cpu.als")
    train, factors = random_train(), random_factors(np.float64)
    interop.save_factors(tmp_path / "model.npz", factors)
    model = als.AlternatingLeastSquares.load(str(tmp_path / "model.npz"))
    seen = interop.to_scipy(train)
    items, _ = model.recommend(np.arange(17), seen, N=3, filter_already_liked_items=True)
    for user in range(17):
        scores = factors.items @ factors.users[user]
        scores[seen[user].indices] = -np.inf
        np.testing.assert_array_equal(items[user], np.argsort(-scores)[:3])


@pytest.mark.filterwarnings("ignore:OpenBLAS:RuntimeWarning")  # from implicit itself
def test_a_model_of_implicit_comes_back_with_its_settings_and_solves_for_users_anew(tmp_path):
    als = pytest.importorskip("implicit.cpu.als")
    before, after = tmp_path / "before.npz", tmp_path / "after.npz"
    how = {"factors": 4, "regularization": 3.0, "alpha": 2.0, "use_cg": False, "iterations": 2}
    model = als.AlternatingLeastSquares(**how, num_threads=1, random_state=0)
    train = random_train()
    seen = interop.to_scipy(dataclasses.replace(train, values=train.values.astype(np.float32)))
    model.fit(seen, show_progress=False)
    model.save(str(before))
    served = interop.load_factors(before)
    interop.save_factors(after, served, like=before)
    loaded = als.AlternatingLeastSquares.load(str(after))
    for name, value in how.items():
        assert getattr(loaded, name) == value, name
    users = np.arange(17)
    want = model.recommend(users, seen, N=5, recalculate_user=True)
    np.testing.assert_array_equal(loaded.recommend(users, seen, N=5, recalculate_user=True), want)
    interop.save_factors(after, served, settings={"regularization": 3.0, "alpha": 2.0})
    loaded = als.AlternatingLeastSquares.load(str(after))
    np.testing.assert_array_equal(loaded.recommend(users, seen, N=5, recalculate_user=True), want)


def test_settings_of_a_model_of_another_width_are_refused(tmp_path):
    factors = random_factors()
    interop.save_factors(tmp_path / "old", factors)
    narrow = Factors(factors.users[:, :2], factors.items[:, :2])
    with pytest.raises(ValueError, match="has 4 factors, the model to be written 2"):
        interop.save_factors(tmp_path / "new", narrow, like=tmp_path / "old")
    assert not (tmp_path / "new").exists()


def test_arrays_beside_the_settings_are_not_carried_into_a_new_file(tmp_path):
    factors, old, new = random_factors(), tmp_path / "old.npz", tmp_path / "new.npz"
    seen = {"seen_indptr": np.arange(18), "seen_indices": np.arange(40)}
    interop.save_factors(old, factors, settings={"alpha": 2.0} | seen)
    with pytest.raises(ValueError, match=r"has seen_indptr, seen_indices beside its settings"):
        interop.save_factors(new, factors, like=old)
    assert not new.exists()
    interop.save_factors(old, factors, settings={"alpha": 2.0})
    interop.save_factors(new, factors, like=old)
    assert float(interop.load_settings(new)["alpha"]) == 2.0


@pytest.mark.filterwarnings("ignore:OpenBLAS:RuntimeWarning")  # from implicit itself
def test_factors_of_a_fitted_implicit_model_are_taken(tmp_path):
    als = pytest.importorskip("implicit.cpu.als")
    model = als.AlternatingLeastSquares(factors=3, iterations=1, num_threads=1)
    train = random_train()
    train = dataclasses.replace(train, values=train.values.astype(np.float32))
    model.fit(interop.to_scipy(train), show_progress=False)  # as it is: no copy is needed
    model.save(str(tmp_path / "theirs.npz"))
    for factors in (
        interop.from_implicit(model),
        interop.from_implicit(str(tmp_path / "theirs.npz")),
    ):
        np.testing.assert_array_equal(factors.users, model.user_factors)
        np.testing.assert_array_equal(factors.items, model.item_factors)


def test_factors_on_another_device_are_copied_to_the_host():
    class OnDevice:
        def __init__(self, array):
            self.to_numpy = lambda: array

    class Model:
        user_factors, item_factors = map(OnDevice, random_factors())

    np.testing.assert_array_equal(interop.from_implicit(Model()).users, random_factors().users)


def test_what_holds_no_factors_is_refused(tmp_path):
    with pytest.raises(ValueError, match="object: user_factors and item_factors must be"):
        interop.from_implicit(object())
    np.savez(tmp_path / "other.npz", user_factors=np.ones((2, 3)), item_factors=np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"other\.npz: user_factors and item_factors must be"):
        interop.load_factors(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match=r"text\.npz: not an \.npz"):
        interop.load_factors(tmp_path / "text.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.npz: not an \.npz"):
        interop.load_factors(tmp_path / "empty.npz")
    with pytest.raises(FileNotFoundError):
        interop.load_factors(tmp_path / "absent.npz")


def test_loading_factors_runs_no_code_from_the_file(tmp_path):
    arrays = {"user_factors": np.array([[print]], object), "item_factors": np.ones((1, 1))}
    np.savez(tmp_path / "evil.npz", **arrays)
    with pytest.raises(ValueError, match=r"not an .npz of factors"):
        interop.load_factors(tmp_path / "evil.npz")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_factors_are_saved_in_the_precision_asked_for(tmp_path, dtype):
    factors = random_factors(np.float64)
    interop.save_factors(tmp_path / "factors.npz", factors, dtype=dtype)
    loaded = interop.load_factors(tmp_path / "factors.npz")
    assert loaded.users.dtype == loaded.items.dtype == dtype
    np.testing.assert_array_equal(loaded.users, factors.users.astype(dtype))


def test_the_names_that_receipts_once_had_are_refused_with_what_to_do(tmp_path):
    factors = random_factors()
    np.savez(tmp_path / "factors.npz", users=factors.users, items=factors.items)
    with pytest.raises(ValueError, match=r"factors\.npz: .*save them again as user_factors="):
        interop.load_factors(tmp_path / "factors.npz")


def test_a_receipt_keeps_64_bits_and_is_checked_against_a_file_of_32(tmp_path):
    served = random_factors(np.float32)
    wide = Factors(*(part.astype(np.float64) for part in served))
    verify.save(tmp_path, {}, wide, random_train(), np.ones(60))
    stored = interop.load_factors(tmp_path / "factors.npz")
    assert receipts.hash_arrays(*stored) == receipts.hash_arrays(*wide)
    interop.save_factors(tmp_path / "served.npz", served)  # as implicit saves them
    for name in ("factors.npz", "served.npz"):
        got = verify._factors(tmp_path / name, {"factors": receipts.hash_arrays(*wide)})
        assert receipts.hash_arrays(*got) == receipts.hash_arrays(*wide)
    narrow = verify._factors(tmp_path / "served.npz", {"factors": receipts.hash_arrays(*served)})
    assert narrow.users.dtype == np.float32


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: np.save(p.open("wb"), np.ones((2, 2))), "not an .npz of factors"),
        (lambda p: p.write_bytes(p.read_bytes()[:-40]), "not an .npz of factors"),
        (lambda p: p.write_bytes(b""), "not an .npz of factors"),
        (lambda p: written(p, np.ones((2, 2), complex)), "must be floating-point numbers; got c"),
        (lambda p: written(p, np.array([["a", "b"]])), "must be floating-point numbers; got <U1"),
        (lambda p: written(p, np.array([[1.0, 2.0], [np.nan, 0.0]])), "must be finite; row 1"),
        (lambda p: written(p, np.ones(2)), r"must be \[U, D\] and \[I, D\]"),
    ],
)
def test_a_file_that_holds_no_factors_is_one_clear_error(damage, words, tmp_path):
    path = tmp_path / "model.npz"
    written(path, np.ones((2, 2)))
    damage(path)
    with pytest.raises(ValueError, match=words) as fault:
        interop.load_factors(path)
    assert str(path) in str(fault.value) and "\n" not in str(fault.value)
    held = Path("/proc/self/fd")  # where the system tells which files are open
    assert str(path) not in [os.path.realpath(x) for x in (held.iterdir() if held.exists() else ())]


def written(path, users):
    with path.open("wb") as file:
        np.savez(file, user_factors=users, item_factors=np.ones((3, 2)))


# ---- files are whole, or as they were


@contextlib.contextmanager
def full_disk(at=100):
    """No file grows beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


FRAME = pd.DataFrame({"user": range(50), "item": range(50), "value": 1.0})
WRITERS = {
    "save_factors": lambda path: interop.save_factors(path, random_factors()),
    "like itself": lambda path: interop.save_factors(path, random_factors(), like=path),
    "to_recbole": lambda path: interop.to_recbole(FRAME, path),
}


@pytest.fixture(params=WRITERS)
def write(request):
    return WRITERS[request.param]


def served(folder):
    path = folder / "served"
    interop.save_factors(path, Factors(np.ones((3, 4)), np.ones((2, 4))))
    return path


def test_a_file_that_cannot_be_written_whole_is_as_it_was(write, tmp_path):
    path = served(tmp_path)
    before = path.read_bytes()
    with full_disk(), pytest.raises(OSError, match=f"File too large: '{path}'"):
        write(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    write(path)
    assert path.read_bytes() != before and list(tmp_path.iterdir()) == [path]


def test_a_file_is_the_old_one_until_the_new_one_is_whole(write, tmp_path, monkeypatch):
    path = served(tmp_path)
    before = path.read_bytes()

    def killed(_):
        assert path.read_bytes() == before
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_links_permissions_and_what_is_no_file_are_as_open_leaves_them(write, tmp_path):
    path, link = served(tmp_path), tmp_path / "link"
    path.chmod(0o640)
    link.symlink_to(path)
    before = path.read_bytes()
    write(link)
    assert link.is_symlink() and path.read_bytes() != before
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(IsADirectoryError):
        WRITERS["to_recbole"](tmp_path)
    with pytest.raises(FileNotFoundError, match="missing/served"):
        WRITERS["save_factors"](tmp_path / "missing" / "served")
    WRITERS["to_recbole"](os.devnull)
    assert not os.path.isfile(os.devnull) and not (tmp_path / "missing").exists()
    assert sorted(tmp_path.iterdir()) == [link, path]


def test_what_is_no_text_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a.inter"
    WRITERS["to_recbole"](path)
    before = path.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        interop.to_recbole(pd.DataFrame({"user": ["\ud800"], "item": [1], "value": [1.0]}), path)
    assert path.read_bytes() == before
