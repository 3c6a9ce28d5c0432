"""What the released code of IFRU computes, against loops and formulas of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from influence_toys import D, factors, flat, hessian_of, model, request, unlearn
from test_descent import adam
from test_importance import scores_by_matrix

from jaxforget import methods, metrics
from jaxforget.gradient import graph, influence
from jaxforget.gradient.influence import importance
from jaxforget.methods.ifru_released import Served
from jaxforget.sparse import layout
from jaxforget.types import watch

RELEASED = {"lr": 5.0}


@pytest.mark.parametrize("keep", [1.0, 0.6])
@pytest.mark.parametrize("name", ["mf", "lightgcn"])
def test_the_first_released_iterate_is_a_sign_step_on_the_chosen_rows(labelled, name, keep):
    """+ (lr / n) sign(g) where |g| is large, nothing where it is 0, nothing outside S."""
    m, f, forget = model(name), factors(labelled), request(labelled)
    method = methods.load("ifru_released")(m, n_steps=1, keep=keep, **RELEASED)
    state = f if name == "mf" else Served(f, forget.before)
    new, _ = jax.jit(method.unlearn)(jax.random.key(0), state, labelled, forget)
    new = new if name == "mf" else new.params
    scores = scores_by_matrix(labelled, forget, 1)
    bar = np.quantile(scores[scores > 0], 1 - keep) if keep < 1 else 0.0
    chosen = np.repeat(scores > bar, D)
    direct, _ = influence.forget_gradient(m.loss, f, labelled, forget)
    spilled = released_spillover(m, f, labelled, forget) if name == "lightgcn" else 0.0
    pull = (flat(direct) + spilled) * chosen
    want = flat(f) + 5.0 / 60 * pull / (np.abs(pull) + 1e-8)
    np.testing.assert_allclose(flat(new), want, atol=1e-10)
    assert np.array_equal(flat(new)[pull == 0], flat(f)[pull == 0]) and np.sum(pull != 0) >= 6


def released_spillover(m, f, train, forget):
    """By loops: retained rows, once per (user, item, label), at nodes that lost > 1 %."""
    users, items, y = (np.asarray(x) for x in (train.users, train.items, train.values))
    before, after = (np.asarray(x) for x in forget)
    flagged = set()
    for side, ids in (("u", users), ("i", items)):
        for node in set(ids[(before > after) & (y > 0)]):
            old, new = (np.sum(w[(ids == node) & (y > 0)]) for w in (before, after))
            if 1 - new / old > 0.01:
                flagged.add((side, node))
    weights, seen = np.zeros(len(users)), set()
    for n, row in enumerate(zip(users, items, y)):
        if (
            after[n] > 0
            and row not in seen
            and (("u", row[0]) in flagged or ("i", row[1]) in flagged)
        ):
            weights[n] = 1
            seen.add(row)
    old, new = (jax.grad(m.loss)(f, train, jnp.asarray(weights), e) for e in forget)
    return flat(old) - flat(new)


def test_the_released_solver_is_adam_on_the_quadratic_of_the_mean_loss(labelled):
    """In the coordinates p = n delta, with the Hessian of the *mean* loss."""
    m, f, forget = model("mf"), factors(labelled), request(labelled)
    _, new, _ = unlearn(m, f, labelled, forget, n_steps=7, use="ifru_released", **RELEASED)
    ones = jnp.ones(60)
    found = importance.reach(labelled, forget, hops=1)
    chosen = np.repeat(np.concatenate(found[:2]) > 0, D)
    mean = hessian_of(lambda p: m.loss(p, labelled, ones, ones) / 60, f) * np.outer(chosen, chosen)
    pull = flat(influence.forget_gradient(m.loss, f, labelled, forget)[0]) * chosen
    p = adam(lambda p, _: mean @ p - pull, np.zeros(len(pull)), range(7), 5.0)
    np.testing.assert_allclose(flat(new), flat(f) + p / 60, atol=1e-9)


def test_as_released_lightgcn_serves_the_old_graph_and_each_switch_turns_alone(labelled):
    m, f, forget = (
        model("lightgcn"),
        factors(labelled),
        request(labelled, rows=np.flatnonzero(labelled.values)[:6]),
    )
    assert float(jnp.sum((forget.before - forget.after) * labelled.values)) == 6
    old = methods.load("ifru_released")(m, n_steps=1, **RELEASED)
    new = methods.load("ifru_released")(m, n_steps=1, served_graph="new", **RELEASED)
    state, _ = old.unlearn(jax.random.key(0), Served(f, forget.before), labelled, forget)
    params, _ = new.unlearn(jax.random.key(0), f, labelled, forget)
    np.testing.assert_array_equal(flat(state.params), flat(params))
    for method, s, edges in ((old, state, forget.before), (new, params, forget.after)):
        want = graph.propagate(params, labelled, edges, n_layers=1)
        np.testing.assert_allclose(
            flat(method.factors(s, labelled, forget.after)), flat(want), atol=1e-13
        )
    assert new.fit is m.fit and old.fit is not m.fit


@pytest.mark.slow
def test_the_released_stop_returns_the_best_validation_iterate_and_needs_validation_data(labelled):
    rng = np.random.default_rng(7)
    valid = layout.build(
        *np.divmod(rng.permutation(120)[:40], 10),
        rng.integers(0, 2, 40).astype(float),
        n_users=12,
        n_items=10,
    )
    m, f, forget = model("mf"), factors(labelled), request(labelled)
    with pytest.raises(ValueError, match=r"types\.watch"):
        unlearn(m, f, labelled, forget, patience=10, use="ifru_released", **RELEASED)
    watched = watch(labelled, valid)
    _, best, info = unlearn(
        m, f, watched, forget, patience=3, n_steps=40, use="ifru_released", **RELEASED
    )

    run = [
        unlearn(m, f, watched, forget, n_steps=n, use="ifru_released", **RELEASED)[1]
        for n in (1, 3)
    ]
    counts = metrics.remembered(valid, labelled, forget.after)
    scores = [float(metrics.label_auc(p, valid, counts)) for p in run]
    assert float(info["score"]) >= max(scores)
    np.testing.assert_allclose(info["score"], metrics.label_auc(best, valid, counts), atol=1e-12)
    assert 4 <= int(info["iterations"]) <= 40
