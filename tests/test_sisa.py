"""SISA: deletion equals training without the rows, bit for bit, and leaves other shards alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import request, same

from jaxforget import methods, models
from jaxforget.shards import partition
from jaxforget.shards.training import train_shards
from jaxforget.sparse import layout
from jaxforget.types import ForgetSet, watch

KEY = jax.random.key(5)
GRADIENT = {"dim": 3, "init_scale": 0.1, "lr": 0.05, "batch_size": 8, "n_epochs": 3}
SETTINGS = {
    "mf": GRADIENT,
    "lightgcn": GRADIENT,
    "ials": {"dim": 3, "reg": 1.0, "alpha": 3.0, "max_sweeps": 3},
}


@functools.cache
def compiled(model_name, **settings):
    model = models.load(model_name)(**SETTINGS[model_name])
    method = methods.load("sisa")(model, **settings)
    return model, method, jax.jit(method.fit), jax.jit(method.unlearn)


@pytest.fixture
def labelled(toy):
    return dataclasses.replace(toy, values=(toy.values > 1).astype(jnp.float32))


@pytest.mark.parametrize(
    "name, how",
    [
        ("mf", {"n_shards": 4}),
        ("mf", {"n_shards": 2, "n_slices": 3}),
        pytest.param("lightgcn", {"n_shards": 2, "by": "user"}, marks=pytest.mark.slow),
        pytest.param("ials", {"n_shards": 2}, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_deletion_equals_training_without_the_rows_bit_for_bit(name, how, labelled):
    _, method, fit, unlearn = compiled(name, **how)
    forget = request(labelled, [3, 8])
    state, _ = fit(KEY, labelled, forget.before)
    unlearnt, info = unlearn(jax.random.key(99), state, labelled, forget)
    retrained, _ = fit(KEY, labelled, forget.after)
    assert same(unlearnt.params, retrained.params) and same(
        unlearnt.aggregator, retrained.aggregator
    )
    assert np.array_equal(unlearnt.shards, retrained.shards)
    factors = [method.factors(s, labelled, forget.after) for s in (unlearnt, retrained, state)]
    assert same(factors[0], factors[1])
    assert not same(factors[0], factors[2])
    hit = np.unique(np.asarray(state.shards)[[3, 8]])
    assert int(info["shards_touched"]) == len(hit)
    for shard in set(range(how["n_shards"])) - set(hit.tolist()):
        assert same(*(jax.tree.map(lambda x, k=shard: x[k], s.params) for s in (unlearnt, state)))


def test_an_empty_request_trains_nothing(labelled):
    _, _, fit, unlearn = compiled("mf", n_shards=4)
    forget = request(labelled, [])
    state, first_info = fit(KEY, labelled, forget.before)
    unlearnt, info = unlearn(KEY, state, labelled, forget)
    assert same(unlearnt.params, state.params)
    assert (int(info["shards_touched"]), int(info["interactions_retrained"])) == (0, 0)
    assert (int(first_info["shards_touched"]), int(first_info["interactions_retrained"])) == (4, 60)


@pytest.mark.parametrize("name, how", [("mf", {"n_shards": 4}), ("ials", {"n_shards": 2})])
def test_a_sub_model_is_the_model_of_a_training_set_that_holds_its_shard_alone(name, how, labelled):
    model, _, fit, _ = compiled(name, **how)
    state, _ = fit(KEY, labelled, jnp.ones_like(labelled.values))
    shards = np.asarray(state.shards)
    draw = jax.random.split(KEY, 4)[2]
    rows = shards == 1
    parts = (np.asarray(x)[rows] for x in (labelled.users, labelled.items, labelled.values))
    alone = layout.build(*parts, n_users=12, n_items=10)
    key = jax.random.fold_in(jax.random.fold_in(draw, 1), 0)
    want, _ = jax.jit(model.fit)(key, alone, jnp.ones_like(alone.values))
    for got, x in zip(state.params, want):
        np.testing.assert_allclose(got[1, 0], x, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("how", [{"n_shards": 4}, {"n_shards": 2, "n_slices": 3}])
def test_all_shards_at_once_as_on_an_accelerator_are_the_shards_in_turn(how, labelled, monkeypatch):
    _, method, fit, _ = compiled("mf", **how)
    ones = jnp.ones_like(labelled.values)
    want, first_info = fit(KEY, labelled, ones)
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda *args, cpu, default: default(*args))
    got, info = jax.jit(lambda *args: method.fit(*args))(KEY, labelled, ones)
    assert jax.tree.map(float, info) == pytest.approx(jax.tree.map(float, first_info), rel=1e-4)
    for a, b in zip(got.params, want.params):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_served_scores_are_the_mean_of_the_sub_models_scores(labelled):
    model, method, fit, _ = compiled("lightgcn", n_shards=2, by="user")
    ones = jnp.ones_like(labelled.values)
    state, _ = fit(KEY, labelled, ones)
    scores = []
    for shard, weights in enumerate(partition.member(state.shards, ones, n_shards=2)):
        params = jax.tree.map(lambda x, k=shard: x[k, -1], state.params)
        users, items = model.factors(params, labelled, weights)
        scores.append(users @ items.T)
    users, items = method.factors(state, labelled, ones)
    np.testing.assert_allclose(users @ items.T, np.mean(scores, axis=0), rtol=1e-4, atol=1e-7)


def test_slices_start_again_after_the_last_checkpoint_before_the_request(labelled):
    _, _, fit, unlearn = compiled("mf", n_shards=2, n_slices=3)
    ones = jnp.ones_like(labelled.values)
    state, first_info = fit(KEY, labelled, ones)
    slices = np.asarray(partition.random(jax.random.split(KEY, 4)[1], labelled, n_shards=3))
    shards = np.asarray(state.shards)
    assert int(first_info["interactions_retrained"]) == sum((slices <= r).sum() for r in range(3))
    for touched in (0, 1, 2):
        row = int(np.flatnonzero((slices == touched) & (shards == 1))[0])
        unlearnt, info = unlearn(KEY, state, labelled, request(labelled, [row]))
        redone = sum(((slices <= r) & (shards == 1)).sum() - 1 for r in range(touched, 3))
        assert int(info["interactions_retrained"]) == redone
        for stage in range(3):
            old, new = (
                jax.tree.map(lambda x, r=stage: x[1, r], s.params) for s in (state, unlearnt)
            )
            assert same(old, new) == (stage < touched)


def test_nothing_of_a_forgotten_row_stays_in_the_map_of_shards(labelled):
    _, _, fit, unlearn = compiled("mf", n_shards=4)
    forget = request(labelled, [3, 8])
    state, _ = fit(KEY, labelled, forget.before)
    unlearnt, _ = unlearn(KEY, state, labelled, forget)
    assert np.asarray(unlearnt.shards)[[3, 8]].tolist() == [partition.NOWHERE] * 2
    second = ForgetSet(forget.after, forget.after.at[20].set(0))  # requests follow one another
    again, _ = unlearn(KEY, unlearnt, labelled, second)
    retrained, _ = fit(KEY, labelled, second.after)
    assert same(again.params, retrained.params)


@pytest.mark.parametrize(
    "how, match",
    [
        ({"n_shards": 0}, "n_shards must be an integer, 1 or more"),
        ({"n_shards": 2, "by": "day"}, "by must be one of"),
        (
            {"n_shards": 2, "aggregation": "vote"},
            "aggregation must be one of 'mean', 'attention'; got 'vote'",
        ),
        (
            {"n_shards": 2, "aggregation": "attention", "attention_lr": 0.1},
            "attention needs attention_lr and attention_steps",
        ),
    ],
)
def test_bad_settings_are_named(how, match):
    with pytest.raises(ValueError, match=match):
        methods.load("sisa")(models.load("mf")(**GRADIENT), **how)


def test_an_attention_is_refused_where_the_loss_is_none_of_factors(labelled):
    how = {"n_shards": 2, "attention_lr": 0.1, "attention_steps": 2}
    ease = models.load("ease")(reg=1.0)
    for name, settings in (("sisa", how | {"aggregation": "attention"}), ("receraser", how)):
        with pytest.raises(ValueError, match="the parameters of this model are no Factors"):
            methods.load(name)(ease, **settings)
    own = ease._replace(update=None)  # a model of somebody else, of which no more is known
    method = methods.load("receraser")(own, **how, partition="random")
    with pytest.raises(ValueError, match="the parameters of this model are no Factors"):
        method.fit(KEY, labelled, jnp.ones_like(labelled.values))


def test_a_shard_without_validation_rows_does_not_hide_the_scores_of_the_others(labelled):
    model = models.load("mf")(**GRADIENT | {"patience": 1})
    alone = labelled.users == labelled.users[0]

    def score(valid):
        held = layout.build(*valid, n_users=labelled.n_users, n_items=labelled.n_items)
        train = watch(labelled, held)
        ones, first = jnp.ones_like(labelled.values), jnp.zeros(2, jnp.int32)
        how = {"n_shards": 2, "n_slices": 1, "old": None, "first": first}
        return train_shards(model, KEY, train, ones, alone.astype(jnp.int32), **how)[1]["score"]

    others = np.flatnonzero(~np.asarray(alone))[:4]
    users, items = np.asarray(labelled.users)[others], np.asarray(labelled.items)[others]
    assert 0 <= float(score((users, items, [0.0, 1.0, 0.0, 1.0]))) <= 1
    assert np.isnan(score((users, items, [1.0, 1.0, 1.0, 1.0])))  # no shard can be judged
