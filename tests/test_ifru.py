"""IFRU: the damped Newton step against dense systems, its rows, its damping, emptied rows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from influence_toys import TIGHT, D, dense, factors, flat, hessian_of, model, request, unlearn

from jaxforget import methods, metrics, models
from jaxforget.gradient import descent, influence
from jaxforget.gradient.influence import importance
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet, Model, Split

# --- a quadratic loss, where one step is retraining ----------------------------------------------


def users_only(items):
    """Squared error in the users' factors, the items held fixed: quadratic in its parameters."""

    def loss(params, train, weights, edges):
        del edges
        errors = jnp.sum(params[train.users] * items[train.items], axis=1) - train.values
        return jnp.sum(weights * errors**2) + 0.5 * jnp.sum(params**2)

    def solve(train, weights):
        out = []
        for u in range(train.n_users):
            kept = (np.asarray(train.users) == u) & (np.asarray(weights) > 0)
            met = np.asarray(items)[np.asarray(train.items)[kept]]
            out.append(
                np.linalg.solve(
                    met.T @ met + 0.5 * np.eye(D), met.T @ np.asarray(train.values)[kept]
                )
            )
        return jnp.asarray(np.stack(out))

    return Model(lambda t: t, None, lambda p, t, e: Factors(p, items), loss), solve


@pytest.mark.parametrize("data", ["retained", "old"])
def test_on_a_quadratic_loss_the_step_with_the_retained_hessian_is_retraining(labelled, data):
    quadratic, solve = users_only(factors(labelled, scale=1.0).items)
    forget = request(labelled, rows=range(0, 60, 7))
    old, want = (solve(labelled, w) for w in forget)
    _, new, info = unlearn(
        quadratic, old, labelled, forget, hessian="full", hessian_data=data, damping=0.0, **TIGHT
    )
    gap = np.linalg.norm(new - want) / np.linalg.norm(old - want)
    if data == "retained":
        np.testing.assert_allclose(new, want, atol=1e-10)
        assert float(info["damping"]) == 0 and float(info["residual"]) < 1e-10
    else:
        assert 1e-3 < gap < 1  # second order in what is forgotten, not exact


def test_the_error_of_the_old_hessian_is_of_second_order(labelled):
    quadratic, solve = users_only(factors(labelled, scale=1.0).items)
    ones, errors = jnp.ones(60), []
    for share in (1e-2, 1e-3):  # a fraction of each weight is forgotten
        forget = ForgetSet(ones, jnp.where(jnp.arange(60) % 5 == 0, 1 - share, ones))
        vector = jax.grad(quadratic.loss)(
            old := solve(labelled, ones), labelled, forget.after, ones
        )
        matrix = jax.hessian(quadratic.loss)(old, labelled, forget.after, ones).reshape(36, 36)
        want = old.ravel() - np.linalg.solve(matrix, vector.ravel())
        _, new, _ = unlearn(
            quadratic,
            old,
            labelled,
            forget,
            hessian="full",
            hessian_data="old",
            damping=0.0,
            **TIGHT,
        )
        errors.append(np.linalg.norm(new.ravel() - want))
    assert 80 < errors[0] / errors[1] < 120


# --- the step ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mf", "lightgcn"])
@pytest.mark.parametrize("hessian", ["gauss_newton", "full"])
def test_the_step_solves_the_damped_system_of_the_retained_data_on_the_new_graph(
    labelled, name, hessian
):
    m, f, forget = model(name), factors(labelled), request(labelled)
    kept = oracles.without(labelled, forget.after, layout.build)
    ones = jnp.ones(len(kept.users))
    damping = 0.5 if hessian == "gauss_newton" else 30.0
    _, new, info = unlearn(m, f, labelled, forget, hessian=hessian, damping=damping, **TIGHT)
    if hessian == "full":
        matrix = hessian_of(lambda p: m.loss(p, kept, ones, ones), f)
    else:
        matrix = dense(influence.gauss_newton(m.loss, f, kept, ones, ones), f)
    pull = flat(jax.grad(m.loss)(f, labelled, forget.before, forget.before)) - flat(
        jax.grad(m.loss)(f, kept, ones, ones)
    )
    counts = np.concatenate(
        [
            np.bincount(labelled.users, forget.after, 12),
            np.bincount(labelled.items, forget.after, 10),
        ]
    )
    ridge = damping * np.repeat(np.sqrt(np.maximum(counts, 1)), D)
    step = np.linalg.solve(matrix + np.diag(ridge), pull)
    np.testing.assert_allclose(flat(new) - flat(f), step, atol=1e-9)
    assert float(info["residual"]) < 1e-10 and float(info["min_curvature"]) > 0


def test_a_second_linearisation_comes_nearer_to_the_point_with_the_same_difference(labelled):
    m, f, forget = model("mf"), factors(labelled), request(labelled, rows=range(0, 60, 9))
    settings = TIGHT | {"damping": 2.0, "damping_power": 0.0}

    def gap(p):  # of the retained gradient, with the ridge the old point had balanced
        old = jax.grad(m.loss)(f, labelled, forget.before, forget.before)
        new = jax.grad(m.loss)(p, labelled, forget.after, forget.after)
        return np.linalg.norm(flat(old) - flat(new) + 2.0 * (flat(f) - flat(p)))

    gaps = [gap(unlearn(m, f, labelled, forget, newton_steps=k, **settings)[1]) for k in (1, 2)]
    assert gaps[1] < 0.8 * gaps[0] and gaps[0] < 0.6 * gap(f)


def test_restricted_to_some_rows_the_step_solves_their_block_and_leaves_the_others(labelled):
    """Only the block of H and of the pull counts; every other row stays bit for bit."""
    m, f, forget = model("mf"), factors(labelled), request(labelled)
    settings = TIGHT | {"damping": 0.5, "hops": 0}
    _, new, _ = unlearn(m, f, labelled, forget, **settings)
    _, sized, _ = unlearn(m, f, labelled, forget, sizes=(7, 5), **settings)
    np.testing.assert_allclose(flat(sized), flat(new), atol=1e-10)
    gone = np.asarray(forget.after) == 0
    nodes = np.append(np.asarray(labelled.users)[gone], 12 + np.asarray(labelled.items)[gone])
    chosen = np.isin(np.arange(22), nodes)
    moved = np.any(np.concatenate(new) != np.concatenate(f), axis=1)
    np.testing.assert_array_equal(moved, chosen)
    matrix = dense(influence.gauss_newton(m.loss, f, labelled, forget.after, forget.after), f)
    pull = flat(influence.forget_gradient(m.loss, f, labelled, forget)[0])
    counts = np.concatenate(
        [
            np.bincount(labelled.users, forget.after, 12),
            np.bincount(labelled.items, forget.after, 10),
        ]
    )
    block = np.repeat(chosen, D)
    system = matrix[np.ix_(block, block)] + np.diag(
        0.5 * np.repeat(np.sqrt(np.maximum(counts, 1)), D)[block]
    )
    np.testing.assert_allclose(
        (flat(new) - flat(f))[block], np.linalg.solve(system, pull[block]), atol=1e-9
    )


@pytest.mark.slow
def test_keeping_fewer_rows_moves_fewer_and_always_those_of_the_request(labelled):
    m, f, forget = model("lightgcn"), factors(labelled), request(labelled)
    found = importance.reach(labelled, forget, hops=1)
    asked, moved = np.concatenate(found[2:]), []
    for keep in (1.0, 0.5, 0.2):
        _, new, _ = unlearn(m, f, labelled, forget, hops=1, keep=keep, damping=1.0)
        moved.append(np.any(np.concatenate(new) != np.concatenate(f), axis=1))
        assert np.all(moved[-1][asked])
    assert moved[0].sum() > moved[1].sum() > moved[2].sum()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mf", {"hops": 0}),
        ("lightgcn", {"hops": 1, "keep": 0.5}),
        ("mf", {"newton_steps": 2}),
        ("lightgcn", {"hessian": "full"}),
        ("mf", {"use": "ifru_flow"}),
    ],
)
def test_an_empty_request_changes_nothing_at_all(labelled, name, settings):
    m, f = model(name), factors(labelled)
    _, new, info = unlearn(m, f, labelled, request(labelled, rows=()), **settings)
    assert all(np.array_equal(a, b) for a, b in zip(new, f)) and float(info["pull_norm"]) == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"damping": 1.0},
        {"damping": 1.0, "hops": 1, "keep": 0.6},
        {"use": "ifru_released", "served_graph": "new", "lr": 1.0, "n_steps": 3},
    ],
)
def test_a_request_of_negatives_alone_leaves_the_graph_and_does_not_crash(labelled, settings):
    rows = np.flatnonzero(np.asarray(labelled.values) == 0)[:4]
    m, f = model("lightgcn"), factors(labelled)
    _, new, info = unlearn(m, f, labelled, request(labelled, rows), **settings)
    assert np.all(np.isfinite(flat(new))) and float(info["spillover_norm"]) == 0 < float(
        info["pull_norm"]
    )


def test_automatic_damping_is_the_ridge_the_model_was_trained_with(labelled):
    ones = jnp.ones(60)
    m, ridge = model("mf"), 0.3

    def ridged(p):
        return m.loss(p, labelled, ones, ones) + ridge / 2 * sum(jnp.sum(x**2) for x in p)

    f, _ = jax.jit(lambda p: descent.full(ridged, p, tol=1e-8, max_steps=5000, lr=0.05))(
        factors(labelled)
    )
    _, _, info = unlearn(m, f, labelled, request(labelled), damping_power=0.0)
    np.testing.assert_allclose(info["damping"], ridge, rtol=1e-5)


def test_automatic_damping_rises_until_the_full_hessian_bends_upwards(labelled):
    m, f, forget = model("mf"), factors(labelled, scale=1.0), request(labelled)
    assert (
        np.linalg.eigvalsh(
            hessian_of(lambda p: m.loss(p, labelled, forget.after, forget.after), f)
        )[0]
        < -0.1
    )
    _, new, info = unlearn(m, f, labelled, forget, hessian="full", precondition="none")
    assert (
        float(info["damping"]) > 0.1
        and float(info["min_curvature"]) > 0
        and np.all(np.isfinite(flat(new)))
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"damping": -1.0}, "damping must be 0 or more"),
        ({"hessian": "fisher"}, "hessian must be one of"),
        ({"keep": 0.5}, "give hops"),
        ({"hops": 1, "keep": 0.0}, r"keep must be in \(0, 1\]"),
        ({"newton_steps": 0}, "newton_steps must be an integer, 1 or more"),
        ({"hops": 1, "sizes": (3, 3), "keep": 0.5}, "keep is not read with sizes"),
        ({"keep_request": True}, "keep_request is not read"),
        ({"spillover": "truncated"}, "spillover must be one of"),
        ({"use": "ifru_flow", "max_products": 0}, "max_products must be an integer, 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings, words):
    settings = dict(settings)
    with pytest.raises(ValueError, match=words):
        methods.load(settings.pop("use", "ifru"))(model(), **settings)


def test_a_model_without_margins_needs_the_full_hessian():
    als = models.load("ials")(dim=2, reg=1.0, alpha=2.0)
    with pytest.raises(ValueError, match='hessian="full"'):
        methods.load("ifru")(als)
    methods.load("ifru")(als, hessian="full", precondition="none")


# --- AUC on the rows of a request ----------------------------------------------------------------


def test_auc_or_and_auc_and_are_those_of_the_rows_that_meet_the_request(labelled):
    f, forget = factors(labelled), request(labelled, rows=range(0, 60, 6))
    test = dataclasses.replace(labelled, values=1 - labelled.values)
    judge = jax.jit(
        lambda forget: metrics.evaluate(f, Split(labelled, test, test), forget, ks=(2,))
    )
    found = judge(forget)
    gone = np.asarray(forget.after) == 0
    users, items = (set(np.asarray(x)[gone]) for x in (labelled.users, labelled.items))
    hit = np.array(
        [(u in users, i in items) for u, i in zip(np.asarray(test.users), np.asarray(test.items))]
    )
    scores = np.sum(np.asarray(f.users)[test.users] * np.asarray(f.items)[test.items], axis=1)
    for name, rows in (("or", hit.any(1)), ("and", hit.all(1))):
        good, bad = scores[rows & (test.values > 0)], scores[rows & (test.values == 0)]
        want = np.mean(good[:, None] > bad[None, :])
        np.testing.assert_allclose(found[f"auc_{name}"], want, atol=1e-12)
        np.testing.assert_allclose(found[f"auc_{name}_valid"], want, atol=1e-12)
        squeezed = metrics.auc(
            jnp.asarray(1 / (1 + np.exp(-scores))), test.values, jnp.asarray(rows)
        )
        np.testing.assert_allclose(squeezed, want, atol=1e-12)
    assert hit.all(1).sum() < hit.any(1).sum() < 60
    empty = judge(request(labelled, rows=()))
    assert np.isnan(empty["auc_or"]) and np.isnan(empty["auc_and"]) and np.isfinite(empty["auc"])


# --- rows that lose everything -------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["bce", pytest.param("bpr", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["mf", pytest.param("lightgcn", marks=pytest.mark.slow)])
@pytest.mark.parametrize("use", ["ifru", "ifru_flow", "replay"])
def test_a_user_who_loses_everything_becomes_zero_and_nobody_else_does(labelled, use, name, loss):
    m, users = model(name, loss=loss), np.asarray(labelled.users)
    forget, f = request(labelled, np.flatnonzero(users == 2)), factors(labelled)
    gauss_newton = {"hessian": "gauss_newton"} if use == "ifru_flow" else {}
    if use != "replay" and loss == "bpr":  # which has no automatic damping
        gauss_newton |= {"damping": 0.5}
    rows = {
        clear: unlearn(m, f, labelled, forget, use=use, clear=clear, **gauss_newton)[1].users
        for clear in (True, False)
    }
    emptied = np.flatnonzero(np.all(np.asarray(rows[True]) == 0, axis=1))
    assert emptied.tolist() == [2] and np.all(np.asarray(rows[False][2]) != 0)
    kept = np.arange(len(f.users)) != 2
    np.testing.assert_array_equal(rows[True][kept], rows[False][kept])
    assert np.array_equal(rows[True][3], f.users[3])  # nobody knew this one


def test_what_the_release_does_with_such_a_user_is_kept(labelled):
    forget = request(labelled, np.flatnonzero(np.asarray(labelled.users) == 2))
    released = {"use": "ifru_released", "lr": 1.0, "n_steps": 3}
    _, new, _ = unlearn(model(), factors(labelled), labelled, forget, **released)
    assert np.all(np.asarray(new.users[2]) != 0)


@pytest.mark.parametrize("use", ["ifru", "ifru_flow", "newton"])
def test_no_damping_is_read_off_a_loss_against_drawn_items(use):
    """It was a hundred times too small, and the default moved models away from retraining."""
    bpr = model("mf", loss="bpr")
    with pytest.raises(ValueError, match=f"{use}: damping=.auto. cannot be read off"):
        methods.load(use)(bpr, damping="auto")
    assert methods.load(use)(bpr, damping=3.0)
    assert methods.load(use)(model("mf", loss="bce"), damping="auto")
