"""What a value means: negative, zero, fractional and repeated ones, as ``implicit`` reads them."""

import dataclasses

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from jaxforget import als
from jaxforget.als import certificate
from jaxforget.sparse import layout
from jaxforget.types import Factors
from tests import oracles

REG, ALPHA, U, I, D = 0.7, 1.5, 4, 5, 2
CELLS = np.array([(u, i) for u in range(U) for i in range(I)])
EVERY = layout.build(*CELLS.T, np.ones(len(CELLS)), n_users=U, n_items=I)
START = Factors(*(np.random.default_rng(n).normal(size=(n, D)) for n in (U, I)))

strength = st.sampled_from([-3.0, -1.0, -0.25, 0.25, 1.0, 2.0])


def terms(values, weights):
    train = dataclasses.replace(EVERY, values=jnp.asarray(values, float))
    return als.implicit(train, jnp.asarray(weights, float), reg=REG, alpha=ALPHA)


@jax.jit
def fast(values, weights):
    stated = terms(values, weights)
    users = als.half_sweep(jnp.asarray(START.items), EVERY, stated, by="user")
    return users, als.cost(START, EVERY, stated)


def dense(values, weights):
    """Confidence and preference of every cell."""
    table, seen = (np.reshape(x, (U, I)) for x in (values, weights))
    confidence = np.where(seen > 0, np.abs(ALPHA * table), 1.0)
    return confidence, ((table > 0) & (seen > 0)).astype(float)


@given(
    st.lists(strength, min_size=U * I, max_size=U * I),
    st.lists(st.sampled_from([0.0, 1.0]), min_size=U * I, max_size=U * I),
)
def test_rows_and_objective_equal_the_dense_ones_whatever_the_signs(values, weights):
    users, cost = fast(np.array(values), np.array(weights))
    confidence, preference = dense(values, weights)
    for user in range(U):
        want = oracles.implicit_row(START.items, confidence[user], preference[user], REG)
        np.testing.assert_allclose(users[user], want, rtol=1e-8, atol=1e-10)
    want = oracles.implicit_objective(*START, confidence, preference, REG)
    np.testing.assert_allclose(cost, want, rtol=1e-10)
    assert cost >= 0  # a sum of squares


@pytest.mark.parametrize("values", [[-2.0, 3.0, 1.0], [-1.0, -1.0, -5.0], [0.5, 4.0, -0.1]])
def test_rows_of_negative_values_equal_those_of_implicit(values):
    solver = pytest.importorskip("implicit.cpu._als")
    import scipy.sparse

    train = layout.build([0, 0, 1], [0, 2, 1], values, n_users=U, n_items=I)
    stated = als.implicit(train, jnp.ones(3), reg=REG, alpha=ALPHA)
    got = als.half_sweep(jnp.asarray(START.items), train, stated, by="user")
    matrix = scipy.sparse.csr_matrix(
        (np.float32(ALPHA) * np.float32(values), ([0, 0, 1], [0, 2, 1])), shape=(U, I)
    )
    rows, fixed = (np.zeros((U, D), np.float32), START.items.astype(np.float32))
    solver._least_squares(
        fixed.T @ fixed, matrix.indptr, matrix.indices, matrix.data, rows, fixed, REG, 1
    )
    np.testing.assert_allclose(got, rows, rtol=2e-5, atol=2e-6)


def test_a_pair_in_three_rows_is_one_pair_of_their_sum():
    ids = ([0, 0, 0, 1], [2, 2, 2, 1])
    train = layout.build(*ids, [1.0, 2.0, 3.0, 1.0], n_users=U, n_items=I, repeats="sum")
    stated = als.implicit(train, jnp.ones(2), reg=REG, alpha=ALPHA)
    users = als.half_sweep(jnp.asarray(START.items), train, stated, by="user")
    confidence = np.ones(I)
    confidence[2] = ALPHA * 6
    want = oracles.implicit_row(START.items, confidence, (np.arange(I) == 2) * 1.0, REG)
    np.testing.assert_allclose(users[0], want, rtol=1e-9)


@pytest.mark.parametrize(("weights", "proved"), [([1, 1, 1], False), ([1, 0, 1], False),
                                                 ([1, 0, 0], True), ([0, 1, 0], True)])  # fmt: skip
def test_nothing_is_certified_where_a_pair_is_remembered_twice(weights, proved):
    once = layout.build([0, 1, 2], [0, 1, 2], np.full(3, 3.0), n_users=3, n_items=3)
    thrice = dataclasses.replace(once, users=jnp.zeros(3, int), items=jnp.zeros(3, int))
    thrice = dataclasses.replace(
        thrice,
        by_user=dataclasses.replace(
            once.by_user, indptr=jnp.array([0, 3, 3, 3], jnp.int32), indices=thrice.items
        ),
        by_item=dataclasses.replace(
            once.by_item, indptr=jnp.array([0, 3, 3, 3], jnp.int32), indices=thrice.users
        ),
    )
    stated = als.implicit(thrice, jnp.asarray(weights, float), reg=9.0, alpha=1.0)
    zero = Factors(jnp.zeros((3, 1)), jnp.zeros((3, 1)))
    found = certificate.certify(zero, thrice, stated, key=jax.random.key(0))
    assert bool(jnp.isfinite(found.bound)) == proved
    assert not found.relative_bound <= 0.1 or proved


def test_factors_that_are_not_finite_are_certified_by_nothing():
    stated = terms(np.full(U * I, 3.0), np.ones(U * I))
    for bad in (np.nan, np.inf):
        broken = Factors(*(jnp.asarray(x) for x in START))
        broken = broken._replace(users=broken.users.at[0, 0].set(bad))
        found = certificate.certify(broken, EVERY, stated, key=jax.random.key(0))
        assert not found.relative_bound <= 1e9
