"""RecEraser: the attention against loops, what is recomputed after a request and what is not."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import request, same, tally

from jaxforget import methods
from jaxforget.shards import attention
from jaxforget.types import Factors

KEY = jax.random.key(5)
HOW = {"n_shards": 4, "attention_lr": 0.02, "attention_steps": 4}


@functools.cache
def compiled(**settings):
    method = methods.load("receraser")(tally(), **HOW | settings)
    return method, jax.jit(method.fit), jax.jit(method.unlearn)


@pytest.fixture
def labelled(toy):
    return dataclasses.replace(toy, values=(toy.values > 1).astype(jnp.float32))


def test_attention_equals_loops_over_rows_and_shards():
    rng = np.random.default_rng(0)
    shards = Factors(*(jnp.asarray(rng.normal(size=(3, n, 4))) for n in (5, 6)))
    drawn = attention.start(jax.random.key(1), 3, 4, jnp.float64)
    drawn = jax.tree.map(lambda x: x + jnp.asarray(rng.normal(size=x.shape)), drawn)
    for got, rows, gate in zip(attention.apply(drawn, shards), shards, (drawn.users, drawn.items)):
        for n in range(rows.shape[1]):
            moved = [rows[s, n] @ drawn.transfer[s] + drawn.shift[s] for s in range(3)]
            level = [gate.head @ np.maximum(e @ gate.weight + gate.bias, 0) for e in moved]
            share = np.exp(level) / np.sum(np.exp(level))
            np.testing.assert_allclose(got[n], sum(a * e for a, e in zip(share, moved)), rtol=1e-10)


def test_attention_stays_finite_where_a_plain_exponential_does_not():
    drawn = attention.start(jax.random.key(1), 2, 4, jnp.float32)
    huge = Factors(jnp.full((2, 3, 4), 1e6), jnp.full((2, 3, 4), -1e6))
    huge = jax.tree.map(lambda x: x.astype(jnp.float32), huge)
    assert all(np.isfinite(x).all() for x in attention.apply(drawn, huge))


@pytest.mark.slow
def test_attention_training_lowers_the_loss():
    rng = np.random.default_rng(0)
    shards = Factors(*(jnp.asarray(rng.normal(size=(3, n, 4))) for n in (5, 6)))

    def loss(served):
        return jnp.mean((served.users @ served.items.T - 1) ** 2)

    levels = [
        float(attention.fit(KEY, shards, loss, lr=0.05, n_steps=n)[1]["loss"]) for n in (1, 5, 100)
    ]
    assert levels[0] > levels[1] > 5 * levels[2]


@pytest.mark.parametrize(
    "partition, exact", [("kept", False), pytest.param("recomputed", True, marks=pytest.mark.slow)]
)
def test_only_a_partition_that_is_not_of_the_old_data_gives_training_without_the_rows(
    partition, exact, labelled
):
    method, fit, unlearn = compiled(partition=partition)
    forget = request(labelled, [3, 8, 30])
    state, _ = fit(KEY, labelled, forget.before)
    unlearnt, info = unlearn(KEY, state, labelled, forget)
    retrained, _ = fit(KEY, labelled, forget.after)
    assert (
        same(*(method.factors(s, labelled, forget.after) for s in (unlearnt, retrained))) == exact
    )
    kept = np.asarray(forget.after) > 0
    assert np.array_equal(unlearnt.shards[kept], state.shards[kept]) == (partition != "recomputed")
    untouched = set(range(4)) - set(np.asarray(state.shards)[~kept].tolist())
    if partition != "recomputed":
        assert int(info["shards_touched"]) == 4 - len(untouched)
        for k in untouched:
            assert same(*(jax.tree.map(lambda x, k=k: x[k], s.params) for s in (unlearnt, state)))


def test_a_kept_aggregator_stays_and_a_recomputed_one_is_trained_on_retained_data(labelled):
    _, fit, unlearn = compiled(partition="random", aggregator="kept")
    forget = request(labelled, [3, 8, 30])
    state, _ = fit(KEY, labelled, forget.before)
    unlearnt, info = unlearn(KEY, state, labelled, forget)
    assert same(unlearnt.aggregator, state.aggregator) and "attention_loss" not in info
    retrained, _ = fit(KEY, labelled, forget.after)
    assert same(unlearnt.params, retrained.params) and not same(
        unlearnt.aggregator, retrained.aggregator
    )


@pytest.mark.slow
def test_a_history_stays_in_one_shard_where_users_are_dealt(labelled):
    _, fit, _ = compiled(by="user", n_rounds=5)
    state, info = fit(KEY, labelled, jnp.ones_like(labelled.values))
    shards, users = np.asarray(state.shards), np.asarray(labelled.users)
    assert all(len(set(shards[users == u].tolist())) <= 1 for u in range(12))
    assert np.isfinite(float(info["attention_loss"]))


@pytest.mark.parametrize(
    "how, match",
    [
        ({"by": "day"}, "by must be one of"),
        ({"capacity": 0.9}, "capacity must be at least 1"),
        ({"partition": "old"}, "partition must be one of"),
        ({"attention_lr": 0.0}, "attention_lr must be positive"),
    ],
)
def test_bad_settings_are_named(how, match):
    with pytest.raises(ValueError, match=match):
        methods.load("receraser")(tally(), **HOW | how)
