"""Models whose truth is known: made beside a bank, and what measures of forgetting make of them."""

import math
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest
import toy_runs

from experiments import cli, statistics
from experiments.commands.evidence import recommended
from experiments.lab import evidence, known, measured, measures, verdicts
from experiments.lab.jobs import Shelf, Singly
from experiments.lab.programs import model_plug, program
from jaxforget import data
from jaxforget.data import _oracles
from jaxforget.data._oracles import Bank
from jaxforget.models import ials
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet

TOML = toy_runs.tweets(
    """
[models.mf]
dim = 4
lr = 1e-2
init_scale = 1e-1
batch_size = 256
n_epochs = 2
""",
    "[request]\nkind = 'random'\nratio = 0.05\n",
    "[methods.retrain]\n",
    max_sweeps=7,  # near enough to the optimum for residuals to tell
)


def command(name, folder, *more):
    config, results = str(folder / "small.toml"), str(folder / "results")
    return cli.main([name, config, "--results", results, *more])


def test_models_of_known_truth_are_made_beside_a_bank_and_are_no_methods(tmp_path, capsys):
    (tmp_path / "small.toml").write_text(TOML)
    few = ("--models", "12", "--pairs", "60")
    assert command("oracles", tmp_path, *few, "--known") == 0
    folder = tmp_path / "results" / "small"
    banks = [data.oracles(path) for path in sorted((folder / "oracles").glob("*.npz"))]
    made = {bank.about["model_name"]: bank for bank in banks}
    for bank in banks:
        assert [*bank.scores] == ["retrained", "undeleted", "half", "relearned", "retrain"]
        assert bank.of("half", "forgotten").shape == (12, 60)
        assert len({scores.tobytes() for scores in bank.scores.values()}) == 5
        assert [*bank.measured] == ["retrained", "undeleted", "half", "relearned"]
        for found in bank.measured.values():
            assert found["lists"].shape[::2] == (12, 20) and np.isfinite(found["rank_auc"]).all()
            assert (found["residual"] > 0).all()
    assert made["ials"].about["known"]["relearned"]["use"] == "unlearn_als"
    assert made["mf"].about["known"]["relearned"] == {
        "use": "finetune",
        "settings": {"lr": 0.01, "n_steps": known.STEPS},
    }
    mean = {kind: made["ials"].of(kind, "forgotten").mean() for kind in made["ials"].scores}
    assert mean["retrained"] < mean["half"] < mean["undeleted"]
    assert mean["retrained"] < mean["relearned"]
    residual = {kind: x["residual"].mean() for kind, x in made["ials"].measured.items()}
    assert residual["retrained"] < residual["half"] < residual["undeleted"]

    assert command("evidence", tmp_path) == 0
    told = capsys.readouterr().out
    assert "usable measures, of 2 banks" in told and "recommended: none" in told
    said = pd.read_csv(folder / "verdict.csv")
    assert set(said["method"]) == {"undeleted", "retrain"}
    table = pd.read_csv(folder / "measures.csv")
    assert len(table) == 2 * 10 and table["n_models"].eq(6).all() and not table["usable"].any()
    assert table["why"].str.contains("15 are needed").all()
    one = table[table["of"] == "one model"]
    read = one["measure"].isin(["lists", "rank_auc", "residual"])  # no scores to be rounded
    for name, rows in (
        *((x, one) for x in ("faithful", "half", "relearned")),
        ("rounded", one[~read]),
    ):
        assert rows[[name, f"{name}_low", f"{name}_high"]].notna().all(axis=None)
    assert read.sum() == 6 and one.loc[read, "rounded"].isna().all()
    # without --known the bank is put together as ever, and nothing is left of the table; whichever
    # cell asks for it, of several that differ in what a bank does not depend on
    assert command("oracles", tmp_path, *few, "unlearn_seeds=0,1", "--only", "unlearn_seed=0") == 0
    assert [*data.oracles(next((folder / "oracles").glob("*.npz"))).scores][2:] == ["retrain"]
    assert command("evidence", tmp_path) == 0 and not (folder / "measures.csv").exists()
    assert "usable" not in capsys.readouterr().out


def test_a_bank_without_known_models_is_made_again_with_what_these_are_compared_by(tmp_path):
    (tmp_path / "small.toml").write_text(TOML)
    few = ("--models", "2", "--pairs", "60", "--only", "model=mf")
    path = tmp_path / "results" / "small" / "oracles"
    assert command("oracles", tmp_path, *few) == 0
    plain = data.oracles(next(path.glob("*.npz")))
    assert command("oracles", tmp_path, *few, "--known") == 0
    whole = data.oracles(next(path.glob("*.npz")))
    assert not plain.measured and len(whole.measured) == 4
    for kind, scores in plain.scores.items():
        np.testing.assert_array_equal(scores, whole.scores[kind])


def test_what_is_kept_of_a_model_is_what_its_scores_and_its_loss_say():
    rng = np.random.default_rng(0)
    pairs = rng.permutation(12 * 30)[:150]
    train = layout.build(pairs // 30, pairs % 30, np.ones(150, np.float32), n_users=12, n_items=30)
    before = np.ones(150, np.float32)
    gone = np.arange(150) % 10 == 0
    request = ForgetSet(before, np.where(gone, 0, before).astype(np.float32))
    model = {"use": "ials", "settings": {"dim": 3, "reg": 1.0, "alpha": 2.0}}
    plug = model_plug(model)
    part = np.where(gone, "forgotten", "retained")
    state = Factors(*(jax.numpy.asarray(rng.normal(size=(n, 3)), "float32") for n in (12, 30)))
    loss = program("loss", plug)
    wanted = measured.asked(train, part)
    run = Singly(Shelf()).run
    found = measured.of_models(run, wanted, loss, [state], [state], train, [request])
    users, items = np.asarray(train.users), np.asarray(train.items)
    scores = np.asarray(state.users) @ np.asarray(state.items).T
    scores[users[~gone], items[~gone]] = -np.inf
    asked = np.unique(users[gone])
    want = np.argsort(-scores[asked], axis=1, kind="stable")[:, :20]
    shown = np.sort(scores[asked], axis=1)[:, ::-1][:, :20] > -np.inf
    np.testing.assert_array_equal(found["lists"][0][shown], want[shown])
    above = []
    for user in asked:
        own = scores[user, items[gone & (users == user)]]
        others = np.delete(scores[user], items[gone & (users == user)])
        others = others[others > -np.inf]
        above.append(np.mean(own[:, None] > others[None]))
    np.testing.assert_allclose(found["rank_auc"], np.mean(above), rtol=1e-5)
    built = ials.build(dim=3, reg=1.0, alpha=2.0)
    slope = jax.grad(built.loss)(state, train, request.after, request.after)
    rows = [np.asarray(x)[np.unique(ids[gone])] for x, ids in zip(slope, (users, items))]
    norm = np.sqrt(sum(np.sum(x.astype(float) ** 2) for x in rows))
    np.testing.assert_allclose(found["residual"], norm, rtol=1e-5)
    assert measured.asked(train, np.full(150, "retained")) is None
    broken = state._replace(users=state.users.at[asked[0]].set(np.nan))
    found = measured.of_models(run, wanted, loss, [broken], [broken], train, [request])
    assert (found["lists"][0, 0] == measured.NOBODY).all() and np.isnan(found["rank_auc"]).all()


def test_lists_are_apart_by_the_items_that_one_model_does_not_show():
    known = np.array([[1, 2, 3], [4, 5, -1]])
    lists = np.array([known, [[3, 2, 7], [5, 6, -1]], [[-1, -1, -1], [4, 5, 6]]])
    np.testing.assert_allclose(measured.apart(lists, known), [0, 1 - (2 / 3 + 1 / 2) / 2, np.nan])


def test_a_method_cannot_have_the_name_of_models_of_known_truth(tmp_path, capsys):
    (tmp_path / "small.toml").write_text(TOML.replace("retrain]", 'half]\nuse = "retrain"'))
    assert command("oracles", tmp_path) == 2
    assert "call the method 'half' otherwise" in capsys.readouterr().err


def test_half_of_a_request_is_gone_the_same_half_for_all_models_of_a_bank():
    before = np.array([1, 1, 0, 1, 1, 1, 0.5, 1], np.float32)
    after = np.array([1, 0, 0, 0, 1, 0, 0.25, 1], np.float32)  # four are asked for
    request = ForgetSet(before, after)
    found = np.asarray(known.half(request, "ab12", 0.5))
    gone = found < before
    assert gone.sum() == 2 and np.array_equal(found[gone], after[gone])
    assert np.array_equal(found, np.asarray(known.half(request, "ab12", 0.5)))
    others = [np.asarray(known.half(request, f"{n:x}", 0.5)) for n in range(20)]
    assert len({x.tobytes() for x in others}) > 2


def test_a_model_that_cannot_be_trained_further_has_no_relearned_models(monkeypatch):
    model = SimpleNamespace(refine=None)
    lab = SimpleNamespace(programs=SimpleNamespace(model=lambda spec: model))
    cell = SimpleNamespace(spec={"model": {"use": "m", "settings": {"lr": 0.5}}})

    def refuse(recipe, numbers, model):
        raise ValueError("cannot")

    monkeypatch.setattr(known, "make", refuse)
    assert [*known.kinds(lab, cell)] == ["half"]


def test_keys_of_known_kinds_are_of_no_other_kind():
    every = [known.keys_of(seed, kind) for seed in (0, 1) for kind in _oracles.KNOWN]
    drawn = {str(jax.random.key_data(key)) for pair in every for key in pair}
    assert len(drawn) == 8


def bank(seed=0, n=60, half=0.5, whole=1.0, size=1.5, n_known=("half", "relearned")):
    """40 forgotten, 20 retained, 20 test pairs; what is left raises the score of the first."""
    rng = np.random.default_rng(seed)
    part = np.repeat(_oracles.PARTS, [40, 20, 20])
    up = np.where(part == "forgotten", size, 0.0)
    left = {"retrained": 0.0, "undeleted": whole, "half": half, "relearned": 0.3, "method": 0.0}
    scores = {
        kind: (rng.standard_normal((n, 80)) + much * up).astype(np.float32)
        for kind, much in left.items()
    }
    ids, about = np.arange(80).astype(str), {"model_name": "m", "axes": {}, "methods": {}}
    about |= {"id": "0", "draws": True, "known": dict.fromkeys(n_known)}
    return Bank(ids, ids, np.ones(80, np.float32), part, scores, about)


def tried(some, *, halves=False):
    """The rows by measure; those of distributions too where ``halves`` of the models are taken."""
    light = evidence.Measures(evidence.memberships(some), {}, {})
    return {x.measure: x for x in measures.of(some, evidence.measure(some) if halves else light)}


def test_measures_that_follow_what_is_left_are_usable():
    found = tried(bank(), halves=True)
    for name in ("score", "membership", "likelihood", "distance_forgotten", "kl_p50", "lira"):
        row = found[name]
        assert row.usable and not row.why and row.ordered == "yes", name
        assert row.from_none.low > 0 and row.from_half.low > 0
    score = found["score"]
    assert score.n_models == 30 and score.faithful.value == 1 and score.half.value == 1
    assert score.relearned.low > 0.5
    assert score.from_none.value == pytest.approx(0.75, abs=0.15)  # half of 1.5


def test_measures_that_are_noise_are_not_usable():
    """The kinds are drawn alike; in 20 banks no measure passes."""
    for seed in range(20):
        rows = tried(bank(seed, whole=0.0, half=0.0), halves=not seed)
        assert not any(row.usable for row in rows.values())
    noise = tried(bank(3, whole=0.0, half=0.0))["score"]
    assert "not told" in noise.why and noise.faithful.low < 0.5 < noise.faithful.high


def test_each_condition_of_the_rule_is_needed():
    blind = tried(bank(half=0.0))["score"]
    assert "without half" in blind.why and not blind.usable and blind.faithful.value == 1
    full = tried(bank(half=1.0))["score"]  # tells, and no more with all than with half
    assert full.ordered == "not shown" and "does not grow" in full.why
    over = tried(bank(half=1.5))["likelihood"]
    assert over.ordered == "no" and not over.usable
    few = tried(bank(n=20))["score"]
    assert "10 models of each kind compared, 15 are needed" in few.why
    some = bank()
    some.scores["retrained"][:, -1] = np.linspace(-1e4, 1.1e4, 60)  # 8 bits: steps of 80
    coarse = tried(some)["score"]
    assert coarse.faithful.value == 1 and abs(coarse.rounded.value - 0.5) < 0.05
    assert "rounding" in coarse.why and not coarse.usable


def test_rounding_leaves_256_values_in_the_range_of_the_retrained_models():
    some = bank()
    found = measures.rounded(some)
    low, high = (getattr(some.scores["retrained"], name)() for name in ("min", "max"))
    for kind, scores in found.scores.items():
        assert len(np.unique(scores)) <= 256 and scores.dtype == np.float32
        inside = np.clip(some.scores[kind], low, high)
        assert np.abs(scores - inside).max() <= (high - low) / 255 / 2 + 1e-6
    flat = some._replace(scores={k: np.zeros_like(x) for k, x in some.scores.items()})
    assert measures.rounded(flat) is flat


def test_scores_that_are_not_finite_make_no_measure_usable():
    some = bank()
    some.scores["undeleted"][40, 3] = np.nan
    found = tried(some, halves=True)
    assert not any(found[name].usable for name in ("score", "likelihood", "kl_p50"))


def test_an_old_bank_has_no_such_rows_and_known_models_get_no_verdict():
    some = bank()
    found = verdicts.of(some, evidence.measure(some))
    assert [*found] == ["undeleted", "method"] and found["method"].word == "as retrained"
    old = some._replace(about={k: v for k, v in some.about.items() if k != "known"})
    assert measures.of(old, evidence.measure(old)) == []
    only = bank(n_known=("half",))
    row = tried(only._replace(scores={k: v for k, v in only.scores.items() if k != "relearned"}))
    assert math.isnan(row["score"].relearned.value) and row["score"].usable


def test_a_few_measures_are_recommended_that_are_usable_in_most_banks():
    def row(bank, measure, usable, half=0.9, of="one model"):
        return {"bank": bank, "measure": measure, "usable": usable, "half": half, "of": of}

    rows = [row(b, "score", b == 0) for b in range(3)]
    rows += [row(b, "likelihood", True, 0.8) for b in range(3)]
    rows += [row(b, "distance", True, 0.7) for b in range(3)]
    rows += [row(b, "lira", True, math.nan, "distribution") for b in range(3)]
    rows += [row(b, "membership", b > 0, 0.95) for b in range(3)]
    first, last = recommended(rows).splitlines()
    assert first.startswith("usable measures, of 3 banks: likelihood in 3, distance in 3, lira in")
    assert last == "recommended: likelihood, distance, lira"
    assert recommended(rows[:3]).endswith("none: no measure is usable in half of the banks")


def test_with_so_many_models_a_middling_measure_seldom_sets_all_apart():
    """Then the measure is above the marks: an AUC of .9 does it one time in a hundred."""
    rng, shift = np.random.default_rng(0), 1.2816 * 2**0.5
    draws = rng.normal(0, 1, (2, 4_000, measures.LEAST))
    apart = (draws[0] + shift).min(axis=1) > draws[1].max(axis=1)
    assert apart.mean() < 0.015
    told, free = statistics.area(draws[0, 0] + 9, draws[1, 0]), statistics.Estimate(1, 1, 2, 15)
    assert told.low == pytest.approx(0.025 ** (1 / 15)) and told.low < measures.FAITHFUL
    args = (told, told, told), (free, free), told
    assert (
        measures.judged("score", *args, 15).usable
        and not measures.judged("score", *args, 14).usable
    )
