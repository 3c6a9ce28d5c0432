"""Proximal steps reach the one optimum at the promised rate, from anywhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_certificate import CELLS, D, I, U, draw, factorise, optimum, truth

from jaxforget import als
from jaxforget.als import certificate, proximal
from jaxforget.models import ials
from jaxforget.sparse import layout
from jaxforget.types import Factors


def zero(dim=D):
    return Factors(jnp.zeros((U, dim)), jnp.zeros((I, dim)))


@functools.partial(jax.jit, static_argnames=("steps", "dim"))
def solve(factors, train, terms, *, steps, dim=I, seed=0):
    point = proximal.spectral(jax.random.key(seed), factors, terms, width=I)
    state = proximal.start(point, train, terms)
    state = proximal.descend(state, train, terms, dim=dim, max_steps=steps, tol=0.0)
    return proximal.serve(state.now, terms, dim=dim), state


def distance(factors, best):
    return np.linalg.norm(np.asarray(factors.users @ factors.items.T) - best)


@pytest.mark.parametrize("seed", range(6))
def test_steps_reach_the_dense_optimum_from_zero_and_from_noise(seed):
    train, weights, reg = draw(seed, low=0.5 if seed % 2 else 1.0)
    terms = als.implicit(train, weights, reg=reg, alpha=1.0)
    best = truth(train, weights, reg)
    rng = np.random.default_rng(seed)
    noise = Factors(jnp.asarray(rng.normal(size=(U, D))), jnp.asarray(rng.normal(size=(I, D))))
    for start in (zero(), noise):
        factors, state = solve(start, train, terms, steps=150)
        assert distance(factors, best) < 1e-8 * np.linalg.norm(best)
        assert state.spilled < 1


def test_exact_plain_steps_contract_at_the_promised_rate():
    # a block as wide as the matrix makes every singular vector exact
    train = layout.build(*CELLS.T, np.full(len(CELLS), 3.0), n_users=U, n_items=I)
    terms = als.implicit(train, jnp.ones(len(CELLS)), reg=2.0, alpha=1.0)
    best = optimum(train, jnp.ones(len(CELLS)), np.full(U, 2.0), np.full(I, 2.0))
    low, high = proximal.conditioning(terms)
    np.testing.assert_allclose(high / low, 3.0)
    state = proximal.start(
        proximal.spectral(jax.random.key(0), zero(), terms, width=I), train, terms
    )
    step, errors = jax.jit(functools.partial(proximal.step, dim=I)), []
    for _ in range(12):
        state = step(state, train, terms)
        errors.append(distance(proximal.serve(state.now, terms, dim=I), best))
    rates = np.array(errors[1:]) / np.array(errors[:-1])
    assert (rates <= (3 - 1) / (3 + 1) + 1e-9).all()


def test_momentum_beats_plain_steps_where_confidences_differ_widely():
    train = layout.build(*CELLS.T, np.full(len(CELLS), 40.0), n_users=U, n_items=I)
    terms = als.implicit(train, jnp.ones(len(CELLS)), reg=5.0, alpha=1.0)
    best = optimum(train, jnp.ones(len(CELLS)), np.full(U, 5.0), np.full(I, 5.0), n=20000)
    factors, _ = solve(zero(), train, terms, steps=120)
    assert distance(factors, best) < (39 / 41) ** 120 * np.linalg.norm(best)  # the plain bound


def test_ridges_that_depend_on_counts_reach_their_own_optimum():
    train, weights, _ = draw(2)
    terms = als.implicit(train, weights, reg=1.0, alpha=1.0, nu=0.5)
    best = optimum(train, weights, terms.ridge_users, terms.ridge_items, n=20000)
    factors, _ = solve(zero(), train, terms, steps=600)
    assert distance(factors, best) < 1e-4 * np.linalg.norm(best)


def test_a_served_rank_that_is_too_small_is_reported():
    train, weights, _ = draw(1)
    terms = als.implicit(train, weights, reg=0.5, alpha=1.0)
    factors, state = solve(zero(), train, terms, steps=60, dim=2)
    assert factors.users.shape == (U, 2)
    assert state.spilled > 1


def test_spectral_form_and_back_keeps_every_score():
    train, weights, reg = draw(3)
    terms = als.implicit(train, weights, reg=reg, alpha=1.0, nu=0.5)
    rng = np.random.default_rng(0)
    factors = Factors(jnp.asarray(rng.normal(size=(U, D))), jnp.asarray(rng.normal(size=(I, D))))
    point = proximal.spectral(jax.random.key(0), factors, terms, width=9)
    again = proximal.serve(point, terms, dim=20)
    np.testing.assert_allclose(
        again.users @ again.items.T, factors.users @ factors.items.T, atol=1e-10
    )
    for basis in (point.left, point.right):
        np.testing.assert_allclose(basis.T @ basis, np.eye(9), atol=1e-12)


def test_a_step_does_not_move_the_optimum():
    train, weights, reg = draw(4)
    terms = als.implicit(train, weights, reg=reg, alpha=1.0)
    best = truth(train, weights, reg)
    factors, state = solve(factorise(best, I), train, terms, steps=1)
    assert distance(factors, best) < 1e-9 and state.change < 1e-9
    assert certificate.certify(factors, train, terms, key=jax.random.key(0)).relative_bound < 1e-5


def test_nothing_remembered_is_the_zero_model():
    train, _, reg = draw(5)
    terms = als.implicit(train, jnp.zeros(len(CELLS)), reg=reg, alpha=1.0)
    factors, state = solve(zero(), train, terms, steps=3)
    assert not np.asarray(factors.users).any() and state.change == 0


def test_a_model_trained_by_proximal_steps_is_at_the_optimum_and_unlearns_like_any_other():
    train, weights, reg = draw(1)
    model = ials.build(dim=8, reg=reg, alpha=1.0, solver="proximal", max_sweeps=200, tol=1e-12)
    factors, info = jax.jit(model.fit)(jax.random.key(0), train, weights)
    best = truth(train, weights, reg)
    assert distance(factors, best) < 1e-8 * np.linalg.norm(best)
    assert info["residual"] < 1e-6 and info["sweeps"] < 200
    again, more = jax.jit(model.fit)(jax.random.key(1), train, weights, factors)
    assert distance(again, best) < 1e-8 * np.linalg.norm(best) and more["sweeps"] < info["sweeps"]


@pytest.mark.slow
def test_a_block_barely_wider_than_the_rank_keeps_the_promised_rate():
    cells = np.argwhere(np.random.default_rng(0).random((60, 45)) < 0.15)
    train = layout.build(*cells.T, np.full(len(cells), 3.0), n_users=60, n_items=45)
    terms = als.implicit(train, jnp.ones(len(cells)), reg=3.0, alpha=1.0)
    best = optimum(train, jnp.ones(len(cells)), np.full(60, 3.0), np.full(45, 3.0))
    width = np.linalg.matrix_rank(best, tol=1e-9) + 4
    start = Factors(jnp.zeros((60, 1)), jnp.zeros((45, 1)))
    point = proximal.spectral(jax.random.key(0), start, terms, width=width)
    state = proximal.start(point, train, terms)
    step, errors = jax.jit(functools.partial(proximal.step, dim=width)), []
    for _ in range(10):
        state = step(state, train, terms)
        errors.append(distance(proximal.serve(state.now, terms, dim=width), best))
    assert (np.array(errors[1:]) <= 0.5 * np.array(errors[:-1])).all()
