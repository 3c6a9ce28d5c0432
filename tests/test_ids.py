"""Ids are compared as what they are: nobody is mistaken for somebody else."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxforget.metrics import canaries, candidates, rank_measures, ranking
from jaxforget.prepare import forget, interop
from jaxforget.sparse import layout, search
from jaxforget.types import Factors


def frame(users):
    n = len(users)
    return pd.DataFrame({"user": users, "item": np.arange(n), "value": np.ones(n)})


@pytest.mark.parametrize("user", [2**32 + 3, -1, 12, 2**63 - 1])
def test_a_request_for_a_user_who_is_not_there_forgets_nobody_else(toy, user):
    with pytest.raises(ValueError, match=rf"1 of 1 pairs are not .*\({user}, 0\)"):
        forget.pairs(toy, np.array([user]), np.array([0]))


ALONE = layout.build(np.arange(6), np.zeros(6, int), np.ones(6))  # one item, and every user once
ASKED = {
    "users": lambda ids: forget.listed(ALONE, users=ids)[1].after,
    "items": lambda ids: forget.listed(ALONE, items=ids)[1].after,
    "pairs": lambda ids: forget.pairs(ALONE, ids, jnp.zeros(ids.shape, jnp.int32))[1].after,
}


@pytest.mark.parametrize("how", ASKED)
@pytest.mark.parametrize(
    "ids", [[False, False, False, True, False, True], [3.0, 5.0], [float("nan")]]
)
def test_traced_ids_that_are_no_integers_are_refused_as_known_ones_are(how, ids):
    """A mask of users 3 and 5 was read as the ids 0 and 1."""
    words = "must be integer ids; got (bool|float64)"
    for ask in (ASKED[how], jax.jit(ASKED[how])):
        with pytest.raises(ValueError, match=words):
            ask(jnp.array(ids))
    with pytest.raises(ValueError, match=words):
        jax.vmap(ASKED[how])(jnp.array([ids]))


@pytest.mark.parametrize("how", ["users", "pairs"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
def test_a_traced_id_of_any_type_that_is_nobodys_forgets_nobody(how, dtype):
    """2**32 + 1 is not 1, and 255 is not -1."""
    bits = np.iinfo(dtype)
    beyond = [bits.max, min(2**32 + 1, bits.max), bits.min if bits.min else 6, 6]
    ids = jnp.array([3, *beyond], dtype)
    assert jax.jit(ASKED[how])(ids).tolist() == [1, 1, 1, 0, 1, 1]
    assert jax.vmap(ASKED[how])(ids[:, None]).sum(axis=1).tolist() == [5, 6, 6, 6, 6]
    with pytest.raises(ValueError, match=str(bits.max)):
        ASKED[how](np.asarray(ids[1:2]))
    assert ASKED[how](np.array([4], dtype)).tolist() == [1, 1, 1, 1, 0, 1]


@pytest.mark.parametrize("count", [1.5, 1.0, True])
def test_a_traced_count_that_is_no_integer_is_refused(count):
    for kind in (forget.random, forget.users):
        ask = jax.jit(lambda n, kind=kind: kind(jax.random.key(0), ALONE, count=n)[1].after)
        with pytest.raises(ValueError, match="count must be an integer"):
            ask(jnp.array(count))
        assert ask(jnp.array(2, jnp.int32)).sum() == 4


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


# --- measures of items that are named by their ids -----------------------------------------------

MANY = 300  # more than 8 bits number; the scores rise with the id
WIDE = Factors(jnp.ones((MANY, 1)), jnp.arange(float(MANY))[:, None])
NOBODY = layout.build([0], [0], [1.0], n_users=MANY, n_items=MANY), jnp.zeros(1)


def listed_within(k):
    return lambda ranked: {"hit": rank_measures.hit(ranked, k=k)}


MEASURED = {
    "exposure": lambda x: ranking.exposure(WIDE, x, jnp.ones(MANY, bool), [], ks=[200])[200],
    "over_candidates": lambda x: candidates.over_candidates(
        listed_within(1), WIDE, x[None], jnp.stack([x, jnp.zeros_like(x)])[None]
    )["hit"],
    "rank_exposure": lambda x: canaries.rank_exposure(
        WIDE, x[None], x[None], jnp.ones(MANY, bool), *NOBODY
    ),
}
NARROW = ["int8", "uint8", "uint16", "int64"]


@pytest.mark.parametrize("how", MEASURED)
@pytest.mark.parametrize("dtype", NARROW)
def test_a_measure_of_an_id_does_not_depend_on_the_type_that_holds_it(how, dtype):
    """The number of items was cast to the type of the id: 299 is 43 in 8 bits."""
    measure = MEASURED[how]
    item = min(200, np.iinfo(dtype).max)
    want, asked = float(measure(jnp.array(item, jnp.int32))), jnp.array(item, dtype)
    for got in (measure(asked), jax.jit(measure)(asked), jax.vmap(measure)(asked[None])[0]):
        assert float(got) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("dtype", NARROW)
def test_the_exposure_of_a_known_id_is_counted_in_any_type(dtype):
    for item in (99, 100, 127):
        got = ranking.exposure(WIDE, np.dtype(dtype).type(item), jnp.ones(MANY, bool), [], ks=[200])
        assert float(got[200]) == float(MANY - 1 - item < 200), (dtype, item)


@pytest.mark.parametrize("how", MEASURED)
@pytest.mark.parametrize("item", [-1, MANY, 2**32 + 5])
def test_a_traced_id_that_is_no_item_makes_no_number_in_64_bits_either(how, item):
    assert np.isnan(jax.jit(MEASURED[how])(jnp.array(item)))


@pytest.mark.parametrize("how", MEASURED)
@pytest.mark.parametrize("value", [2.0, True])
def test_a_measure_refuses_ids_that_are_no_integers(how, value):
    for measure in (MEASURED[how], jax.jit(MEASURED[how])):
        with pytest.raises(ValueError, match=f"{how}: .* must hold integer ids; got"):
            measure(jnp.array(value))


@pytest.mark.parametrize("dtype", NARROW)
def test_histories_of_users_are_read_in_any_type(dtype):
    """The end of user 127's is where 128's begins, which int8 does not hold."""
    everybody = layout.build(np.arange(MANY), np.arange(MANY), np.ones(MANY))
    user = np.iinfo(dtype).max if dtype.endswith("8") else 130
    users = jnp.array([user], dtype)
    hidden = [(everybody, jnp.ones(MANY))]
    assert np.flatnonzero(ranking.hide(hidden, users, MANY)[0]).tolist() == [user]


def test_what_is_no_id_is_minus_one_in_every_type():
    assert search.inside(np.array([0, 127], np.int8), 128).tolist() == [0, 127]
    assert search.inside(np.array([0, 255], np.uint8), 255).tolist() == [0, -1]
    assert search.inside(np.array([-(2**32), 2**32, 7]), 9).tolist() == [-1, -1, 7]
    assert search.inside(np.int8(5), 0).tolist() == -1
