"""Ids are compared as what they are: nobody is mistaken for somebody else."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxforget.prepare import forget, interop
from jaxforget.sparse import layout


def frame(users):
    n = len(users)
    return pd.DataFrame({"user": users, "item": np.arange(n), "value": np.ones(n)})


@pytest.mark.parametrize("user", [2**32 + 3, -1, 12, 2**63 - 1])
def test_a_request_for_a_user_who_is_not_there_forgets_nobody_else(toy, user):
    with pytest.raises(ValueError, match=rf"1 of 1 pairs are not .*\({user}, 0\)"):
        forget.pairs(toy, np.array([user]), np.array([0]))


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones(59), r"must be \[60\]"),
        (np.full(60, np.nan), "got nan at position 0"),
        (np.append(np.ones(59), 1.5), "got 1.5 at position 59"),
        (np.append(-1.0, np.ones(59)), "got -1.0 at position 0"),
    ],
)
def test_weights_that_are_no_weights_are_refused(toy, weights, words):
    with pytest.raises(ValueError, match=words):
        forget.pairs(toy, toy.users[:1], toy.items[:1], before=weights)


def test_ids_of_two_kinds_are_refused_and_the_row_is_named():
    for users, row in (([123, "123"], 1), (["a", 7], 1), ([1.0, 2.0], 0), ([1, 2, "x"], 2)):
        with pytest.raises(ValueError, match=f"row {row}: user ids must be all text or all int"):
            interop.encode(frame(pd.Series(users, dtype=object)))
    with pytest.raises(ValueError, match="lost its digits"):
        interop.encode(frame(np.array([20180101123456728.0, 20180101123456729.0])))


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=8, unique=True))
def test_integers_of_17_digits_stay_apart_and_are_found_again(users):
    train, labels, _ = interop.encode(frame(np.array(users)))
    assert train.n_users == len(users) and labels.tolist() == users


def test_raw_ids_are_refused_before_anything_is_allocated():
    with pytest.raises(ValueError, match="encode the ids first"):
        layout.build([20180101123456728], [0], [1.0])


def test_a_request_file_names_ids_as_they_are_written(tmp_path):
    path = tmp_path / "request.csv"
    path.write_text("user,item\n257,7\n")
    small = np.array([1, 2], np.int8)
    with pytest.raises(ValueError, match=r"not in the data, among them \(257, 7\)"):
        interop.read_pairs(path, small, np.array([7]))
    with pytest.raises(ValueError, match=r"among them \(257, 7\)"):
        interop.read_pairs(path, np.array(["0257"]), np.array([7]))
    assert [x.tolist() for x in interop.read_pairs(path, np.array([9, 257]), np.array([7]))] == [
        [1],
        [0],
    ]
