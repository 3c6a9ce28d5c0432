"""Shards: random ones depend on no other row, balanced ones equal a greedy sort of all pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget.shards import assignment, partition
from jaxforget.sparse import layout
from jaxforget.types import Factors

BY = ("interaction", "user", "item")


run = jax.jit(partition.balanced, static_argnames=("by", "n_shards", "centroids"))


@pytest.fixture
def clustered():
    rng = np.random.default_rng(1)
    pairs = rng.permutation(30 * 20)[:200]
    train = layout.build(pairs // 20, pairs % 20, np.ones(200, np.float32), n_users=30, n_items=20)
    factors = Factors(*(jnp.asarray(rng.normal(size=(n, 3)), jnp.float32) for n in (30, 20)))
    return train, factors, jnp.asarray(rng.random(200) < 0.9, jnp.float32)


def greedy(distances, live, room):
    """The slow truth: every (point, shard) pair, sorted, assigned if both are still free."""
    shards, left = np.full(len(live), -1), np.full(distances.shape[1], room)
    points, wanted = np.indices(distances.shape)
    for k in np.lexsort((points.ravel(), wanted.ravel(), distances.ravel())):
        point, shard = divmod(k, distances.shape[1])
        if live[point] and shards[point] < 0 and left[shard]:
            shards[point], left[shard] = shard, left[shard] - 1
    return shards


@pytest.mark.parametrize("by", BY)
def test_a_random_shard_is_the_same_with_and_without_the_other_rows(by):
    rng, key = np.random.default_rng(0), jax.random.key(3)
    pairs = rng.permutation(12 * 10)[:60]
    users, items = pairs // 10, pairs % 10
    whole = layout.build(users, items, np.ones(60), n_users=12, n_items=10)
    part = layout.build(users[:25], items[:25], np.ones(25), n_users=12, n_items=10)
    shards = partition.random(key, whole, n_shards=3, by=by)
    pairs = zip(whole.users.tolist(), whole.items.tolist())
    shard_of = dict(zip(pairs, shards.tolist()))
    alone = partition.random(key, part, n_shards=3, by=by)
    pairs = zip(part.users.tolist(), part.items.tolist())
    assert [shard_of[pair] for pair in pairs] == alone.tolist()
    ids = {"user": whole.users, "item": whole.items}.get(by)
    if ids is not None:  # a history is never cut
        assert all(
            len(set(np.asarray(shards)[np.asarray(ids) == k])) == 1 for k in set(ids.tolist())
        )


def test_random_shards_are_of_nearly_equal_size_and_follow_the_key():
    pairs = np.arange(20_000)
    train = layout.build(pairs // 100, pairs % 100, np.ones(20_000))
    one, other = (partition.random(jax.random.key(k), train, n_shards=10) for k in (0, 1))
    sizes = np.bincount(one)
    assert len(sizes) == 10 and np.abs(sizes - 2000).max() < 5 * np.sqrt(1800)
    assert abs(np.mean(np.asarray(one) == np.asarray(other)) - 0.1) < 0.02


def test_member_splits_the_weights():
    weights = jnp.array([1.0, 0.5, 0.0, 1.0])
    parts = partition.member(jnp.array([0, 2, 2, partition.NOWHERE]), weights, n_shards=3)
    assert parts.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0.5, 0, 0]]


@pytest.mark.parametrize("room", [40, 44, 60, 200])
def test_filling_equals_the_greedy_sort_of_all_pairs(room):
    rng = np.random.default_rng(room)
    distances = rng.random((200, 5)).astype(np.float32) ** 4
    distances[:, 1] += 0.3  # some shards are popular
    distances[rng.random((200, 5)) < 0.2] = 0.125  # ties
    live = rng.random(200) < 0.95
    got = assignment.assign(jnp.asarray(distances), jnp.asarray(live), jnp.int32(room))
    assert np.array_equal(got, greedy(distances, live, room))


def one_round(shards, live, tables, scalar):
    """Means of the shards' points, then the greedy sort under a capacity of 1.2 n / 4."""
    distances = np.ones((len(live), 4), np.float32)
    for table in tables:
        means = np.stack([table[shards == s].mean(axis=0) for s in range(4)])
        if scalar:
            means = np.repeat(means.mean(axis=1, keepdims=True), table.shape[1], axis=1)
        distances *= ((table[:, None] - means[None]) ** 2).sum(axis=2).astype(np.float32)
    return greedy(distances, live, int(np.ceil(round(0.3 * live.sum(), 6))))


@pytest.mark.parametrize("centroids", ["vector", "scalar"])
@pytest.mark.parametrize("by", BY)
def test_balanced_equals_the_slow_truth(clustered, by, centroids):
    train, factors, weights = clustered
    how = dict(by=by, n_shards=4, centroids=centroids)
    first, second, fifth = (
        np.asarray(run(jax.random.key(0), train, weights, factors, n_rounds=n, **how))
        for n in (1, 2, 5)
    )
    users, items, kept = (np.asarray(x) for x in (train.users, train.items, weights > 0))
    tables = [np.asarray(x) for x in factors]
    ids = {"user": users, "item": items}.get(by, np.arange(200))
    tables = {"user": tables[:1], "item": tables[1:]}.get(by, [tables[0][users], tables[1][items]])
    live = np.zeros(len(tables[0]), bool)
    live[ids[kept]] = True
    shards = np.full(len(live), -1)
    shards[ids[kept]] = first[kept]
    assert np.bincount(shards[live]).max() <= np.ceil(round(0.3 * live.sum(), 6))
    for want, rounds in ((second, 1), (fifth, 3)):
        for _ in range(rounds):
            shards = one_round(shards, live, tables, centroids == "scalar")
        assert np.array_equal(np.where(kept, shards[ids], -1), want)


@pytest.mark.parametrize("by", ["interaction", "user"])
def test_balanced_does_not_look_at_what_is_forgotten(clustered, by):
    train, factors, weights = clustered
    kept = np.asarray(weights) > 0
    users, items = (np.asarray(x)[kept] for x in (train.users, train.items))
    smaller = layout.build(users, items, np.ones(len(users), np.float32), n_users=30, n_items=20)
    ones, how = (
        jnp.ones_like(smaller.values),
        dict(by=by, n_shards=4, centroids="vector", n_rounds=5),
    )
    whole = run(jax.random.key(1), train, weights, factors, **how)
    alone = run(jax.random.key(1), smaller, ones, factors, **how)
    assert np.array_equal(np.asarray(whole)[kept], alone)


def test_fewer_points_than_shards_and_nothing_left_are_served(clustered):
    train, factors, weights = clustered
    few = jnp.zeros_like(weights).at[:2].set(1)
    how = dict(n_shards=4, centroids="vector", n_rounds=5)
    shards = run(jax.random.key(0), train, few, factors, by="interaction", **how)
    assert (np.asarray(shards) >= 0).sum() == 2
    none = run(jax.random.key(0), train, 0 * weights, factors, by="user", **how)
    assert (np.asarray(none) == partition.NOWHERE).all()


def test_bad_settings_are_named():
    train = layout.build([0], [0], [1.0])
    with pytest.raises(ValueError, match=r"random: n_shards must be an integer, 1 or more; got 0"):
        partition.random(jax.random.key(0), train, n_shards=0)
    with pytest.raises(
        ValueError, match=r"random: by must be one of 'interaction', 'user', 'item'"
    ):
        partition.random(jax.random.key(0), train, n_shards=2, by="day")
    for how, message in (
        ({"capacity": 0.5}, "capacity must be at least 1; got 0.5"),
        ({"by": "day"}, "by must be one of"),
        ({"centroids": "median"}, "centroids must be one of 'vector', 'scalar'"),
        ({"n_shards": 0}, "n_shards must be an integer, 1 or more"),
        ({"n_rounds": 0}, "n_rounds must be an integer, 1 or more"),
    ):
        with pytest.raises(ValueError, match=f"balanced: {message}"):
            partition.balanced(
                jax.random.key(0), train, train.values, None, **{"by": "user", "n_shards": 2} | how
            )
