"""Planted profiles: what is in them, what is asked, and the exposure of canaries by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxforget import _shares, metrics, models
from jaxforget.metrics import canaries as canary_measures
from jaxforget.metrics.canaries import rank_exposure
from jaxforget.prepare import _profiles, forget, planted, shilling
from jaxforget.sparse import layout
from jaxforget.types import Factors, Split

N_USERS, N_ITEMS = 30, 20


def parts(seed=0):
    """Popularity falls with the item's id; the last item has no interaction."""
    rng = np.random.default_rng(seed)
    cells = np.argwhere(rng.random((N_USERS, N_ITEMS - 1)) < np.linspace(0.9, 0.2, N_ITEMS - 1))
    cut = rng.permutation(len(cells))
    return Split(
        *(
            layout.build(*cells[rows].T, np.ones(len(rows)), n_users=N_USERS, n_items=N_ITEMS)
            for rows in (cut[:-40], cut[-40:-20], cut[-20:])
        )
    )


def canaries(seed=0, **more):
    settings = {"count": 6, "fillers": 5, "unpopular": 0.5} | more
    return planted.canaries(jax.random.key(seed), parts(), **settings)


def profiles(found):
    train, by_user = found.split.train, {}
    for user, item in zip(train.users.tolist(), train.items.tolist(), strict=True):
        if not found.genuine[user]:
            by_user.setdefault(user, set()).add(item)
    return by_user


@given(st.integers(1, 10**4), st.integers(1, 10**6), st.sampled_from([10, 100, 1000, 10**4]))
def test_a_share_is_rounded_up_as_the_decimal_that_it_is(numerator, n, denominator):
    numerator = min(numerator, denominator)
    share = float(f"{numerator / denominator:.4f}")
    assert _shares.part(share, n) == -(-numerator * n // denominator)


def test_a_share_of_something_is_something():
    assert _shares.part(1e-12, 5) == 1 and _shares.part(0.5, 0) == 0
    assert _profiles.number("canaries", 1e-12, None, 5) == 1


def test_7_percent_of_100_items_are_7():
    """In floating point 0.07 * 100 is just above 7."""
    part = layout.build(np.zeros(100, int), np.arange(100), np.ones(100))
    split = Split(part, part, part)
    found = planted.canaries(jax.random.key(0), split, count=1, fillers=2, unpopular=0.07)
    assert int(found.pool.sum()) == 7


def test_canaries_are_unpopular_items_and_half_of_each_is_asked():
    found, clean = canaries(), parts()
    counts = np.bincount(clean.train.items, minlength=N_ITEMS)
    pool = np.flatnonzero(found.pool)
    assert len(pool) == 10 and counts[pool].max() <= np.sort(counts[counts > 0])[9]
    assert list(profiles(found)) == list(range(N_USERS, N_USERS + 6))
    asked = list(zip(found.users.tolist(), found.items.tolist(), strict=True))
    for user, items in profiles(found).items():
        assert len(items) == 5 and items <= set(pool.tolist())
        named = [item for one, item in asked if one == user]
        assert len(set(named)) == 2 and set(named) <= items
    _, request = forget.pairs(found.split.train, found.users, found.items)
    assert float((request.before - request.after).sum()) == 12
    for name in ("valid", "test"):
        old, new = (getattr(x, name) for x in (clean, found.split))
        assert new.n_users == N_USERS + 6 and (new.users == old.users).all()


def test_another_key_plants_others_and_the_same_key_the_same():
    assert profiles(canaries()) == profiles(canaries())
    assert profiles(canaries()) != profiles(canaries(1))


def test_a_corruption_is_popular_items_alone_and_all_of_it_is_asked():
    found = planted.corruption(jax.random.key(0), parts(), ratio=0.1, fillers=4)
    order = np.argsort(-np.bincount(parts().train.items, minlength=N_ITEMS), kind="stable")
    assert len(profiles(found)) == 3
    for items in profiles(found).values():
        assert len(items) == 4 and items <= set(order[:9].tolist())  # 8, but for ties
    request = shilling.request(found.split.train, found.genuine)
    assert float((request.before - request.after).sum()) == 12


@pytest.mark.parametrize(
    ("make", "more", "words"),
    [
        (planted.canaries, {"count": 1, "fillers": 1, "unpopular": 1.0}, r"\[2, 18\]"),
        (planted.canaries, {"count": 1, "fillers": 10, "unpopular": 0.5}, r"\[2, 9\]"),
        (planted.canaries, {"count": 1, "fillers": 3, "unpopular": 0.0}, "unpopular"),
        (planted.canaries, {"fillers": 3, "unpopular": 0.5}, "a ratio or a count"),
        (planted.corruption, {"count": 0, "fillers": 3}, "count"),
        (planted.corruption, {"ratio": 2.0, "fillers": 3}, "ratio"),
        (planted.corruption, {"count": 1, "fillers": 20}, "fillers"),
    ],
)
def test_what_does_not_fit_is_refused(make, more, words):
    with pytest.raises(ValueError, match=words):
        make(jax.random.key(0), parts(), **more)


def slow_exposure(factors, found, train, weights):
    """Loops, sorts and counts."""
    held = {}
    for user, item, w in zip(train.users.tolist(), train.items.tolist(), weights.tolist()):
        if w > 0:
            held.setdefault(user, set()).add(item)
    bits = []
    for user, item in zip(found.users.tolist(), found.items.tolist(), strict=True):
        scores = np.asarray(factors.users)[user] @ np.asarray(factors.items).T
        others = [i for i in np.flatnonzero(found.pool) if i not in held[user] and i != item]
        above = sum(scores[i] > scores[item] for i in others)
        upto = above + sum(scores[i] == scores[item] for i in others)
        ranks = np.arange(above, upto + 1) + 1
        bits.append(np.log2(len(others) + 1) - np.log2(ranks).mean())
    return np.mean(bits)


def exposed(factors, found, weights):
    return rank_exposure(factors, found.users, found.items, found.pool, found.split.train, weights)


@pytest.mark.parametrize("tied", [False, True])
def test_exposure_is_that_of_a_slow_count(tied):
    found, rng = canaries(), np.random.default_rng(3)
    tables = [rng.normal(size=(n, 3)) for n in (N_USERS + 6, N_ITEMS)]
    factors = Factors(*(jnp.asarray(np.sign(x) if tied else x, jnp.float32) for x in tables))
    train = found.split.train
    weights = jnp.ones(len(train.users)).at[::7].set(0.0)
    expected = slow_exposure(factors, found, train, weights)
    assert float(exposed(factors, found, weights)) == pytest.approx(expected, abs=1e-5)
    assert float(jax.jit(exposed)(factors, found, weights)) == pytest.approx(expected, abs=1e-5)


def test_a_model_that_ties_everything_knows_nothing():
    """log2(n + 1) - mean of log2 over all ranks: as much as a random one."""
    found = canaries()
    factors = Factors(jnp.ones((N_USERS + 6, 2)), jnp.ones((N_ITEMS, 2)))
    ranks = np.arange(1, 7)  # ten of the pool, without the five planted, and the pair itself
    got = exposed(factors, found, jnp.ones(len(found.split.train.users)))
    assert float(got) == pytest.approx(np.log2(6) - np.log2(ranks).mean(), abs=1e-5)


def test_a_score_that_is_not_finite_is_no_rank():
    found = canaries()
    factors = Factors(jnp.ones((N_USERS + 6, 2)), jnp.ones((N_ITEMS, 2)).at[0].set(jnp.nan))
    ones = jnp.ones(len(found.split.train.users))
    outside = bool(~found.pool[0])
    assert outside and np.isfinite(exposed(factors, found, ones))  # not an item of the pool
    bad = factors._replace(items=factors.items.at[int(found.items[0])].set(jnp.inf))
    assert np.isnan(exposed(bad, found, ones))


def test_a_model_remembers_canaries_and_retraining_does_not():
    """Undeleted, they stand first; in a model that never saw them, anywhere: 1.44 bits, less here.

    Of ten items the mean over equally likely ranks is log2(10) - log2(10!) / 10 = 1.14.
    """
    found = canaries(count=20, fillers=4)
    train, request = forget.pairs(found.split.train, found.users, found.items)
    model, bits = models.load("ials")(dim=12, reg=1.0, alpha=20.0), []
    for weights in request:
        state, _ = jax.jit(model.fit)(jax.random.key(0), train, weights)
        bits.append(float(exposed(model.factors(state, train, weights), found, request.before)))
    assert bits[0] > 2.0 and abs(bits[1] - 1.14) < 0.5


def test_exposure_wants_pairs():
    found = canaries()
    factors = Factors(jnp.ones((N_USERS + 6, 2)), jnp.ones((N_ITEMS, 2)))
    ones = jnp.ones(len(found.split.train.users))
    with pytest.raises(ValueError, match="one length"):
        metrics.canaries.rank_exposure(
            factors, found.users, found.items[:3], found.pool, found.split.train, ones
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_mean_over_ties_keeps_its_digits_in_large_catalogues(dtype):
    """Rank 1,000,000 of 3,000,000 with one tie: 1.585 bits; two log gammas left 1.319 of them."""
    firsts = np.array([1, 2, 5, 15, 16, 17, 100, 150_000, 1_000_000, 2_999_990, 1, 17])
    counts = np.array([2, 3, 1, 2, 2, 2, 100, 2, 2, 5, 3_000_000, 1_000_000])
    found = jax.jit(canary_measures._mean_log)(
        jnp.asarray(firsts, dtype), jnp.asarray(counts, dtype)
    )
    sums = [float(np.log(np.arange(x, x + n, dtype=float)).mean()) for x, n in zip(firsts, counts)]
    assert found.dtype == dtype
    np.testing.assert_allclose(found, sums, rtol=0, atol=3e-6 if dtype == "float32" else 1e-12)


def test_a_tie_in_a_large_catalogue_costs_half_a_rank():
    n_items, place = 200_001, 150_000
    scores = jnp.where(jnp.arange(n_items) < place, 2.0, 0.0).astype(jnp.float32)
    scores = scores.at[place - 1].set(1.0).at[place].set(1.0)
    model = Factors(jnp.ones((1, 1), jnp.float32), scores[:, None])
    train = layout.build([0], [place], [1.0], n_items=n_items)
    asked = jnp.array([0], jnp.int32), jnp.array([place], jnp.int32)
    found = rank_exposure(model, *asked, jnp.ones(n_items, bool), train, jnp.ones(1))
    wanted = np.log2(n_items) - (np.log2(place) + np.log2(place + 1)) / 2
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_exposure_in_16_bits_counts_as_it_does_in_32():
    found, pool = {}, jnp.ones(3_000, bool)
    items = jnp.asarray(np.random.default_rng(0).integers(-8, 9, (3_000, 1)) / 8)
    train = layout.build([0, 1], [5, 7], [1.0, 1.0], n_items=3_000)
    for dtype in ("bfloat16", "float16", "float32"):
        model = Factors(jnp.ones((2, 1), dtype), items.astype(dtype))
        asked = jnp.array([0, 1], jnp.int32), jnp.array([5, 7], jnp.int32)
        found[dtype] = rank_exposure(model, *asked, pool, train, jnp.ones(2))
        assert found[dtype].dtype == jnp.float32
    assert found["bfloat16"] == found["float16"] == found["float32"]
