"""Hard requests: what models memorised, what is tied to the rest, people with sensitive items."""

import dataclasses

import influence_toys
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import toy_runs

from experiments import cli
from experiments.lab import hard
from jaxforget import models
from jaxforget.gradient.influence import damping, single
from jaxforget.metrics import hardness
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet

REQUEST = '\n[request]\nkind = "random"\nratio = 0.05\n'
METHODS = "\n[methods.retrain]\n\n[methods.unlearn_als]\nmax_sweeps = 2\ntol = 0.0\n"
RNG = np.random.default_rng(0)


def test_memorisation_is_the_difference_of_two_means():
    scores, held = RNG.normal(size=(9, 20)), RNG.random((9, 20)) < 0.5
    held[:, 0], held[:, 1] = True, False
    found = hardness.memorisation(jnp.asarray(scores), jnp.asarray(held))
    for pair in range(2, 20):
        some, rest = scores[held[:, pair], pair], scores[~held[:, pair], pair]
        assert float(found[pair]) == pytest.approx(some.mean() - rest.mean())
    assert np.isnan(np.asarray(found[:2])).all()
    with pytest.raises(ValueError, match="one shape"):
        hardness.memorisation(jnp.asarray(scores), jnp.asarray(held[:2]))


def test_entanglement_is_the_cosine_with_the_rest_of_the_history():
    users, items = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 1, 2, 3, 1, 4])
    rows = RNG.normal(size=(5, 3))
    rows[4] = 0
    train = layout.build(users, items, np.ones(6), n_users=3, n_items=5)
    weights = jnp.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    got = np.asarray(hardness.entanglement(Factors(rows[:3], jnp.asarray(rows)), train, weights))
    for n, (user, item) in enumerate(zip(users, items)):
        rest = [
            rows[i] * float(w) for u, i, w in zip(users, items, weights) if u == user and i != item
        ]
        total = np.sum(rest, axis=0) if rest else np.zeros(3)
        size = np.linalg.norm(total) * np.linalg.norm(rows[item])
        assert got[n] == pytest.approx(total @ rows[item] / size if size else 0.0, abs=1e-12)
    with pytest.raises(ValueError, match="one weight per interaction"):
        hardness.entanglement(Factors(rows[:3], jnp.asarray(rows)), train, weights[:2])


def test_people_are_taken_whole_until_the_share_is_reached():
    users = np.repeat(np.arange(30), 4)
    chosen = np.tile([True, True, False, False], 30)
    rows, people = hard.sensitive(users, chosen, 7, 0)
    assert people == 4 and len(rows) == 8 and chosen[rows].all()
    assert len(np.unique(users[rows])) == 4 and (np.diff(rows) > 0).all()
    assert hard.sensitive(users, chosen, 1000, 0)[1] == 30
    assert not np.array_equal(rows, hard.sensitive(users, chosen, 7, 1)[0])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.toml").write_text(toy_runs.tweets(REQUEST, METHODS))
    return tmp_path


def command(folder, *more):
    out = folder / "request.csv"
    base = ["requests", str(folder / "small.toml"), "--results", str(folder), f"--out={out}"]
    return cli.main([*base, *more]), out


def run_with(folder, out):
    """Runs the config with the request that was written."""
    text = (folder / "small.toml").read_text()
    asked = text.replace('kind = "random"\nratio = 0.05', f'kind = "pairs"\npath = "{out}"')
    (folder / "hard.toml").write_text(asked)
    config, results = str(folder / "hard.toml"), str(folder / "results")
    assert cli.main(["run", config, "--results", results]) == 0
    assert cli.main(["collect", config, "--results", results]) == 0
    return pd.read_csv(folder / "results" / "hard" / "metrics.csv")


@pytest.mark.slow
def test_memorised_pairs_fall_further_when_they_are_forgotten_than_others(folder, capsys):
    code, out = command(folder, "--kind=memorised", "--ratio=0.05", "--models=10")
    assert code == 0 and "memorised: " in capsys.readouterr().out
    hard_ones = run_with(folder, out)
    config, results = str(folder / "small.toml"), str(folder / "results")
    for name in ("run", "collect"):
        assert cli.main([name, config, "--results", results]) == 0
    at_random = pd.read_csv(folder / "results" / "small" / "metrics.csv")

    def fall(metrics):
        rows = metrics[metrics["metric"] == "score"].groupby("stage")["value"].mean()
        return rows["before"] - rows["reference"]

    assert fall(hard_ones) > 1.3 * fall(at_random) > 0


def test_entangled_and_sensitive_requests_are_written_as_pairs(folder, capsys):
    code, out = command(folder, "--kind=entangled", "--ratio=0.02")
    assert code == 0 and list(pd.read_csv(out)) == ["user", "item"]
    n, items = len(pd.read_csv(out)), pd.read_csv(out)["item"].unique()[:3]
    pd.DataFrame({"item": items}).to_csv(folder / "items.csv", index=False)
    code, out = command(folder, "--kind=sensitive", f"--items={folder / 'items.csv'}")
    assert code == 0 and set(pd.read_csv(out)["item"]) <= set(items) and n > 3
    assert "people" in capsys.readouterr().out


@pytest.mark.parametrize("n_layers", [0, 1])
def test_a_predicted_change_is_a_slope_over_a_curvature(labelled, n_layers):
    """Against the diagonal and the gradient written out, pair by pair."""
    train = labelled
    weights = jnp.ones(len(train.users)).at[5].set(0.0)
    model = influence_toys.model("lightgcn" if n_layers else "mf", reg=0.1)
    params = influence_toys.factors(train)
    got = np.asarray(single.predicted_change(model, params, train, weights))
    assert got[5] == 0 and (got >= 0).all()
    if n_layers:
        return
    p, q = (np.asarray(x, float) for x in params)
    u, i, y = (np.asarray(x) for x in (train.users, train.items, train.values))
    chance = 1 / (1 + np.exp(-np.sum(p[u] * q[i], axis=1)))
    slopes, bends = weights * (chance - y), np.asarray(weights) * chance * (1 - chance)
    same = ForgetSet(weights, weights)
    ridge, scale = damping.settle(model, params, train, same, damping="auto", power=0.5)
    diagonal = [np.zeros_like(p), np.zeros_like(q)]
    np.add.at(diagonal[0], u, bends[:, None] * q[i] ** 2)
    np.add.at(diagonal[1], i, bends[:, None] * p[u] ** 2)
    d = [x + float(ridge) * np.asarray(s) + 0.2 for x, s in zip(diagonal, scale)]
    steps = np.stack(
        [
            np.hstack([a * q[k] / d[0][j], a * p[j] / d[1][k]])
            for a, j, k in zip(np.asarray(slopes), u, i)
        ]
    )
    np.testing.assert_allclose(got, np.linalg.norm(steps, axis=1), rtol=2e-5, atol=1e-7)


def test_models_without_margins_predict_no_change(labelled):
    ials = models.load("ials")(dim=2, reg=1.0, alpha=1.0)
    ranking = influence_toys.model(loss="bpr")
    for model, fault in ((ials, "margins"), (ranking, "memorised")):
        with pytest.raises(ValueError, match=fault):
            params, ones = influence_toys.factors(labelled), jnp.ones(len(labelled.users))
            single.predicted_change(model, params, labelled, ones)


@pytest.mark.parametrize(
    "more, fault",
    [
        (["--kind=memorised", "--ratio=1.5"], "--ratio must lie between 0 and 1"),
        (["--kind=memorised", "--models=1"], "--models must be 2 or more"),
        (["--kind=sensitive"], "needs it"),
        (["--kind=entangled", "--items=x.csv"], "goes with --kind sensitive"),
        (["--kind=sensitive", "--items=gone.csv"], "no list of items"),
        (["--kind=influential"], "ask for memorised ones"),
    ],
)
def test_bad_arguments_are_refused_and_nothing_is_written(folder, capsys, more, fault):
    code, out = command(folder, *more)
    assert code == 2 and fault in capsys.readouterr().err and not out.exists()


def test_items_that_nobody_has_are_refused(folder, capsys):
    (folder / "items.csv").write_text("item\nnothing\n")
    code, out = command(folder, "--kind=sensitive", f"--items={folder / 'items.csv'}")
    assert code == 2 and "none of its items" in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("size", [1.0, 2.0**-66, 2.0**66])
def test_entanglement_of_small_and_large_rows_is_that_of_their_directions(size, dtype):
    """Squares of rows of 1e-20 vanish in 32 bits: the pairs seemed to be tied to nothing."""
    train = layout.build([0, 0, 0, 1, 1], [0, 1, 2, 0, 2], np.ones(5))
    rows, weights = jnp.asarray(RNG.normal(size=(3, 4)), dtype), jnp.ones(5, dtype)
    train = dataclasses.replace(train, values=weights)
    found = jax.jit(hardness.entanglement)
    same = found(Factors(rows[:2], rows), train, weights)
    scaled = found(Factors(rows[:2] * size, rows * size), train, weights)
    np.testing.assert_array_equal(scaled, same)
    slope = jax.grad(lambda x: hardness.entanglement(Factors(x[:2], x), train, weights).sum())
    np.testing.assert_allclose(slope(rows * size) * size, slope(rows), rtol=1e-4, atol=1e-6)


def test_entanglement_with_a_row_that_is_not_finite_is_not_known():
    """It was 0: as if the pair were tied to nothing."""
    train = layout.build([0, 0, 0, 1, 1], [0, 1, 2, 0, 1], np.ones(5))
    for bad in (np.nan, np.inf):
        rows = jnp.asarray(RNG.normal(size=(3, 2))).at[2, 0].set(bad)
        found = hardness.entanglement(Factors(rows[:2], rows), train, jnp.ones(5))
        assert np.isnan(found[:3]).all() and np.isfinite(found[3:]).all()
