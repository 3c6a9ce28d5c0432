"""What a value means to alternating least squares: positive, 0 and negative."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxforget import als
from jaxforget.als import confidence
from jaxforget.models import explicit_als, ials
from jaxforget.sparse import layout
from jaxforget.types import Factors

U, I, D, REG, ALPHA = 9, 7, 3, 0.7, 2.0
CELLS = np.array([(u, i) for u in range(U) for i in range(I) if (2 * u + 3 * i) % 5 < 2])
N = len(CELLS)
# strengths of every sign and size; none so small that dividing by a Gram would magnify rounding
VALUES = arrays(float, N, elements=st.sampled_from([-40.0, -2.0, -0.5, -0.1, 0.0, 0.1, 0.5, 3.0]))
WEIGHTS = arrays(float, N, elements=st.sampled_from([0.0, 1.0]))


def interactions(values, dtype=np.float64):
    return layout.build(*CELLS.T, np.asarray(values, dtype), n_users=U, n_items=I)


def dense(values, weights):
    """Confidence and preference of every cell, by the words of ``docs/models.md``."""
    c, p = np.ones((U, I)), np.zeros((U, I))
    for (u, i), value, weight in zip(CELLS, values, weights):
        if weight:
            c[u, i], p[u, i] = abs(ALPHA * value), value > 0
    return c, p


@given(VALUES, WEIGHTS)
def test_rows_and_objective_equal_dense_ones_for_values_of_every_sign(values, weights):
    train, weighted = interactions(values), jnp.asarray(weights)
    f = oracles.factors(train, D)
    c, p = dense(values, weights)
    users, items = oracles.implicit_sweep(*map(np.asarray, f), c, p, REG)
    got = als.sweep(f, train, weighted, reg=REG, alpha=ALPHA)
    np.testing.assert_allclose(got.users, users, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(got.items, items, rtol=1e-6, atol=1e-7)
    want = oracles.implicit_objective(*f, c, p, REG)
    cost = als.objective(f, train, weighted, reg=REG, alpha=ALPHA)
    np.testing.assert_allclose(cost, want, rtol=1e-10)
    assert cost >= 0


def test_rows_equal_those_of_the_exact_solver_of_implicit():
    solver = pytest.importorskip("implicit.cpu._als")
    import scipy.sparse

    values = np.random.default_rng(0).choice([-3.0, -0.2, 0.0, 0.4, 2.0], N).astype(np.float32)
    train = interactions(values, np.float32)
    f = Factors(*(x.astype(jnp.float32) for x in oracles.factors(train, D)))
    stored = (ALPHA * values, tuple(CELLS.T))  # a value of 0 stays a stored cell
    matrix = scipy.sparse.coo_matrix(stored, shape=(U, I)).tocsr()
    assert matrix.nnz == N and (matrix.data == 0).any() and (matrix.data < 0).any()
    users, items = (np.array(x) for x in f)
    solver._least_squares(
        items.T @ items,
        matrix.indptr,
        matrix.indices,
        matrix.data.astype(np.float32),
        users,
        items,
        REG,
        1,
    )
    ones = jnp.ones(N, jnp.float32)
    got = als.solve_rows(f.items, train, ones, by="user", reg=REG, alpha=ALPHA)
    np.testing.assert_allclose(got, users, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("solver", ["als", "proximal"])
def test_a_fit_on_negative_values_is_finite_and_scores_them_lower(solver):
    values = np.where(np.arange(N) % 3 == 0, -3.0, 3.0)
    model = ials.build(dim=5, reg=0.1, alpha=ALPHA, max_sweeps=40, solver=solver)
    f, info = jax.jit(model.fit)(jax.random.key(0), interactions(values), jnp.ones(N))
    scores = np.asarray(f.users @ f.items.T)[tuple(CELLS.T)]
    assert np.isfinite(scores).all() and info["objective"] > 0
    assert scores[values < 0].max() < scores[values > 0].min()


def test_explicit_values_of_zero_and_below_are_fitted_like_any_other():
    values = np.random.default_rng(0).normal(size=N)
    values[::4] = 0
    model = explicit_als.build(dim=I, reg=1e-9, nu=0.0, max_sweeps=30)
    f, _ = jax.jit(model.fit)(jax.random.key(0), interactions(values), jnp.ones(N))
    scores = np.asarray(f.users @ f.items.T)[tuple(CELLS.T)]
    np.testing.assert_allclose(scores, values, atol=1e-4)


def test_bm25_refuses_negative_values():
    train = interactions(np.where(np.arange(N) == 3, -1.0, 1.0))
    with pytest.raises(ValueError, match=r"bm25: smallest_value must be 0 or more; got .*-1"):
        confidence.bm25(train, jnp.ones(N), b=0.9, k1=100.0)
    model = ials.build(dim=2, reg=1.0, alpha=1.0, weighting="bm25")
    with pytest.raises(ValueError, match="bm25"):
        model.prepare(train)
    positive = dataclasses.replace(train, values=jnp.abs(train.values))
    assert model.prepare(positive) is positive


GOOD = {"dim": 2, "reg": 1.0, "alpha": 1.0}


@pytest.mark.parametrize(
    "settings",
    [
        {"dim": 0},
        {"dim": 2.5},
        {"reg": 0.0},
        {"reg": float("nan")},
        {"alpha": -1.0},
        {"alpha": "1"},
        {"nu": float("inf")},
        {"nu": 1.0, "unobserved": -0.1},
        {"weighting": "BM25"},
        {"weighting": "bm25", "bm25_b": 1.5},
        {"weighting": "bm25", "bm25_k1": 0.0},
        {"max_sweeps": -1},
        {"max_sweeps": 0},
        {"tol": -1e-3},
        {"cg_steps": -1},
        {"init_scale": 0.0},
        {"solver": "bogus"},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    name = list(settings)[-1]
    with pytest.raises(ValueError, match=f"ials: {name} must be"):
        ials.build(**GOOD | settings)
    if name in ("dim", "reg", "max_sweeps", "tol", "cg_steps", "init_scale"):
        with pytest.raises(ValueError, match=f"explicit_als: {name} must be"):
            explicit_als.build(**{"dim": 2, "reg": 1.0} | settings)


def test_a_pair_in_three_rows_is_one_pair_of_their_sum():
    ids = ([0, 0, 0, 1], [2, 2, 2, 1])
    train = layout.build(*ids, [1.0, 2.0, 3.0, 1.0], n_users=U, n_items=I, repeats="sum")
    fixed = oracles.factors(train, D).items
    users = als.solve_rows(fixed, train, jnp.ones(2), by="user", reg=REG, alpha=ALPHA)
    c, p = np.ones(I), (np.arange(I) == 2) * 1.0
    c[2] = ALPHA * 6
    np.testing.assert_allclose(
        users[0], oracles.implicit_row(np.asarray(fixed), c, p, REG), rtol=1e-9
    )


@pytest.mark.parametrize("b", [0.0, 0.9, 1.0])
def test_bm25_of_an_item_whose_values_are_all_zero_is_zero(b):
    """With b = 1 it was 0 / 0, and so was every row of the model."""
    values = [1.0, 0.0, 2.0, 3.0, 1.0]
    train = layout.build([0, 0, 1, 1, 2], [0, 1, 0, 2, 0], values, n_users=3, n_items=4)

    def weighted(given, weights):
        return confidence.bm25(dataclasses.replace(train, values=given), weights, b=b, k1=1.2)

    for weights in (jnp.ones(5), jnp.ones(5).at[3].set(0), jnp.zeros(5)):
        got = np.asarray(weighted(train.values, weights))
        assert np.isfinite(got).all() and got[1] == 0 and np.all(got[[0, 2, 3, 4]] > 0)
        slopes = jax.grad(lambda *x: weighted(*x).sum(), argnums=(0, 1))(train.values, weights)
        assert all(np.isfinite(slope).all() for slope in slopes)
    model = ials.build(dim=2, reg=1.0, alpha=1.0, weighting="bm25", bm25_b=b, bm25_k1=1.2)
    factors, info = model.fit(jax.random.key(0), train, jnp.ones(5))
    assert all(np.isfinite(x).all() for x in (*factors, info["objective"]))
