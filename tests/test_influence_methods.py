"""SCIF and the controls; what all gradient methods promise together."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from influence_toys import D, dense, factors, flat, model, request

from jaxforget import methods
from jaxforget.gradient import influence
from jaxforget.methods import scif
from jaxforget.sparse.draws import pair_bits

SETTINGS = {
    "ifru": {"damping": 1.0},
    "scif": {"damping": 1.0},
    "newton": {"damping": 1.0, "pull": "difference"},
    "gradient_step": {"lr": 0.05, "pull": "difference"},
    "finetune": {"lr": 0.01, "n_steps": 2},
    "gradient_ascent": {"lr": 0.05, "n_steps": 2},
    "projected_gradient": {"lr": 0.05, "n_steps": 2, "n_groups": 3},
}


def run(name, m, f, train, forget, **changed):
    method = methods.load(name)(m, **SETTINGS[name] | changed)
    return jax.jit(method.unlearn)(jax.random.key(0), f, train, forget)


def moved(new, old):
    return np.any(np.concatenate(new) != np.concatenate(old), axis=1)


# --- all of them ---------------------------------------------------------------------------------


# test_contracts has one trace of each pair; the map over requests is of all methods in test-all
@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("gradient_step", "mf"),
        ("ifru", "lightgcn"),
        *(
            pytest.param(name, "mf", marks=pytest.mark.slow)
            for name in SETTINGS
            if name != "gradient_step"
        ),
    ],
)
def test_one_trace_serves_all_requests_and_lax_map_equals_single_calls(labelled, name, backbone):
    m, f, traces = model(backbone), factors(labelled), []
    method = methods.load(name)(m, **SETTINGS[name])

    @jax.jit
    def one(forget, train, state):
        traces.append(1)
        return method.unlearn(jax.random.key(0), state, train, forget)

    requests = [request(labelled, rows) for rows in ((3,), (1, 2, 3, 50), range(0, 60, 7))]
    alone = [one(r, labelled, f) for r in requests]
    assert len(traces) == 1
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *requests)
    together, _info = jax.jit(lambda r, t, s: jax.lax.map(lambda x: one(x, t, s), r))(
        stacked, labelled, f
    )
    for k, (state, told) in enumerate(alone):
        np.testing.assert_allclose(
            flat(jax.tree.map(lambda x, k=k: x[k], together)), flat(state), atol=1e-10
        )
        assert all(np.ndim(v) == 0 and np.isfinite(v) for v in told.values())
    served = method.factors(alone[0][0], labelled, requests[0].after)
    assert served.users.shape == (12, D) and served.items.shape == (10, D)


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"finetune"}))
def test_an_empty_request_changes_nothing(labelled, name):
    f = factors(labelled)
    new, _ = run(name, model("lightgcn"), f, labelled, request(labelled, rows=()))
    assert not moved(new, f).any()


@pytest.mark.slow  # test_contracts asks it of all pairs, with other settings
@pytest.mark.parametrize("name", SETTINGS)
def test_float32_stays_float32(labelled, name):
    small = dataclasses.replace(labelled, values=labelled.values.astype(jnp.float32))
    f, forget = (
        jax.tree.map(lambda x: x.astype(jnp.float32), x)
        for x in (factors(labelled), request(labelled))
    )
    new, _info = run(name, model(), f, small, forget)
    assert {x.dtype for x in new} == {np.dtype("float32")} and np.all(np.isfinite(flat(new)))


# --- SCIF ----------------------------------------------------------------------------------------


def test_mean_labels_come_from_retained_rows_of_user_then_item_then_all_and_are_never_nan(labelled):
    users, items, y = (np.asarray(x) for x in (labelled.users, labelled.items, labelled.values))
    emptied = (users == 5) | (items == 2)  # user 5 and item 2 retain nothing
    forget = request(labelled, np.flatnonzero(emptied))
    got, kept = np.asarray(scif.mean_labels(labelled, forget)), ~emptied
    for n, (u, i) in enumerate(zip(users, items)):
        pools = [kept & (users == u), kept & (items == i), kept]
        pool = next(p for p in pools if p.any())
        np.testing.assert_allclose(got[n], y[pool].mean(), atol=1e-12)
    nothing = scif.mean_labels(labelled, request(labelled, range(60)))
    assert np.all(np.asarray(nothing) == 0.5)


@pytest.mark.parametrize(("sign", "factor"), [("none", 0.0), ("minus", -1.0), ("plus", 1.0)])
def test_scif_solves_for_the_relabelled_pull_on_the_rows_of_the_request(labelled, sign, factor):
    m, f, forget = model(), factors(labelled), request(labelled)
    new, _info = run(
        "scif", m, f, labelled, forget, sign=sign, tol=1e-12, n_steps=300, damping_power=0.0
    )
    ones, gone = jnp.ones(60), forget.before - forget.after
    relabelled = dataclasses.replace(labelled, values=scif.mean_labels(labelled, forget))
    grad = jax.grad(m.loss)
    pull = (
        flat(grad(f, labelled, gone, ones))
        - flat(grad(f, relabelled, gone, ones))
        + factor * flat(grad(f, labelled, ones, ones))
    )
    nodes = np.append(
        np.asarray(labelled.users)[gone > 0], 12 + np.asarray(labelled.items)[gone > 0]
    )
    block = np.repeat(np.isin(np.arange(22), nodes), D)
    product = influence.gauss_newton(m.loss, f, labelled, ones, ones)
    matrix = dense(product, f) + np.eye(len(flat(f)))
    step = np.linalg.solve(matrix[np.ix_(block, block)], pull[block])
    np.testing.assert_allclose((flat(new) - flat(f))[block], step, atol=1e-9)
    assert np.array_equal(flat(new)[~block], flat(f)[~block])


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
@pytest.mark.parametrize("how", [{}, {"sign": "minus"}, {"propagated": False}])
def test_scif_refuses_a_loss_to_which_an_average_label_says_nothing(labelled, backbone, how):
    """To BPR a label is positive or not; opponents that the user keeps were counted as a pull."""
    bpr = model(backbone, loss="bpr")
    with pytest.raises(ValueError, match=r"scif: .*\(bpr\) reads of a label only whether .*ifru"):
        methods.load("scif")(bpr, damping=1.0, **how)
    # what the formula says there: among positive labels the pull is exactly nothing
    f, forget = factors(labelled), request(labelled)
    liked = dataclasses.replace(labelled, values=jnp.where(labelled.values > 0, 1.0, 0.5))
    means = dataclasses.replace(liked, values=scif.mean_labels(liked, forget))
    margins = bpr.margins.margins(f, liked, forget.before)
    old, new = (bpr.margins.outcomes(margins, t, forget.before) for t in (liked, means))
    np.testing.assert_array_equal(old, new)


def test_scif_can_be_kept_to_the_users_and_away_from_the_graph(labelled):
    f, forget = factors(labelled), request(labelled)
    new, _ = run("scif", model("lightgcn"), f, labelled, forget, nodes="users")
    assert not moved(new, f)[12:].any() and moved(new, f)[:12].sum() == 3
    plain, _ = run("scif", model("mf"), f, labelled, forget)
    ignored, _ = run("scif", model("lightgcn"), f, labelled, forget, propagated=False)
    np.testing.assert_allclose(flat(ignored), flat(plain), atol=1e-12)


# --- controls ------------------------------------------------------------------------------------


def test_first_order_updates_are_gradient_steps(labelled):
    m, f, forget = model("lightgcn"), factors(labelled), request(labelled)
    old, new = (flat(jax.grad(m.loss)(f, labelled, w, w)) for w in forget)
    for pull, want in (("retained", -new), ("difference", old - new)):
        got, _ = run("gradient_step", m, f, labelled, forget, lr=0.1, pull=pull)
        np.testing.assert_allclose(flat(got) - flat(f), 0.1 * want, atol=1e-12)


def test_the_newton_step_on_the_retained_loss_solves_its_damped_system(labelled):
    m, f, forget = model(), factors(labelled), request(labelled)
    got, info = run(
        "newton",
        m,
        f,
        labelled,
        forget,
        pull="retained",
        damping=40.0,
        hessian="full",
        tol=1e-12,
        n_steps=300,
        damping_power=0.0,
        precondition="none",
    )
    vector, back = jax.flatten_util.ravel_pytree(f)
    loss = lambda v: m.loss(back(v), labelled, forget.after, forget.after)  # noqa: E731
    step = np.linalg.solve(
        np.asarray(jax.hessian(loss)(vector)) + 40 * np.eye(len(vector)), -jax.grad(loss)(vector)
    )
    np.testing.assert_allclose(flat(got) - flat(f), step, atol=1e-9)
    assert float(info["damping"]) == 40.0


def test_finetuning_lowers_the_retained_loss(labelled):
    m, f, forget = model(), factors(labelled), request(labelled)
    new, info = run("finetune", m, f, labelled, forget, n_steps=30)
    old, now = (m.loss(p, labelled, forget.after, forget.after) for p in (f, new))
    assert float(now) < 0.9 * float(old)
    gradient = jax.grad(lambda p: m.loss(p, labelled, forget.after, forget.after) / 57)(new)
    np.testing.assert_allclose(info["grad_norm"], np.linalg.norm(flat(gradient)), rtol=1e-9)


def test_gradient_ascent_climbs_the_forgotten_loss_and_moves_no_other_row(labelled):
    m, f, forget = model(), factors(labelled), request(labelled, rows=(3, 17))
    gone = forget.before - forget.after
    new, info = run("gradient_ascent", m, f, labelled, forget)
    old, now = (float(m.loss(p, labelled, gone, gone)) for p in (f, new))
    assert now > old and np.isclose(float(info["forgotten_loss"]), now)
    one, _ = run("gradient_ascent", m, f, labelled, forget, n_steps=1)
    np.testing.assert_allclose(
        flat(one) - flat(f), 0.05 * flat(jax.grad(m.loss)(f, labelled, gone, gone)), atol=1e-12
    )
    rows = np.append(
        np.asarray(labelled.users)[gone > 0], 12 + np.asarray(labelled.items)[gone > 0]
    )
    np.testing.assert_array_equal(np.flatnonzero(moved(new, f)), np.unique(rows))


PROJECTED = [
    ("mf", {}),
    ("mf", {"reg": 0.1}),
    ("mf", {"reg": 0.1, "nu": 0.5}),
    ("mf", {"loss": "bpr"}),
    ("lightgcn", {"loss": "bpr", "reg": 0.1, "nu": 1.0}),
]


@pytest.mark.parametrize(("name", "settings"), PROJECTED)
def test_projected_steps_leave_the_retained_loss_alone_to_first_order(labelled, name, settings):
    m, f, forget = model(name, **settings), factors(labelled), request(labelled)
    new, info = run("projected_gradient", m, f, labelled, forget, n_steps=1)
    step = flat(new) - flat(f)
    before, retained = (flat(jax.grad(m.loss)(f, labelled, w, forget.after)) for w in forget)
    assert abs(step @ retained) < 1e-10 * np.linalg.norm(step) * np.linalg.norm(retained)
    pull = before - retained
    assert step @ pull > 0 and 0 < float(info["share_left"]) < 1
    np.testing.assert_allclose(
        np.linalg.norm(step) / 0.05, info["share_left"] * np.linalg.norm(pull), rtol=1e-8
    )


@pytest.mark.parametrize(("name", "settings"), [PROJECTED[2], PROJECTED[4]])
def test_a_projected_step_is_the_pull_less_its_least_squares_fit(labelled, name, settings):
    """By the outcomes of the retained rows in groups, and the ridge of what is remembered."""
    m, f, forget = model(name, **settings), factors(labelled), request(labelled)
    new, _info = run("projected_gradient", m, f, labelled, forget, n_steps=1)
    vector, back = jax.flatten_util.ravel_pytree(f)

    def outcomes(v):
        margins = m.margins.margins(back(v), labelled, forget.after)
        return m.margins.outcomes(margins, labelled, forget.after)

    rows = np.asarray(jax.jacobian(outcomes)(vector))
    groups = np.asarray(pair_bits(jax.random.key(0), labelled)) % 3
    ridges = m.margins.ridges(labelled, forget.after)
    ridge = flat(jax.tree.map(lambda r, x: 2 * r * x, ridges, f))
    span = np.stack([*(rows[groups == k].sum(axis=0) for k in range(3)), ridge], axis=1)
    old, kept = (flat(jax.grad(m.loss)(f, labelled, w, forget.after)) for w in forget)
    pull = old - kept
    want = pull - span @ np.linalg.lstsq(span, pull, rcond=None)[0]
    np.testing.assert_allclose(flat(new) - flat(f), 0.05 * want, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("scif", {"sign": "up"}, "sign must be"),
        ("newton", {"pull": "both"}, "pull must be one of"),
        ("gradient_step", {"lr": 0.0}, "lr must be positive"),
        ("finetune", {"lr": 0.0}, "lr must be positive"),
        ("gradient_ascent", {"n_steps": 0}, "n_steps must be an integer, 1 or more"),
        ("projected_gradient", {"n_groups": 0}, "n_groups must be an integer, 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name, settings, words):
    with pytest.raises(ValueError, match=words):
        methods.load(name)(model(), **SETTINGS[name] | settings)
