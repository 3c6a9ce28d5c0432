"""Distributions over models: equal ones cannot be told apart, shifted ones can."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import tally

from jaxforget import methods
from jaxforget.metrics import ensembles
from jaxforget.types import ForgetSet, Method


def drawn(seed, shift=0.0, shape=(200, 6)):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) + shift)


def test_klom_is_the_divergence_of_two_histograms():
    left, right = jnp.array([[0.0], [0.1], [1.0], [1.0]]), jnp.array([[0.0], [1.0], [1.0], [1.0]])
    e = ensembles.SMALLEST
    p, q = (np.array([a + e, b + e]) / (1 + 2 * e) for a, b in ((0.5, 0.5), (0.25, 0.75)))
    got = ensembles.klom(left, right, n_bins=2)
    np.testing.assert_allclose(got, [np.sum(p * np.log(p / q))], rtol=1e-10)
    assert ensembles.klom(jnp.ones((3, 2)), jnp.ones((3, 2))).tolist() == [0, 0]


def test_klom_of_a_shift_stands_out_of_its_floor():
    floor = ensembles.klom(drawn(0), drawn(1))
    assert (ensembles.klom(drawn(0), drawn(1, shift=2.0)) > 3 * floor.max()).all()


@pytest.mark.parametrize(
    "shift, low, high", [(0.0, 0.47, 0.53), (1.0, 0.7, 0.8), (9.0, 0.999, 1.0)]
)
def test_membership_is_a_coin_for_equal_distributions_and_the_normal_auc_for_shifted(
    shift, low, high
):
    # the AUC of two unit normals at distance 1 is Phi(1 / sqrt 2) = 0.760
    assert low <= float(ensembles.membership(drawn(0), drawn(1, shift))) <= high


def test_too_few_models_are_refused():
    with pytest.raises(ValueError, match="at least 4"):
        ensembles.membership(drawn(0, shape=(3, 2)), drawn(1, shape=(3, 2)))


def test_an_ensemble_tells_retraining_from_doing_nothing(toy):
    model = tally()
    nothing = Method(model.fit, lambda key, state, train, forget: (state, {}), model.factors)
    ones = jnp.ones_like(toy.values)
    forget = ForgetSet(ones, ones.at[:20].set(0))
    attacked = {}
    for name, method in (("nothing", nothing), ("retrain", methods.load("retrain")(model))):
        run = jax.jit(lambda key, t, f, m=method: ensembles.ensemble(key, m, t, f, n_models=40))
        retrained, unlearnt = run(jax.random.key(0), toy, forget)
        assert retrained.shape == unlearnt.shape == (40, 60)
        attacked[name] = float(ensembles.membership(retrained[:, :20], unlearnt[:, :20]))
    assert attacked["nothing"] > 0.95 and abs(attacked["retrain"] - 0.5) < 0.06


@pytest.mark.parametrize("n", [10, 30, 100])
def test_the_gaussian_estimate_has_the_bias_that_its_docstring_states(n):
    a, b = drawn(0, shape=(n, 20_000)), drawn(1, shape=(n, 20_000))
    want = (2 * n - 1) / (n * (n - 3))
    np.testing.assert_allclose(np.mean(ensembles.gaussian_klom(a, b)), want, rtol=0.05)


@pytest.mark.parametrize("mean, scale", [(0.5, 1.0), (0.0, 2.0), (1.0, 0.5)])
def test_both_estimates_come_near_the_known_divergence_of_two_normals(mean, scale):
    """KL(N(0, 1) || N(m, s^2)) = log s + (1 + m^2) / (2 s^2) - 1/2."""
    a, b = drawn(0, shape=(4_000, 30)), mean + scale * drawn(1, shape=(4_000, 30))
    want = np.log(scale) + (1 + mean**2) / (2 * scale**2) - 0.5
    np.testing.assert_allclose(np.mean(ensembles.gaussian_klom(a, b)), want, rtol=0.05)
    np.testing.assert_allclose(np.mean(ensembles.klom(a, b)), want, rtol=0.3)


def test_the_binned_estimate_is_far_from_nought_for_few_equal_models():
    """What the floor is for: 20 bins of N models each, most of them empty."""
    found = [
        float(np.mean(ensembles.klom(drawn(0, shape=(n, 2_000)), drawn(1, shape=(n, 2_000)))))
        for n in (10, 30, 100, 300)
    ]
    np.testing.assert_allclose(found, [5.6, 1.8, 0.34, 0.09], rtol=0.15)


def test_spreads_of_nought_and_scores_that_are_not_finite():
    a = drawn(0, shape=(5, 4)).at[:, 0].set(1.0).at[:, 1].set(1.0).at[0, 3].set(jnp.nan)
    b = drawn(1, shape=(5, 4)).at[:, 0].set(1.0)
    found = ensembles.gaussian_klom(a, b)
    assert found[0] == 0 and np.isinf(found[1]) and np.isfinite(found[2]) and np.isnan(found[3])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("n", "m"), [(7, 10), (3, 5), (5, 5)])
def test_models_that_all_score_one_number_do_not_seem_to_vary(dtype, compiled, n, m):
    """The mean of so many numbers 0.1 is not quite 0.1: their spread was a rounding error."""
    measure = jax.jit(ensembles.gaussian_klom) if compiled else ensembles.gaussian_klom
    ones, noise = jnp.ones((1, 3), dtype), drawn(0, shape=(max(n, m), 1)).astype(dtype)
    flat = jnp.array([[0.1, 0.1, 1e-8]], dtype)  # as numbers of the pairs: equal, others, small
    retrained = jnp.broadcast_to(flat, (n, 3))
    unlearnt = jnp.broadcast_to(flat + jnp.array([[0.0, 0.1, 0.0]], dtype), (m, 3))
    assert measure(retrained, unlearnt).tolist() == [0, jnp.inf, 0]
    assert jnp.isinf(measure(retrained, noise[:m] * ones)).all()
    assert jnp.isinf(measure(noise[:n] * ones, unlearnt)).all()
    assert jnp.isfinite(measure(noise[:n] * ones, noise[:m] * ones + 1)).all()
    tiny = noise[:n] * ones * 1e-30 if dtype == jnp.float32 else noise[:n] * ones * 1e-170
    assert not jnp.isfinite(measure(tiny, tiny)).any()  # no variance is left to divide by
