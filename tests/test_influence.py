"""Curvature products, forget gradients and implied ridges against loops and dense matrices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from influence_toys import D, dense, flat, hessian_of

from jaxforget.gradient import descent, influence, losses
from jaxforget.gradient.influence import curvature, damping
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet, Model

factors = functools.partial(oracles.factors, dim=D)


def request(train, seed=5, share=0.2):
    after = (np.random.default_rng(seed).random(len(train.users)) > share).astype(float)
    return ForgetSet(jnp.ones(len(train.users)), jnp.asarray(after))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mf_hvp(train, weights, params, vector):
    """The closed form ``h ds z_i + r a_i``, written as loops over interactions."""
    users, items = (np.asarray(x) for x in params)
    a, b = (np.asarray(x) for x in vector)
    out = np.zeros_like(users), np.zeros_like(items)
    for u, i, y, w in zip(
        *(np.asarray(x) for x in (train.users, train.items, train.values, weights))
    ):
        s = users[u] @ items[i]
        r, h = w * (sigmoid(s) - y), w * sigmoid(s) * (1 - sigmoid(s))
        ds = items[i] @ a[u] + users[u] @ b[i]
        out[0][u] += h * ds * items[i] + r * b[i]
        out[1][i] += h * ds * users[u] + r * a[u]
    return out


def row_ridges(train, weights, name, reg, nu):
    """``reg count^nu`` of every user and item, by loops; ``reg`` where nothing is remembered."""
    counts = np.zeros(train.n_users), np.zeros(train.n_items)
    for u, i, y, w in zip(
        *(np.asarray(x) for x in (train.users, train.items, train.values, weights))
    ):
        if name == "bce" or y > 0:
            counts[0][u] += w
            counts[1][i] += w
            counts[1][:] += w / train.n_items if name == "bpr" else 0  # drawn against the pair
    return [np.array([reg * n**nu if n > 0 else reg for n in side]) for side in counts]


# --- the ridge -----------------------------------------------------------------------------------


@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["bce", "bpr"])
def test_the_ridge_of_a_row_grows_with_its_remembered_interactions(labelled, name, nu):
    weights = jnp.where(labelled.users == 3, 0, request(labelled).after)  # one user has nothing
    got = losses.build(name, reg=0.3, n_layers=0, nu=nu).ridges(labelled, weights)
    for mine, want in zip(got, row_ridges(labelled, weights, name, 0.3, nu)):
        np.testing.assert_allclose(np.broadcast_to(mine[:, 0], len(want)), want, rtol=1e-12)


def test_the_old_name_of_the_ridge_goes_on_working_where_it_can(labelled):
    f = factors(labelled)
    with pytest.warns(DeprecationWarning, match="use vectors.dot"):
        got = losses.build("bce", reg=0.3, n_layers=0).penalty(f)
    np.testing.assert_allclose(got, 0.3 * np.sum(flat(f) ** 2))
    with pytest.warns(DeprecationWarning), pytest.raises(ValueError, match="use ridges"):
        losses.build("bce", reg=0.3, n_layers=0, nu=1.0).penalty(f)


@pytest.mark.parametrize("nu", [0.5, 1.0])
def test_the_loss_has_a_derivative_in_its_weights_where_a_row_has_nothing(labelled, nu):
    f, weights = factors(labelled), (labelled.users != 3).astype(float)
    loss = losses.build("bce", reg=0.3, n_layers=0, nu=nu)
    assert np.all(np.isfinite(jax.grad(lambda w: loss(f, labelled, w, w))(weights)))


# --- curvature -----------------------------------------------------------------------------------


def test_the_mf_hvp_equals_its_closed_form(labelled):
    loss, f, v = (
        losses.build("bce", reg=0.0, n_layers=0),
        factors(labelled),
        factors(labelled, seed=1),
    )
    weights = request(labelled).after
    got = influence.hvp(lambda p: loss(p, labelled, weights, weights), f, v)
    for mine, want in zip(got, mf_hvp(labelled, weights, f, v)):
        np.testing.assert_allclose(mine, want, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "n_layers", "nu"),
    [(*x, 0.0) for x in (("bce", 0), ("bce", 2), ("bpr", 0), ("bpr", 1))]
    + [("bce", 2, 0.5), ("bpr", 0, 0.5)],
)
def test_gradient_and_hvp_agree_with_finite_differences(labelled, name, n_layers, nu):
    loss, f, v = (
        losses.build(name, reg=0.3, n_layers=n_layers, nu=nu),
        factors(labelled),
        factors(labelled, seed=1),
    )
    weights = request(labelled).after

    def of(p):
        return loss(p, labelled, weights, weights)

    step = 1e-5
    ahead, behind = (jax.tree.map(lambda x, d, s=s: x + s * d, f, v) for s in (step, -step))
    slope = (of(ahead) - of(behind)) / (2 * step)
    np.testing.assert_allclose(influence.dot(jax.grad(of)(f), v), slope, rtol=1e-7)
    want = (flat(jax.grad(of)(ahead)) - flat(jax.grad(of)(behind))) / (2 * step)
    np.testing.assert_allclose(flat(influence.hvp(of, f, v)), want, atol=1e-6)
    np.testing.assert_allclose(flat(influence.hessian(of, f)(v)), want, atol=1e-6)
    closed = loss.product(f, labelled, weights, weights, full=True)
    np.testing.assert_allclose(flat(closed(v)), want, atol=1e-6)


@pytest.mark.parametrize("n_layers", [1, 3])
def test_the_lightgcn_gradient_and_hvp_are_those_of_mf_between_two_propagations(labelled, n_layers):
    from jaxforget.gradient import graph

    weights, edges = request(labelled).after, request(labelled, seed=9).after
    mf, gcn = (losses.build("bce", reg=0.0, n_layers=n) for n in (0, n_layers))
    f, v = factors(labelled), factors(labelled, seed=1)
    through = lambda p: graph.propagate(p, labelled, edges, n_layers=n_layers)  # noqa: E731

    def plain(p):
        return mf(p, labelled, weights, edges)

    want = through(jax.grad(plain)(through(f)))
    got = jax.grad(lambda p: gcn(p, labelled, weights, edges))(f)
    np.testing.assert_allclose(flat(got), flat(want), atol=1e-12)
    want = through(Factors(*mf_hvp(labelled, weights, through(f), through(v))))
    got = influence.hvp(lambda p: gcn(p, labelled, weights, edges), f, v)
    np.testing.assert_allclose(flat(got), flat(want), atol=1e-12)
    closed = gcn.product(f, labelled, weights, edges, full=True)(v)
    np.testing.assert_allclose(flat(closed), flat(want), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "n_layers", "nu"),
    [(*x, 0.0) for x in (("bce", 0), ("bce", 1), ("bpr", 0))] + [("bce", 1, 1.0), ("bpr", 0, 1.0)],
)
def test_gauss_newton_is_the_positive_part_of_the_hessian(labelled, name, n_layers, nu):
    reg = 0.02 if nu else 0.2
    loss, f = losses.build(name, reg=reg, n_layers=n_layers, nu=nu), factors(labelled)
    weights = request(labelled).after
    product = influence.gauss_newton(loss, f, labelled, weights, weights)
    vector, back = jax.flatten_util.ravel_pytree(f)
    matrix = dense(product, f)
    margins, bend = loss.margins(f, labelled, weights), None
    jacobian = np.asarray(jax.jacobian(lambda x: loss.margins(back(x), labelled, weights))(vector))
    if name == "bce":
        bend = weights * sigmoid(margins) * (1 - sigmoid(margins))
    else:
        counted = np.asarray(loss.outcomes(margins, labelled, weights)) > 0
        bend = counted * sigmoid(-np.asarray(margins)) * (1 - sigmoid(-np.asarray(margins)))
    ridges = np.concatenate(row_ridges(labelled, weights, name, reg, nu)).repeat(D)
    want = jacobian.T @ np.diag(bend) @ jacobian + 2 * np.diag(ridges)
    np.testing.assert_allclose(matrix, want, atol=1e-11)
    assert np.linalg.eigvalsh(matrix)[0] > 2 * ridges.min() - 0.01
    full = hessian_of(lambda p: loss(p, labelled, weights, weights), f)
    assert np.linalg.eigvalsh(full)[0] < 0  # away from a minimum the rest is not


def test_scores_do_not_change_along_the_gauge_and_the_hessian_says_so(labelled):
    """H (U X, -V X') = (-g_U X', g_V X)."""
    loss, f = losses.build("bce", reg=0.0, n_layers=0), factors(labelled)
    x = jnp.asarray(np.random.default_rng(4).normal(size=(D, D)))
    ones = jnp.ones(60)
    gradient = jax.grad(loss)(f, labelled, ones, ones)
    tangent = Factors(f.users @ x, -f.items @ x.T)
    got = influence.hvp(lambda p: loss(p, labelled, ones, ones), f, tangent)
    np.testing.assert_allclose(got.users, -gradient.users @ x.T, atol=1e-12)
    np.testing.assert_allclose(got.items, gradient.items @ x, atol=1e-12)


def test_with_a_ridge_the_rotations_are_the_null_directions_of_a_minimum(labelled):
    loss, ones = losses.build("bce", reg=0.05, n_layers=0), jnp.ones(60)

    def of(p):
        return loss(p, labelled, ones, ones)

    f, info = descent.full(of, factors(labelled, dim=2), tol=1e-9, max_steps=3000)
    assert float(info["grad_norm"]) <= 1e-9
    values = np.linalg.eigvalsh(hessian_of(of, f))
    assert np.sum(np.abs(values) < 1e-6) == 1 and values[0] > -1e-6  # d (d - 1) / 2


def test_a_model_without_margins_is_told_what_to_do(labelled):
    plain = Model(lambda t: t, None, None, lambda *a: 0.0)
    with pytest.raises(ValueError, match='use hessian="full"'):
        curvature.curvature(plain, factors(labelled), labelled, None, None, kind="gauss_newton")


# --- forget gradients ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n_layers", "nu"),
    [(*x, 0.0) for x in (("bce", 0), ("bce", 1), ("bce", 2), ("bpr", 0), ("bpr", 1))]
    + [("bce", 0, 1.0), ("bce", 2, 1.0), ("bpr", 0, 1.0)],
)
def test_direct_and_spillover_telescope(labelled, name, n_layers, nu):
    loss, f, forget = (
        losses.build(name, reg=0.4, n_layers=n_layers, nu=nu),
        factors(labelled),
        request(labelled),
    )
    direct, spilled = influence.forget_gradient(loss, f, labelled, forget)
    fast = influence.forget_gradient(loss, f, labelled, forget, margins=loss)
    for plain, one_pass in zip((direct, spilled), fast):
        np.testing.assert_allclose(flat(one_pass), flat(plain), atol=1e-10)
    old = jax.grad(loss)(f, labelled, forget.before, forget.before)
    kept = oracles.without(labelled, forget.after, layout.build)
    ones = jnp.ones(len(kept.users))
    new = jax.grad(loss)(f, kept, ones, ones)  # the graph of retained data, built from scratch
    np.testing.assert_allclose(flat(direct) + flat(spilled), flat(old) - flat(new), atol=1e-10)
    assert np.any(flat(direct) != 0) and np.any(flat(spilled) != 0) == (n_layers > 0)


def test_spillover_comes_only_from_interactions_near_a_changed_row_of_the_graph(labelled):
    """The sum restricted to interactions that touch a changed row of P is exact."""
    from test_graph import operator

    loss, f, forget = (
        losses.build("bce", reg=0.0, n_layers=1),
        factors(labelled),
        request(labelled, share=0.05),
    )
    changed = np.any(
        operator(labelled, forget.before, 1) != operator(labelled, forget.after, 1), axis=1
    )
    users, items = np.asarray(labelled.users), np.asarray(labelled.items)
    near = jnp.asarray((changed[users] | changed[12 + items]).astype(float))
    assert 0 < near.sum() < 60
    _, spilled = influence.forget_gradient(loss, f, labelled, forget)
    old, new = (jax.grad(loss)(f, labelled, forget.after * near, e) for e in forget)
    np.testing.assert_allclose(flat(spilled), flat(old) - flat(new), atol=1e-12)


@pytest.mark.parametrize("nu", [0.0, 1.0])
def test_nothing_spills_where_the_graph_stays_and_nothing_pulls_where_nothing_is_asked(
    labelled, nu
):
    loss, f = losses.build("bce", reg=0.1, n_layers=2, nu=nu), factors(labelled)
    ones = jnp.ones(60)
    for margins in (None, loss):
        empty = ForgetSet(ones, ones)
        for part in influence.forget_gradient(loss, f, labelled, empty, margins=margins):
            assert np.all(flat(part) == 0)
    after = ones.at[jnp.where(labelled.values == 0)[0][:5]].set(0.0)  # negatives are no edges
    direct, spilled = influence.forget_gradient(loss, f, labelled, ForgetSet(ones, after))
    assert np.all(flat(spilled) == 0) and np.any(flat(direct) != 0)


def test_the_ridge_of_an_early_stop_is_found_from_training_alone(labelled):
    """Parameters that minimise L + ridge/2 |p|^2 give that ridge back."""
    ones, scale = jnp.ones(60), Factors(*(jnp.linspace(1, 3, n)[:, None] for n in (12, 10)))
    loss = losses.build("bce", reg=0.0, n_layers=0)

    def of(p):
        return loss(p, labelled, ones, ones)

    def ridged(p):
        return of(p) + 0.4 / 2 * sum(jnp.sum(s * x**2) for s, x in zip(scale, p))

    f, _ = descent.full(ridged, factors(labelled), tol=1e-9, max_steps=2000)
    np.testing.assert_allclose(
        damping.implied_ridge(influence.dot(f, jax.grad(of)(f)), f, scale), 0.4, rtol=1e-6
    )
