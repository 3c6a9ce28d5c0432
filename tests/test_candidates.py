"""One relevant item among sampled ones, against counting by hand."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget.metrics import candidates, rank_measures
from jaxforget.models.ease import ItemItem
from jaxforget.sparse import layout
from jaxforget.types import Factors

RNG = np.random.default_rng(0)
USERS, ITEMS = RNG.normal(size=(30, 3)), RNG.normal(size=(40, 3))
ASKED = np.array([3, 7, 7, 29, 0], np.int32)
LISTS = np.stack([RNG.permutation(40)[:12] for _ in ASKED]).astype(np.int32)


def measures(ranked, k=4):
    names = ("hit", "ndcg", "mrr")
    return {name: getattr(rank_measures, name)(ranked, k=k) for name in names}


def found(served, users=ASKED, lists=LISTS):
    return candidates.over_candidates(measures, served, jnp.asarray(users), jnp.asarray(lists))


def counted(scores, k=4):
    places = np.array([np.sum(row[1:] > row[0]) for row in scores])
    inside = places < k
    return {
        "hit": inside.mean(),
        "ndcg": np.where(inside, 1 / np.log2(places + 2), 0).mean(),
        "mrr": np.where(inside, 1 / (places + 1), 0).mean(),
    }


def test_the_measures_are_those_counted_by_hand():
    got = found(Factors(jnp.asarray(USERS), jnp.asarray(ITEMS)))
    want = counted(np.take_along_axis((USERS @ ITEMS.T)[ASKED], LISTS, 1))
    assert 0 < want["hit"] < 1
    np.testing.assert_allclose([got[k] for k in want], list(want.values()))


def test_so_are_those_of_a_model_of_items_on_items():
    train = layout.build(np.arange(30), np.arange(30), np.ones(30), n_users=30, n_items=40)
    served = functools.partial(ItemItem, train, jnp.ones(30))(jnp.asarray(ITEMS @ ITEMS.T))
    scores = np.asarray(served.scores(jnp.asarray(ASKED)))
    want = counted(np.take_along_axis(scores, LISTS, 1))
    got = found(served)
    np.testing.assert_allclose([got[k] for k in want], list(want.values()))


def test_an_item_that_is_named_again_counts_once():
    again = np.concatenate([LISTS, LISTS[:, :1], LISTS[:, 4:7]], axis=1)
    served = Factors(jnp.asarray(USERS), jnp.asarray(ITEMS))
    assert found(served) == found(served, lists=again)


def test_equal_scores_stand_in_random_order():
    got = found(Factors(jnp.zeros((30, 3)), jnp.asarray(ITEMS)))
    assert float(got["hit"]) == pytest.approx(4 / 12)


@pytest.mark.parametrize("user, item", [(30, 0), (-1, 0), (0, 40), (0, -1)])
def test_what_is_no_user_and_no_item_makes_no_number(user, item):
    users, lists = ASKED.copy(), LISTS.copy()
    users[1], lists[2, 3] = user, item
    served = Factors(jnp.asarray(USERS), jnp.asarray(ITEMS))
    assert np.isnan(float(found(served, users, lists)["hit"]))


def test_nor_does_a_score_that_is_not_finite_nor_nobody():
    broken = Factors(jnp.asarray(USERS), jnp.asarray(ITEMS).at[LISTS[0, 5]].set(jnp.nan))
    assert np.isnan(float(found(broken)["ndcg"]))
    good = Factors(jnp.asarray(USERS), jnp.asarray(ITEMS))
    assert np.isnan(float(found(good, ASKED[:0], LISTS[:0])["ndcg"]))
