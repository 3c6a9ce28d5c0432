"""Requests: how many and who, one after the other, flipped labels, refusals, transformations."""

import math
from collections import Counter
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import gone

from jaxforget import _shares
from jaxforget.prepare import forget
from jaxforget.sparse import layout

KINDS = ("random", "users", "items", "active", "inactive", "popular", "flipped")
WHOLE = {
    "users": "users",
    "items": "items",
    "active": "users",
    "inactive": "users",
    "popular": "items",
}


def labels(n=120, seed=0, n_users=14, n_items=30):
    """Distinct pairs, uneven histories; the last user and item have none."""
    rng = np.random.default_rng(seed)
    weights = np.outer(np.arange(1, n_users) ** 1.5, np.arange(1, n_items)).ravel()
    pairs = rng.choice(len(weights), n, replace=False, p=weights / weights.sum())
    users, items = np.divmod(pairs, n_items - 1)
    values = rng.integers(0, 2, n).astype(float)
    return layout.build(users, items, values, n_users=n_users, n_items=n_items)


def key(seed=0):
    return jax.random.key(seed)


# How many


@pytest.mark.parametrize("kind", ["random", "flipped"])
@pytest.mark.parametrize("permille", [1, 10, 20, 100, 290, 500, 999, 1000])
@pytest.mark.parametrize("n", [1, 7, 100])
def test_a_share_of_the_interactions_is_the_published_count(kind, permille, n):
    before = np.random.default_rng(0).permutation(120) < n
    _, request = getattr(forget, kind)(key(), labels(), permille / 1000, before=before)
    exact = n - n * (1000 - permille) // 1000  # n - floor(n (1 - ratio))
    assert gone(request).sum() == exact


@pytest.mark.parametrize(("parts", "n"), [(3, 9), (6, 6), (7, 49), (11, 110)])
def test_a_share_that_is_no_decimal_is_not_rounded_up(parts, n):
    before = np.arange(120) < n
    for part in range(1, parts + 1):
        _, request = forget.random(key(), labels(), part / parts, before=before)
        assert gone(request).sum() == part * n // parts


def test_the_count_at_the_size_of_book_crossing_is_the_published_one():
    train = layout.build(np.zeros(351_347, int), np.arange(351_347), np.ones(351_347))
    assert gone(forget.random(key(), train, 0.02)[1]).sum() == 7_027


@pytest.mark.parametrize("count", [0, 1, 50, 120])
def test_a_count_of_interactions_is_met(count):
    assert gone(forget.random(key(), labels(), count=count)[1]).sum() == count


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_whole_rows_go_entirely_and_in_the_number_asked(kind, count):
    train = labels()
    forgotten = gone(getattr(forget, kind)(key(), train, count=count)[1])
    ids = np.asarray(getattr(train, WHOLE[kind]))
    assert len(set(ids[forgotten])) == count
    assert not set(ids[forgotten]) & set(ids[~forgotten])


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5, 0.93, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_share_takes_the_fewest_whole_rows_that_reach_it(kind, ratio, seed):
    train = labels()
    sizes = Counter(np.asarray(getattr(train, WHOLE[kind])).tolist())
    share = getattr(forget, kind)(key(seed), train, ratio)[1]
    reached = gone(share).sum()
    taken = len(set(np.asarray(getattr(train, WHOLE[kind]))[gone(share)].tolist()))
    assert reached >= ratio * 120
    fewer = getattr(forget, kind)(key(seed), train, count=taken - 1)[1]  # the same order, one less
    assert gone(fewer).sum() < ratio * 120 and not (gone(fewer) & ~gone(share)).any()
    assert set(sizes.values()) != {1}


@pytest.mark.parametrize(
    ("kind", "largest"), [("active", True), ("popular", True), ("inactive", False)]
)
def test_activity_orders_who_goes_first(kind, largest):
    train = labels()
    ids = np.asarray(getattr(train, WHOLE[kind])).tolist()
    sizes = sorted(Counter(ids).values(), reverse=largest)
    for count in (1, 4, len(sizes)):
        forgotten = gone(getattr(forget, kind)(key(), train, count=count)[1])
        taken = Counter(id_ for id_, left in zip(ids, forgotten, strict=True) if left)
        assert sorted(taken.values(), reverse=largest) == sizes[:count]


# Who


@pytest.mark.parametrize("kind", KINDS)
def test_one_key_gives_one_request(kind):
    one, same = (gone(getattr(forget, kind)(key(3), labels(), 0.3)[1]) for _ in range(2))
    np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("kind", ["random", "users", "items", "flipped"])
def test_another_key_gives_another_request(kind):
    requests = {gone(getattr(forget, kind)(key(s), labels(), 0.3)[1]).tobytes() for s in range(5)}
    assert len(requests) > 1


@pytest.mark.parametrize("kind", ["active", "inactive", "popular"])
def test_ties_are_broken_by_the_key(kind):
    train = layout.build(np.arange(120) % 14, np.arange(120) % 30, np.ones(120))  # 8 or 9, all 4
    requests = {gone(getattr(forget, kind)(key(s), train, count=3)[1]).tobytes() for s in range(6)}
    assert len(requests) > 1


def test_every_interaction_is_forgotten_equally_often():
    train = labels(20)
    draw = jax.jit(jax.vmap(lambda k: forget.random(k, train, 0.25)[1].after))
    hits = 2000 - np.asarray(draw(jax.random.split(key(), 2000))).sum(0)
    # 5 of 20, 2000 times: 500 each, standard deviation 19; six of them either way
    assert (abs(hits - 500) < 6 * math.sqrt(2000 * 0.25 * 0.75)).all()


# One request after another


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_is_one_of_what_is_still_remembered(kind):
    train = labels()
    before = jnp.ones(120).at[::3].set(0.0)  # 80 left
    _, request = getattr(forget, kind)(key(), train, 0.25, before=before)
    np.testing.assert_array_equal(request.before, before)
    forgotten = gone(request)
    assert not forgotten[::3].any()
    assert forgotten.sum() >= 20 if kind in WHOLE else forgotten.sum() == 20


@pytest.mark.parametrize("kind", KINDS)
def test_everything_can_be_forgotten_in_steps(kind):
    train, before = labels(), None
    for step in range(4):
        _, request = getattr(forget, kind)(key(step), train, 0.5, before=before)
        assert gone(request).sum() >= 0.5 * np.asarray(request.before).sum()
        before = request.after
    _, request = getattr(forget, kind)(key(9), train, 1.0, before=before)
    assert not np.asarray(request.after).any()
    _, nothing = getattr(forget, kind)(key(9), train, 1.0, before=request.after)
    assert not gone(nothing).any()


def test_whole_rows_are_ordered_by_what_is_still_remembered():
    train = labels()
    users = np.asarray(train.users)
    busiest, other = (user for user, _ in Counter(users.tolist()).most_common(2))
    before = np.where(users == busiest, np.arange(120) == np.flatnonzero(users == busiest)[0], 1)
    _, request = forget.active(key(), train, count=1, before=before)
    np.testing.assert_array_equal(gone(request), users == other)


def test_weights_that_are_not_one_are_kept_or_emptied():
    before = jnp.linspace(0.0, 1.0, 120)
    _, request = forget.random(key(), labels(), count=30, before=before)
    assert gone(request).sum() == 30 and request.after.dtype == labels().values.dtype


# Flipped labels


def test_flipping_changes_the_forgotten_labels_and_no_others():
    train = labels()
    flipped, request = forget.flipped(key(2), train, 0.2)
    _, same = forget.random(key(2), train, 0.2)
    np.testing.assert_array_equal(request.after, same.after)
    changed = np.asarray(flipped.values) != np.asarray(train.values)
    np.testing.assert_array_equal(changed, gone(request))
    assert set(np.asarray(flipped.values).tolist()) == {0.0, 1.0}
    np.testing.assert_array_equal(flipped.users, train.users)


def test_ratings_cannot_be_flipped():
    train = layout.build([0, 1], [0, 1], [1.0, 5.0])
    with pytest.raises(ValueError, match=r"labels 0 and 1.*binarise"):
        forget.flipped(key(), train, 0.5)


# Refusals


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0, 0.0, -0.1, 1.01, 10, float("nan"), float("inf"), "0.5", True])
def test_a_ratio_outside_0_to_1_is_refused(kind, ratio):
    with pytest.raises(ValueError, match=r"ratio must be in \(0, 1\]; got"):
        getattr(forget, kind)(key(), labels(), ratio)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "give a ratio or a count; got neither"),
        ({"ratio": 0.1, "count": 3}, "a ratio or a count, not both"),
        ({"count": -1}, "count must be an integer, 0 or more"),
        ({"count": 2.0}, "count must be an integer"),
        ({"count": 121}, r"count must be at most the \d+ \w+ still there; got 121"),
        ({"ratio": 0.1, "before": np.ones(5)}, r"before must be \[120\]"),
    ],
)
def test_a_request_that_cannot_be_is_refused(kind, asked, message):
    with pytest.raises(ValueError, match=message):
        getattr(forget, kind)(key(), labels(), **asked)


# Transformations


@pytest.mark.parametrize("kind", ["random", "users", "popular", "flipped"])
def test_one_compilation_serves_every_key_and_ratio_and_changes_nothing(kind):
    train, ask, traces = labels(), getattr(forget, kind), []

    @jax.jit
    def batched(keys, train, ratios, before):
        traces.append(kind)
        return jax.vmap(lambda k, r: ask(k, train, r, before=before))(keys, ratios)

    for seed, shares in enumerate([(0.1, 0.29), (1.0, 0.5), (0.01, 0.02)]):
        keys = jax.random.split(key(seed), 2)
        values, requests = batched(keys, train, jnp.array(shares), jnp.ones(120))
        for row in range(2):
            alone_train, alone = ask(keys[row], train, shares[row])
            np.testing.assert_array_equal(requests.after[row], alone.after)
            np.testing.assert_array_equal(values.values[row], alone_train.values)
    assert len(traces) == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_traced_share_does_not_round_up_a_whole_number(dtype):
    train = layout.build(np.zeros(100, int), np.arange(100), np.ones(100))  # 0.07 * 100 > 7
    count = jax.jit(lambda ratio: (1 - forget.random(key(), train, ratio)[1].after).sum())
    for percent in range(1, 101):
        assert count(jnp.asarray(percent / 100, dtype)) == percent


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_share_in_16_bits_is_that_share_of_many_interactions(dtype, traced):
    """100,000 is infinite in float16: all was forgotten."""
    n, ratio = 100_000, np.array(0.1, dtype)[()]
    train = layout.build(np.arange(n) // 100, np.arange(n) % 100, np.ones(n))
    exact = math.ceil(n * float(ratio) * (1 - 1e-6))  # the number that the type holds
    for ask, whole in ((forget.random, 1), (forget.users, 100)):
        found = lambda r, ask=ask: (1 - ask(key(), train, r)[1].after).sum()  # noqa: E731
        gone = (jax.jit(found) if traced else found)(jnp.array(ratio) if traced else ratio)
        assert gone == -(-exact // whole) * whole


def test_a_traced_share_is_a_floating_number():
    with pytest.raises(ValueError, match="ratio must be a floating number; got bool"):
        jax.jit(lambda r: forget.random(key(), labels(), r)[1].after)(jnp.array(True))


@pytest.mark.parametrize("kind", ["random", "popular"])
@pytest.mark.parametrize("ratio", [0.239, 0.999, 1e-12, 1])
def test_a_python_share_is_exact_of_traced_weights_too(kind, ratio):
    """It was counted in floating point, with an allowance that lost an interaction of many."""
    n = 100_999
    train = layout.build(np.arange(n), np.arange(n), np.ones(n))  # a row each: all ask for as many
    found = lambda b: jnp.sum(  # noqa: E731
        getattr(forget, kind)(key(), train, ratio, before=b)[1].after > 0
    )
    compiled = jax.jit(found)
    for left in (n, 15_159, 1, 0):
        before = (jnp.arange(n) < left).astype(jnp.float32)
        want = math.floor(left * (1 - Fraction(str(ratio))))
        assert int(found(before)) == int(compiled(before)) == want


def test_a_part_of_a_traced_number_is_that_of_a_known_one():
    numbers = jnp.array([0, 1, 2, 99, 100, 15_159, 100_999, 2**31 - 1], jnp.int32)
    for share in (1e-12, 1 / 3, 0.07, 0.1, 0.239, 0.5, 0.999, 1.0):
        got = jax.jit(lambda n, share=share: _shares.part(share, n))(numbers)
        assert got.dtype == jnp.int32
        assert got.tolist() == [_shares.part(share, int(n)) for n in numbers]
