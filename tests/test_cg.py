"""Damped, preconditioned conjugate gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_influence import D, dense, factors, flat, request

from jaxforget.gradient import influence, losses
from jaxforget.gradient.influence import damping, precondition


def system(seed=0, n=12, low=0.5):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    return q @ np.diag(np.linspace(low, 20, n)) @ q.T, rng.normal(size=n)


@pytest.mark.parametrize("preconditioned", [False, True])
def test_cg_solves_a_damped_system_and_reports_its_true_residual(preconditioned):
    a, b = system()
    rhs = {"x": jnp.asarray(b[:5]), "y": jnp.asarray(b[5:])}

    def matvec(v):
        out = jnp.asarray(a) @ jnp.concatenate([v["x"], v["y"]])
        return {"x": out[:5], "y": out[5:]}

    scale = 1 / (np.diag(a) + 0.7)
    rough = {"x": jnp.asarray(scale[:5]), "y": jnp.asarray(scale[5:])}
    precondition = (lambda r: jax.tree.map(jnp.multiply, rough, r)) if preconditioned else None
    found = jax.jit(
        lambda r: influence.cg(
            matvec, r, n_steps=60, damping=0.7, tol=1e-11, precondition=precondition
        )
    )(rhs)
    want = np.linalg.solve(a + 0.7 * np.eye(12), b)
    np.testing.assert_allclose(flat(found.x), want, atol=1e-9)
    assert float(found.residual) <= 1e-10 and float(found.min_curvature) >= 1.2 - 1e-9
    few = influence.cg(matvec, rhs, n_steps=3, damping=0.7)
    gap = b - (a + 0.7 * np.eye(12)) @ flat(few.x)
    np.testing.assert_allclose(few.residual, np.linalg.norm(gap) / np.linalg.norm(b), rtol=1e-10)
    assert int(few.iterations) == 3


def test_damping_may_differ_per_coordinate():
    a, b = system()
    ridge = np.linspace(0.1, 3, 12)
    found = influence.cg(
        lambda v: jnp.asarray(a) @ v,
        jnp.asarray(b),
        n_steps=40,
        damping=jnp.asarray(ridge),
        tol=1e-12,
    )
    np.testing.assert_allclose(found.x, np.linalg.solve(a + np.diag(ridge), b), atol=1e-9)


def test_cg_stops_before_curvature_that_is_not_positive():
    a, b = system(low=-4.0)
    found = influence.cg(lambda v: jnp.asarray(a) @ v, jnp.asarray(b), n_steps=50, tol=1e-12)
    assert float(found.min_curvature) <= 0 and np.all(np.isfinite(found.x))
    assert float(b @ found.x - found.x @ a @ found.x / 2) >= 0  # what it has is a descent step
    raised, used = damping.solve_damped(
        lambda v: jnp.asarray(a) @ v,
        jnp.asarray(b),
        damping=jnp.asarray(0.0),
        scale=jnp.ones(1),
        n_steps=50,
        tol=1e-10,
    )
    assert float(used) > 4 and float(raised.min_curvature) > 0
    np.testing.assert_allclose(
        raised.x, np.linalg.solve(a + float(used) * np.eye(12), b), atol=1e-8
    )


def test_a_right_hand_side_of_zero_gives_exactly_zero():
    a, _ = system()
    found = influence.cg(lambda v: jnp.asarray(a) @ v, jnp.zeros(12), n_steps=9)
    assert (
        np.all(np.asarray(found.x) == 0)
        and int(found.iterations) == 0
        and float(found.residual) == 0
    )


def test_null_directions_orthogonal_to_the_right_hand_side_stay_out():
    a, b = system(low=0.0)
    null = np.linalg.eigh(a)[1][:, 0]
    b = b - (null @ b) * null
    found = influence.cg(lambda v: jnp.asarray(a) @ v, jnp.asarray(b), n_steps=30, tol=1e-10)
    np.testing.assert_allclose(found.x, np.linalg.pinv(a, rcond=1e-10) @ b, atol=1e-7)


@pytest.mark.parametrize("nu", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["diagonal", "rows"])
def test_preconditioners_hold_the_row_blocks_of_gauss_newton(labelled, kind, nu):
    loss, f = losses.build("bce", reg=0.2, n_layers=0, nu=nu), factors(labelled)
    weights = request(labelled).after
    ridge = jax.tree.map(lambda x: jnp.full((len(x), 1), 0.3), f)
    apply = precondition.preconditioner(kind, loss, f, labelled, weights, weights)(ridge)
    v = factors(labelled, seed=2)
    product = influence.gauss_newton(loss, f, labelled, weights, weights)
    matrix = dense(product, f) + 0.3 * np.eye(len(flat(f)))
    want = np.zeros(len(matrix))
    for start in range(0, len(matrix), D):
        block = matrix[start : start + D, start : start + D]
        block = block if kind == "rows" else np.diag(np.diag(block))
        want[start : start + D] = np.linalg.solve(block, flat(v)[start : start + D])
    np.testing.assert_allclose(flat(apply(v)), want, atol=1e-10)


@pytest.mark.parametrize("n_layers", [0, 1])
def test_preconditioning_saves_steps_and_keeps_the_solution(labelled, n_layers):
    loss, f = losses.build("bce", reg=0.0, n_layers=n_layers), factors(labelled)
    f = f._replace(users=f.users * jnp.linspace(0.1, 5, 12)[:, None])
    ones = jnp.ones(60)
    product = influence.gauss_newton(loss, f, labelled, ones, ones)
    rhs = jax.grad(loss)(f, labelled, ones, ones)
    ridge = jax.tree.map(lambda x: jnp.full((len(x), 1), 0.05), f)
    found = {}
    for kind in ("none", "diagonal", "rows"):
        make = None
        if kind != "none":
            make = precondition.preconditioner(kind, loss, f, labelled, ones, ones)
        found[kind] = influence.cg(
            product, rhs, n_steps=500, damping=ridge, tol=1e-10, precondition=make and make(ridge)
        )
        np.testing.assert_allclose(flat(found[kind].x), flat(found["none"].x), atol=1e-6)
    if n_layers == 0:  # along a graph the blocks are an estimate
        assert found["rows"].iterations < found["none"].iterations
