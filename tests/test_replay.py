"""Replayed training against loops in NumPy with dense gradients, and what it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from influence_toys import flat, model, request, unlearn
from test_flow import stopped_early

from jaxforget import methods
from jaxforget.gradient.influence import importance, replay
from jaxforget.sparse.degrees import degrees
from jaxforget.types import Factors


def walk(before, after, params, scale, *, length, origin, n_steps):
    """The two walks, one after the other, as loops."""

    def steps(gradient, n):
        at = origin * params
        for _ in range(n):
            yield at
            at = at - length * gradient(at) / scale
        yield at

    old = list(steps(before, n_steps))
    shares = [params @ (scale * b) / (params @ (scale * params)) for b in old]
    n = next((k for k, share in enumerate(shares) if share >= 1), n_steps)
    new = list(steps(after, n))
    part = (1 - shares[n - 1]) / (shares[n] - shares[n - 1]) if shares[n] >= 1 else 1.0
    gaps = [new[k] - old[k] for k in (n - 1, n)]
    return gaps[0] + part * (gaps[1] - gaps[0]), n


def quadratic(seed, n=6):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n))
    matrix, target = root @ root.T / n + np.eye(n), rng.normal(size=n) + 2
    return lambda p: matrix @ p - target, np.linalg.solve(matrix, target), matrix


@pytest.mark.parametrize("stop", [0.6, 1.0])  # before the minimum, and at it
def test_the_difference_is_that_of_two_explicit_walks(stop):
    (before, low, matrix), (after, new, _) = quadratic(0), quadratic(1)
    scale = np.linspace(0.5, 2.0, 6)
    top = np.linalg.eigvalsh(matrix / np.sqrt(np.outer(scale, scale)))[-1] * 3
    arguments = {"origin": 0.1, "n_steps": 2000}
    params = stop * low
    got, told = replay.run(before, after, jnp.asarray(params), scale=scale, top=top, **arguments)
    want, n = walk(before, after, params, scale, length=replay.STEP / top, **arguments)
    assert int(told["iterations"]) == n or stop == 1.0  # the minimum itself is reached sooner
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    if stop == 1.0:  # a walk to the end finds both minima
        np.testing.assert_allclose(params + got, new, rtol=1e-8)


@pytest.mark.parametrize("name", ["mf", pytest.param("lightgcn", marks=pytest.mark.slow)])
def test_ifru_replays_the_loss_before_and_the_loss_after_on_its_graph(labelled, name):
    m, forget = model(name), request(labelled)
    f = stopped_early(m, labelled, forget.before)
    _, new, info = unlearn(m, f, labelled, forget, use="replay", origin=0.3, n_steps=500)
    like = jax.flatten_util.ravel_pytree(f)[1]

    def gradient(weights):
        return lambda p: flat(jax.grad(m.loss)(like(jnp.asarray(p)), labelled, weights, weights))

    counts = np.concatenate(degrees(labelled, forget.after))
    scale = np.repeat(np.sqrt(np.maximum(counts, 1)), 3)
    bend = np.asarray(gauss_newton(m, f, labelled, forget.before))
    top = power(bend / np.sqrt(np.outer(scale, scale)), np.sqrt(scale) * flat(f))
    want, n = walk(
        gradient(forget.before),
        gradient(forget.after),
        flat(f),
        scale,
        length=replay.STEP / top,
        origin=0.3,
        n_steps=500,
    )
    assert n == int(info["iterations"]) < 500 and float(info["reached"]) >= 1
    np.testing.assert_allclose(flat(new) - flat(f), want, rtol=1e-6, atol=1e-9)


def gauss_newton(m, f, train, weights):
    """``J' diag(phi'') J`` from dense Jacobians."""
    vector, like = jax.flatten_util.ravel_pytree(f)
    jacobian = jax.jacobian(lambda v: m.loss.margins(like(v), train, weights))(vector)
    likely = jax.nn.sigmoid(m.loss.margins(f, train, weights))
    return jacobian.T @ ((weights * likely * (1 - likely))[:, None] * jacobian)


def power(matrix, start):
    """The estimate of ``flow.largest_curvature``: eight steps of the power iteration."""
    x = start / np.linalg.norm(start)
    for _ in range(8):
        x = matrix @ x
        size = np.linalg.norm(x)
        x = x / size
    return size


def test_an_empty_request_moves_nothing_and_one_program_serves_many(labelled):
    m = model("lightgcn")
    ask = [request(labelled, rows) for rows in ((), (3, 17), (5,))]
    f = stopped_early(m, labelled, ask[0].before)
    method = methods.load("replay")(m)

    def run(forget):
        return method.unlearn(jax.random.key(0), f, labelled, forget)[0]

    one = jax.jit(run)
    each = [one(forget) for forget in ask]
    mapped = jax.lax.map(run, jax.tree.map(lambda *x: jnp.stack(x), *ask))
    assert np.array_equal(flat(each[0]), flat(f))
    for k, alone in enumerate(each):
        np.testing.assert_allclose(flat(jax.tree.map(lambda x, k=k: x[k], mapped)), flat(alone))
    assert one._cache_size() == 1


def test_restricted_to_some_rows_only_those_move(labelled):
    m, forget = model(), request(labelled)
    f = stopped_early(m, labelled, forget.before)
    _, new, _ = unlearn(m, f, labelled, forget, use="replay", hops=0)
    found = importance.reach(labelled, forget, hops=0)
    for old, now, asked in zip(f, new, (found.requested_users, found.requested_items)):
        moved = np.any(np.asarray(old) != np.asarray(now), axis=1)
        assert np.array_equal(moved, np.asarray(asked))


def test_it_is_nearer_to_training_without_the_rows_than_doing_nothing(labelled):
    m, forget = model(), request(labelled)
    trained = [stopped_early(m, labelled, weights) for weights in forget]  # from one start
    _, new, _ = unlearn(m, trained[0], labelled, forget, use="replay")

    def scores(f: Factors):
        return np.asarray(f.users @ f.items.T)

    off = [np.linalg.norm(scores(f) - scores(trained[1])) for f in (trained[0], new)]
    assert off[1] < 0.5 * off[0]


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"origin": 0.0}, {"origin": 1.0}, {"spillover": "truncated"}, {"n_steps": 0}):
        with pytest.raises(ValueError, match="replay:"):
            unlearn(model(), None, None, None, use="replay", **wrong)
