"""The flow against eigenvectors in float64, and what it is for: training that was stopped early."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from influence_toys import factors, flat, hessian_of, model, request, unlearn

from jaxforget.gradient.influence import flow
from jaxforget.sparse.degrees import degrees


@pytest.fixture
def labelled(toy):
    labels = np.random.default_rng(1).integers(0, 2, 60).astype(float)
    return dataclasses.replace(toy, values=jnp.asarray(labels))


def problem(n=12, lowest=-0.3):
    """A symmetric matrix with negative eigenvalues, a scale and a right-hand side."""
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(n, n)))
    matrix = (turn * np.linspace(lowest, 5.0, n)) @ turn.T
    return (
        jnp.asarray(matrix),
        jnp.asarray(rng.uniform(0.5, 2.0, n)),
        jnp.asarray(rng.normal(size=n)),
    )


def closed(matrix, scale, rhs, time, n=None):
    """``S^-1/2 f(S^-1/2 A S^-1/2) S^-1/2 rhs``: the flow itself, or ``n`` explicit steps of it."""
    root = np.sqrt(scale)
    values, vectors = np.linalg.eigh(matrix / np.outer(root, root))
    kept = np.exp(-values * time) if n is None else (1 - values * time / n) ** n
    filtered = np.where(np.abs(values) < 1e-9, time, (1 - kept) / values)
    return (vectors @ (filtered * (vectors.T @ (rhs / root)))) / root


def test_few_stable_steps_come_near_the_flow_and_are_exactly_what_they_say():
    matrix, scale, rhs = problem()
    x, told = jax.jit(
        lambda a, s, b: flow.run(lambda v: a @ v, b, scale=s, start=b, duration=1.5, n_steps=500)
    )(matrix, scale, rhs)
    n = int(told["iterations"]) - flow.POWER_STEPS
    top = np.linalg.eigvalsh(matrix / np.sqrt(np.outer(scale, scale)))[-1]
    assert 1.5 * top / 2 < n < 1.5 * top * 2 and float(told["duration"]) == pytest.approx(1.5)
    np.testing.assert_allclose(x, closed(matrix, scale, rhs, 1.5, n), rtol=1e-9)
    exact = closed(matrix, scale, rhs, 1.5)
    assert np.linalg.norm(x - exact) < 0.1 * np.linalg.norm(exact)


def test_without_end_it_is_the_inverse_and_an_empty_pull_moves_nothing():
    matrix, scale, rhs = problem(lowest=0.5)
    settings = {"scale": scale, "start": rhs, "duration": jnp.inf, "n_steps": 3000}
    x, told = flow.run(lambda v: matrix @ v, rhs, **settings)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, rhs), rtol=1e-8)
    assert np.isfinite(told["duration"])  # as far as it ran
    still, _ = flow.run(lambda v: matrix @ v, 0 * rhs, **settings)
    assert np.array_equal(still, np.zeros(12))


@pytest.mark.parametrize("bend", [-0.2, 0.0, 1e-6, 0.7, 30.0])
def test_the_duration_is_read_off_the_slope_where_training_stopped(bend):
    """A flow from 0 under ``target - bend p``, stopped after a known time."""
    time, target = 0.8, 2.0
    grown = time if bend == 0 else -np.expm1(-bend * time) / bend
    p = target * grown
    ridge = (target - bend * p) / p  # what the slope that is left would balance
    got = flow.duration(jnp.asarray(ridge), jnp.asarray(bend))
    np.testing.assert_allclose(got, time, rtol=1e-4)
    assert np.isinf(flow.duration(jnp.asarray(0.0), jnp.asarray(1.0)))


def stopped_early(m, train, weights, steps=40):
    """A few steps of gradient descent from small factors."""
    descend = jax.grad(lambda p: m.loss(p, train, weights, weights))

    def step(_, p):
        return jax.tree.map(lambda x, g: x - 0.05 * g, p, descend(p))

    return jax.jit(lambda p: jax.lax.fori_loop(0, steps, step, p))(factors(train, scale=0.1))


@pytest.mark.parametrize("name", ["mf", pytest.param("lightgcn", marks=pytest.mark.slow)])
def test_the_step_is_the_flow_of_the_full_hessian_for_the_time_the_old_training_tells(
    labelled, name
):
    m, forget = model(name), request(labelled)
    f = stopped_early(m, labelled, forget.before)
    _, new, info = unlearn(m, f, labelled, forget, use="ifru_flow", max_products=500)
    before, after = forget

    def along(weights):
        return lambda p: m.loss(p, labelled, weights, weights)

    p, slope = flat(f), flat(jax.grad(along(before))(f))
    counts = np.concatenate(degrees(labelled, after))
    scale = np.repeat(np.sqrt(np.maximum(counts, 1)), 3)
    size = p @ (scale * p)
    ridge, bend = -(p @ slope) / size, p @ hessian_of(along(before), f) @ p / size
    assert ridge > 0 and float(info["damping"]) == pytest.approx(ridge, rel=1e-9)
    time = float(info["duration"])
    assert time == pytest.approx(np.log1p(bend / ridge) / bend, rel=1e-6)
    pull = slope - flat(jax.grad(along(after))(f))
    n = int(info["iterations"]) - flow.POWER_STEPS
    matrix = hessian_of(along(after), f)
    assert np.linalg.eigvalsh(matrix)[0] < -0.1  # a linear system would need far more damping
    np.testing.assert_allclose(
        flat(new) - p, closed(matrix, scale, pull, time, n), rtol=1e-6, atol=1e-9
    )


def test_restricted_to_some_rows_only_those_move_and_static_sizes_agree(labelled):
    m, forget = model(), request(labelled)
    f = stopped_early(m, labelled, forget.before)
    settings = {"use": "ifru_flow", "hops": 0}
    _, new, _ = unlearn(m, f, labelled, forget, **settings)
    _, sized, _ = unlearn(m, f, labelled, forget, sizes=(7, 5), **settings)
    np.testing.assert_allclose(flat(sized), flat(new), atol=1e-10)
    gone = np.asarray(forget.after) == 0
    for side, moved in zip((labelled.users, labelled.items), zip(f, new)):
        rows = np.flatnonzero(np.any(np.asarray(moved[0]) != np.asarray(moved[1]), axis=1))
        assert set(rows) == set(np.asarray(side)[gone].tolist())
