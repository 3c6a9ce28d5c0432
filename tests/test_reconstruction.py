"""What two releases reveal: the attacks find what was deleted, and the command says so."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import toy_runs

from experiments import cli, figures
from experiments.commands import reconstruct
from jaxforget import methods, models
from jaxforget.metrics import reconstruction
from jaxforget.prepare import forget
from jaxforget.sparse import layout

RNG = np.random.default_rng(2)
U, I = 60, 40
CELLS = np.sort(RNG.permutation(U * I)[:500])
TRAIN = layout.build(CELLS // I, CELLS % I, np.ones(500), n_users=U, n_items=I)
ONES = jnp.ones_like(TRAIN.values)


@pytest.mark.parametrize("count", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_of_ease_the_deleted_history_is_read_off_to_the_last_item(count):
    model = models.load("ease")(reg=5.0)
    _, request = forget.users(jax.random.key(count), TRAIN, count=count)
    fit = jax.jit(model.fit)
    state, _ = fit(None, TRAIN, ONES)
    after, _ = methods.load("closed_form")(model).unlearn(None, state, TRAIN, request)
    tables = [model.factors(s, TRAIN, request.after).matrix for s in (state, after)]
    truth = jnp.zeros(I, bool).at[TRAIN.items].max(request.before > request.after)
    scores = reconstruction.moved_counts(*tables)
    assert float(reconstruction.r_precision(scores, truth)) == 1
    assert float(jnp.min(jnp.where(truth, scores, 1))) > 1e6 * float(
        jnp.max(jnp.where(truth, 0, scores))
    )


def test_rotated_tables_have_not_moved_and_the_row_that_did_stands_out():
    before = jnp.asarray(RNG.standard_normal((30, 5)))
    turn = jnp.linalg.qr(jnp.asarray(RNG.standard_normal((5, 5))))[0]
    moved = reconstruction.moved_rows(before, before.at[7].add(0.5) @ turn)
    assert int(jnp.argmax(moved)) == 7 and float(jnp.sort(moved)[-2]) < 0.3 * float(moved[7])
    np.testing.assert_allclose(reconstruction.moved_rows(before, before @ turn), 0, atol=1e-12)
    with pytest.raises(ValueError, match="both must be of the same"):
        reconstruction.moved_rows(before, before[:4])


def test_r_precision_is_the_mean_over_all_orders_of_ties():
    scores, truth = np.array([2.0, 1.0, 1.0, 1.0, 0.0]), np.array([1, 1, 0, 0, 1], bool)
    want = np.mean([(1 + (tied == 1) + (other == 1)) / 3 for tied, other in
                    [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)]])  # fmt: skip
    got = reconstruction.r_precision(jnp.asarray(scores), jnp.asarray(truth))
    np.testing.assert_allclose(got, want)
    assert np.isnan(reconstruction.r_precision(jnp.asarray(scores), jnp.zeros(5, bool)))
    assert np.isnan(reconstruction.r_precision(jnp.array([1.0, jnp.nan]), jnp.ones(2, bool)))
    assert float(reconstruction.r_precision(jnp.ones(4), jnp.arange(4) < 1)) == 0.25


REQUEST = """
[request]
kind = "users"
count = [1, 4]

[methods.local_als]
"""


def test_the_command_writes_what_each_release_reveals_and_an_advice(tmp_path, capsys):
    config = toy_runs.tweets(REQUEST, seeds="[0, 1, 2]")
    (tmp_path / "small.toml").write_text(config)
    words = [str(tmp_path / "small.toml"), "--results", str(tmp_path)]
    assert cli.main(["reconstruct", *words]) == 0
    rows = pd.read_csv(tmp_path / "small" / "reconstruction.csv")
    assert len(rows) == 3 * 2 * 9 and not rows[["r_precision", "auc", "ndcg"]].isna().any(axis=None)
    by = rows.groupby("release")[["auc", "popularity_auc"]].mean()
    assert by.loc["unlearnt", "auc"] > 0.9
    assert by.loc["unlearnt", "auc"] > by.loc["unlearnt, noise 3", "auc"] + 0.05
    advised = pd.read_csv(tmp_path / "small" / "advice.csv")
    assert len(advised) == 9 and (advised["n"] == 3).all()
    assert "not shown to be safe up to 4 deleted users" in capsys.readouterr().out
    held = [(tmp_path / "small" / f"{name}.csv") for name in ("reconstruction", "advice")]
    was = [path.read_bytes() for path in held]
    assert cli.main(["reconstruct", *words, "--only=seed=1,count=1"]) == 0  # the others stay
    assert [path.read_bytes() for path in held] == was
    assert cli.main(["reconstruct", *words, "--shard=0/2"]) == 2
    for bad in (["request.kind=none"], ["request.count=", "request.ratio=0.1"]):
        assert cli.main(["reconstruct", *words, *bad]) == 2
    assert cli.main(["reconstruct", *words, "methods.local_als.use=ifru"]) == 2
    assert "left out: local_als on ials" in capsys.readouterr().out


def test_kinds_of_requests_are_not_averaged_in_the_figure_of_releases(tmp_path):
    lines = [
        {"data": "d", "model": "m", "method": "f", "release": "unlearnt", "kind": kind,
         "count": count, "seed": seed, "r_precision": found + 0.01 * seed,
         "popularity_r_precision": 0.1}
        for kind, found in (("users", 0.9), ("items", 0.1)) for count in (1, 4)
        for seed in range(3)
    ]  # fmt: skip
    (tmp_path / "toy").mkdir()
    pd.DataFrame(lines).to_csv(tmp_path / "toy" / "reconstruction.csv", index=False)
    _, frame = figures.load("releases")(tmp_path / "toy")
    found = frame[frame["line"] == "unlearnt"].groupby("kind")["mean"].mean()
    assert (frame["n"] == 3).all() and found.to_dict() == pytest.approx(
        {"users": 0.91, "items": 0.11}
    )


def test_advice_needs_every_larger_number_to_be_quiet_too():
    def rows(advantages):
        return pd.DataFrame([
            {"data": "d", "model": "m", "method": "f", "release": "r", "kind": "users",
             "count": count, "r_precision": 0.3 + more + noise,
             "popularity_r_precision": 0.3}
            for count, more in advantages.items() for noise in (-0.01, 0.0, 0.01)
        ])  # fmt: skip

    found = reconstruct.advice(rows({1: 0.6, 5: 0.0, 20: 0.0}))
    assert found[0]["release_after"] == 5 and found[0]["n"] == 3
    assert reconstruct.advice(rows({1: 0.0, 5: 0.6}))[0]["release_after"] is None
    bad = rows({1: 0.0, 5: 0.0})
    bad.loc[0, "r_precision"] = np.nan  # a seed that diverged is no quiet one
    assert reconstruct.advice(bad)[0]["release_after"] == 5
    two = rows({1: 0.0}).iloc[:2]  # no interval, no advice
    assert reconstruct.advice(two)[0]["release_after"] is None
