"""Weights are refused on the host wherever a caller hands them over; a trace knows their shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget import methods, metrics, models
from jaxforget.metrics import ranking
from jaxforget.prepare import forget, interop
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet, Split

N = 5
TRAIN = layout.build([0, 0, 1, 2, 2], [0, 1, 1, 2, 0], [1.0, 0.0, 1.0, 1.0, 1.0], n_items=4)
HELD_OUT = layout.build([0, 1], [2, 3], [1.0, 1.0], n_users=3, n_items=4)
SPLIT = Split(TRAIN, HELD_OUT, HELD_OUT)
SERVED = Factors(jnp.ones((3, 1)), jnp.arange(4.0)[:, None])
ONES = np.ones(N)


def but(value, row=1):
    """Ones, but for one row."""
    return np.where(np.arange(N) == row, value, 1.0)


BAD = [
    (but(1.5), r"weights must lie in \[0, 1\]; got 1\.5 at position 1: 1 learns, 0 does not"),
    (but(-0.1), r"weights must lie in \[0, 1\]; got -0\.1 at position 1"),
    (but(np.nan), r"weights must lie in \[0, 1\]; got nan at position 1"),
    (but(np.inf), r"weights must lie in \[0, 1\]; got inf at position 1"),
    (np.ones(N + 1), r"must be \[5\], one weight per interaction; got \(6,\)"),
    (np.ones((N, 1)), r"must be \[5\], one weight per interaction; got \(5, 1\)"),
]
REQUESTS = [(ForgetSet(ONES, bad), f"after:? {words}") for bad, words in BAD]
REQUESTS += [(ForgetSet(bad, ONES), f"before:? {words}") for bad, words in BAD]
REQUESTS += [
    (
        ForgetSet(but(0.0), ONES),
        r"after must be at most before; got 1\.0 after 0\.0 at position 1: what was not learnt",
    )
]
DOORS = {
    "random": lambda before: forget.random(jax.random.key(0), TRAIN, 0.5, before=before),
    "users": lambda before: forget.users(jax.random.key(0), TRAIN, 0.5, before=before),
    "items": lambda before: forget.items(jax.random.key(0), TRAIN, 0.5, before=before),
    "active": lambda before: forget.active(jax.random.key(0), TRAIN, count=1, before=before),
    "inactive": lambda before: forget.inactive(jax.random.key(0), TRAIN, count=1, before=before),
    "popular": lambda before: forget.popular(jax.random.key(0), TRAIN, count=1, before=before),
    "flipped": lambda before: forget.flipped(jax.random.key(0), TRAIN, 0.5, before=before),
    "pairs": lambda before: forget.pairs(TRAIN, [0], [1], before=before),
    "model.fit": lambda weights: MODEL.fit(jax.random.key(0), TRAIN, weights),
    "method.fit": lambda weights: METHOD.fit(jax.random.key(0), TRAIN, weights),
}
MODEL = models.load("ials")(dim=1, reg=1.0, alpha=1.0, max_sweeps=1)
METHOD = methods.load("unlearn_als")(MODEL, max_sweeps=1)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("bad, words", BAD)
def test_weights_that_are_none_are_refused(door, bad, words):
    with pytest.raises(ValueError, match=words):
        DOORS[door](bad)


@pytest.mark.parametrize("asked, words", REQUESTS)
def test_a_request_whose_weights_are_none_is_neither_unlearnt_nor_measured(asked, words):
    with pytest.raises(ValueError, match=f"evaluate: {words}"):
        metrics.evaluate(SERVED, SPLIT, asked)
    with pytest.raises(ValueError, match=f"unlearn_als: {words}"):
        METHOD.unlearn(jax.random.key(0), SERVED, TRAIN, asked)


@pytest.mark.parametrize("name", ["retrain", "sisa", "ifru", "finetune"])
def test_every_method_and_its_model_refuse_alike(name):
    model = models.load("mf")(dim=1, lr=0.1, init_scale=0.1, n_epochs=1)
    more = {"sisa": {"n_shards": 2}, "finetune": {"lr": 0.1, "n_steps": 1}}.get(name, {})
    method = methods.load(name)(model, **more)
    with pytest.raises(ValueError, match=f"{name}: after must be at most before"):
        method.unlearn(jax.random.key(0), None, TRAIN, ForgetSet(but(0.0), ONES))
    with pytest.raises(ValueError, match=r": weights: weights must lie in .* got nan"):
        method.fit(jax.random.key(0), TRAIN, but(np.nan))
    with pytest.raises(ValueError, match="mf: weights must be"):
        model.fit(jax.random.key(0), TRAIN, np.ones(3))


def test_under_a_trace_the_shape_alone_is_checked():
    measure = jax.jit(lambda before: metrics.evaluate(SERVED, SPLIT, ForgetSet(before, ONES)))
    assert "distance" not in measure(jnp.asarray(but(7.0)))  # undefined, but no error
    with pytest.raises(ValueError, match=r"evaluate: before must be \[5\]"):
        measure(jnp.ones(4))
    unlearn = jax.jit(METHOD.unlearn)
    unlearn(jax.random.key(0), SERVED, TRAIN, ForgetSet(jnp.asarray(but(0.0)), jnp.ones(N)))
    with pytest.raises(ValueError, match=r"unlearn_als: after must be \[5\]"):
        unlearn(jax.random.key(0), SERVED, TRAIN, ForgetSet(jnp.ones(N), jnp.ones(6)))


@pytest.mark.parametrize("write", [interop.to_frame, interop.to_scipy])
@pytest.mark.parametrize("bad, words", BAD)
def test_weights_of_rows_to_write_are_refused_alike(write, bad, words):
    with pytest.raises(ValueError, match=f"weights:? {words}"):
        write(TRAIN, weights=bad)


def test_numpy_arrays_are_measured_like_those_of_jax():
    asked = ForgetSet(ONES, but(0.0))
    want = metrics.evaluate(SERVED, SPLIT, ForgetSet(*map(jnp.asarray, asked)), ks=(2,))
    found = metrics.evaluate(Factors(*map(np.asarray, SERVED)), SPLIT, asked, ks=(2,))
    assert found.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_lists_longer_than_the_catalogue_are_the_whole_of_it():
    """Four items; user 0 may be shown 2 and 3, user 1 all but 1, and each finds one item."""
    asked = ForgetSet(jnp.ones(N), jnp.ones(N))
    split = Split(TRAIN, layout.build([], [], [], n_users=3, n_items=4), HELD_OUT)
    found = metrics.evaluate(SERVED, split, asked, ks=(4, 9), reference=SERVED)
    gain = (1 / np.log2(3) + 1) / 2  # item 2 stands second for user 0, item 3 first for user 1
    for name, want in {
        "recall": 1.0,
        "hit": 1.0,
        "mrr": 0.75,
        "ndcg": gain,
        "overlap": 1.0,
    }.items():
        np.testing.assert_allclose([found[f"{name}@4"], found[f"{name}@9"]], want, rtol=1e-12)
    np.testing.assert_allclose(found["precision@4"], 1 / 4)  # by the places asked for,
    np.testing.assert_allclose(found["precision@9"], 1 / 9)  # also those no item can fill
    everyone, worst = jnp.ones(3, bool), jnp.asarray(0, jnp.int32)
    shown = ranking.exposure(SERVED, worst, everyone, [(TRAIN, jnp.ones(N))], ks=(1, 9))
    assert float(shown[1]) == 0.0 and float(shown[9]) == 1.0  # the last of all, to those without it
    with pytest.raises(ValueError, match="must be an integer, 1 or more; got 0"):
        metrics.evaluate(SERVED, split, asked, ks=(0,))
