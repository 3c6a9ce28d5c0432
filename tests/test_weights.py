"""Weights are refused on the host wherever a caller hands them over; a trace knows their shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget import als, methods, metrics, models
from jaxforget.als import certificate
from jaxforget.gradient import descent, graph, losses
from jaxforget.gradient.influence import damping, importance, single
from jaxforget.metrics import canaries, distance, hardness, labels, ranking, stable
from jaxforget.prepare import forget, interop
from jaxforget.sparse import degrees, layout
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


# ---- masks and integers say 1 and 0 too, and are read as such by all that takes weights

KEY, REG = jax.random.key(0), {"reg": 20.5}  # a ridge that no integer is
LOSS = losses.build("bce", reg=0.3, n_layers=1)
PAIR = Factors(jnp.full((3, 2), 0.5), jnp.linspace(0.1, 0.8, 8).reshape(4, 2))
SMALL = {"dim": 2, "init_scale": 0.1, "reg": 0.3, "n_epochs": 2}
PROOF = {"proof": "cholesky", "steps": 2, "width": 2, "deflate": 1}


def fitted(name, **settings):
    def of(weights):
        model = models.load(name)(**settings)
        params, info = model.fit(KEY, TRAIN, weights)
        return params, info, model.factors(params, TRAIN, weights)

    return of


def left_by(name, model=MODEL, **settings):
    def of(weights):
        method = methods.load(name)(model, **settings)
        state, _ = method.fit(KEY, TRAIN, jnp.ones(N))
        return method.unlearn(KEY, state, TRAIN, ForgetSet(jnp.ones(N), weights))

    return of


MF = models.load("mf")(**SMALL, lr=0.1, batch_size=2)
READ = {
    "als.implicit": lambda w: als.implicit(TRAIN, w, **REG, alpha=2.0, nu=0.0),
    "als.implicit, counted": lambda w: als.implicit(TRAIN, w, **REG, alpha=2.0, nu=0.5),
    "als.explicit": lambda w: als.explicit(TRAIN, w, **REG, nu=0.0),
    "als.explicit, counted": lambda w: als.explicit(TRAIN, w, **REG, nu=1.0),
    "als.objective": lambda w: als.objective(PAIR, TRAIN, w, **REG, alpha=2.0),
    "als.residual": lambda w: als.residual(PAIR, TRAIN, w, **REG, alpha=2.0),
    "als.run": lambda w: als.run(PAIR, TRAIN, w, n_sweeps=2, **REG, alpha=2.0),
    "als.sweep": lambda w: als.sweep(PAIR, TRAIN, w, **REG, alpha=2.0),
    "bm25": lambda w: als.confidence.bm25(TRAIN, w, b=0.5, k1=1.2),
    "duality_gap": lambda w: certificate.duality_gap(
        PAIR, TRAIN, w, key=KEY, **REG, alpha=2.0, **PROOF
    ),
    "hash_data": lambda w: certificate.digests.hash_data(TRAIN, w),
    "degrees": lambda w: degrees.degrees(TRAIN, w),
    "clear_emptied": lambda w: degrees.clear_emptied(PAIR, TRAIN, ForgetSet(jnp.ones(N), w)),
    "loss": lambda w: LOSS(PAIR, TRAIN, w, w),
    "ridges": lambda w: LOSS.ridges(TRAIN, w),
    "ridges, counted": lambda w: losses.build("bpr", reg=0.3, n_layers=0, nu=1.0).ridges(TRAIN, w),
    "minibatch": lambda w: descent.minibatch(
        KEY, LOSS, PAIR, TRAIN, w, lr=0.1, batch_size=2, n_epochs=2
    ),
    "shuffled": lambda w: descent.shuffled(KEY, TRAIN, w),
    "propagate": lambda w: graph.propagate(PAIR, TRAIN, w, n_layers=1),
    "links": lambda w: graph.links(TRAIN, w).values,
    "degree_scale": lambda w: damping.degree_scale(TRAIN, w, power=0.5),
    "predicted_change": lambda w: single.predicted_change(MF, PAIR, TRAIN, w),
    "once": lambda w: importance.once(TRAIN, w),
    "reach": lambda w: importance.reach(TRAIN, ForgetSet(jnp.ones(N), w), hops=1),
    "evaluate": lambda w: metrics.evaluate(PAIR, SPLIT, ForgetSet(jnp.ones(N), w), ks=(1,)),
    "distance_on": lambda w: distance.distance_on(PAIR, SERVED, TRAIN, w),
    "hide": lambda w: ranking.hide([(TRAIN, w)], jnp.arange(3, dtype=jnp.int32), 4),
    "remembered": lambda w: labels.remembered(HELD_OUT, TRAIN, w),
    "touched": lambda w: labels.touched(TRAIN, ForgetSet(jnp.ones(N), w)),
    "entanglement": lambda w: hardness.entanglement(PAIR, TRAIN, w),
    "stable_items": lambda w: stable.stable_items(PAIR, TRAIN, w, jnp.asarray(0.1), k=1),
    "rank_exposure": lambda w: canaries.rank_exposure(
        PAIR, TRAIN.users[1:2], TRAIN.items[1:2], jnp.ones(4, bool), TRAIN, w
    ),
    "random": lambda w: forget.random(KEY, TRAIN, 0.5, before=w),
    "active": lambda w: forget.active(KEY, TRAIN, count=1, before=w),
    "ials": fitted("ials", dim=2, **REG, alpha=2.0, max_sweeps=2),
    "ials, bm25": fitted("ials", dim=2, **REG, alpha=2.0, max_sweeps=2, nu=0.5, weighting="bm25"),
    "explicit_als": fitted("explicit_als", dim=2, reg=0.5, max_sweeps=2),
    "ease": fitted("ease", reg=0.5),
    "mf": fitted("mf", **SMALL, lr=0.1, batch_size=2),
    "lightgcn": fitted("lightgcn", **SMALL, optimiser="lbfgs"),
    "unlearn_als": left_by("unlearn_als", max_sweeps=2),
    "local_als": left_by("local_als"),
    "newton": left_by("newton", MF, damping=1.0, n_steps=2),
    "retrain": left_by("retrain", MF),
}


@pytest.mark.parametrize("name", READ)
def test_a_mask_and_integers_weigh_as_the_numbers_do(name):
    kept = np.array([1, 0, 1, 1, 1])
    want = READ[name](jnp.asarray(kept, TRAIN.values.dtype))
    for dtype in (bool, np.int32, np.uint8, jnp.bfloat16):
        got = READ[name](jnp.asarray(kept).astype(dtype))
        assert jax.tree.structure(got) == jax.tree.structure(want), dtype
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
            assert a == b if isinstance(a, str) else a.shape == b.shape, dtype
            if not isinstance(a, str):
                same = np.array_equal(np.float64(a), np.float64(b), equal_nan=True)
                assert same, f"{dtype}: {a} instead of {b}"


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, jnp.bfloat16, np.float16])
def test_counts_do_not_wrap_or_stop_where_weights_are_narrow(dtype):
    n = 300
    users, items = np.repeat([0, 1], [n, 5]), np.r_[np.arange(n), np.arange(5)]
    train = layout.build(users, items, np.ones(n + 5, np.float32))
    ones = jnp.ones(n + 5, dtype)
    assert degrees.degrees(train, ones)[0].tolist() == [300, 5]
    ridges = als.explicit(train, ones, reg=0.5, nu=1.0).ridge_users
    assert ridges.tolist() == [150, 2.5]
