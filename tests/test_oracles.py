"""Banks of models: made in parts, put together, judged; and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
import toy_runs

from experiments import cli
from experiments.lab import evidence, verdicts
from jaxforget import data
from jaxforget.data import _oracles
from jaxforget.data._oracles import Bank

REQUEST = """
[request]
kind = "random"
ratio = 0.05
"""
METHODS = """
[methods.retrain]

[methods.unlearn_als]
max_sweeps = [1, 2]
tol = 0.0
"""
RNG = np.random.default_rng(3)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.toml").write_text(toy_runs.tweets(REQUEST, METHODS))
    return tmp_path


def command(name, folder, *more):
    config, results = str(folder / "small.toml"), str(folder / "results")
    return cli.main([name, config, "--results", results, *more])


def banks(folder):
    return sorted((folder / "results" / "small" / "oracles").glob("*.npz"))


@pytest.mark.slow
def test_a_bank_made_in_parts_is_the_one_made_at_once_and_is_judged(folder, capsys):
    few = ("--models", "13", "--pairs", "40")
    assert command("oracles", folder, *few, "--shard", "1/2") == 0
    assert not banks(folder) and "wait for their other parts" in capsys.readouterr().out
    assert command("oracles", folder, *few, "--shard", "0/2") == 0
    (path,) = banks(folder)
    bank = data.oracles(path)
    kinds = ["retrained", "undeleted", "retrain", "unlearn_als max_sweeps=1"]
    assert [*bank.scores] == [*kinds, "unlearn_als max_sweeps=2"]
    assert {x.shape for x in bank.scores.values()} == {(13, 120)}
    assert bank.of("undeleted", "test").shape == (13, 40)
    made = {name: bank.scores[name].copy() for name in bank.scores}
    path.unlink()
    for file in (path.parent / path.stem).glob("*.npz"):
        file.unlink()
    assert command("oracles", folder, *few) == 0
    again = data.oracles(path)
    for name, scores in made.items():
        np.testing.assert_array_equal(again.scores[name], scores)

    assert command("evidence", folder) == 0
    found = pd.read_csv(folder / "results" / "small" / "evidence.csv")
    said = pd.read_csv(folder / "results" / "small" / "verdict.csv").set_index("method")
    assert found["n_models"].min() == 6 and not found["value"].isna().any()
    assert said.loc["undeleted", "verdict"] == "undeleted"
    assert said.loc["undeleted", "left"] == 1
    assert said.loc["retrain", "left"] < 0.2 < 1
    assert abs(said.loc["retrain", "excess"]) < said.loc["undeleted", "excess"]


def test_a_bank_of_another_config_or_of_other_data_is_left_alone(folder, capsys):
    few = ("--models", "2", "--pairs", "10")
    assert command("oracles", folder, *few) == 0
    (path,) = banks(folder)
    assert command("evidence", folder, "request.ratio=0.1") == 2
    told = capsys.readouterr()
    assert "not of this config as it is now; left out" in told.out and "first: " in told.err
    assert command("evidence", folder, "methods.unlearn_als.tol=0.5") == 0
    told = capsys.readouterr().out
    assert "unlearn_als max_sweeps=1 is not in it with the settings of the config" in told
    assert "retrain: too few models" in told and "unlearn_als max_sweeps=1: " not in told
    assert command("oracles", folder, "--models", "3", "--pairs", "10") == 0  # two are too few
    assert len(data.oracles(path).scores["retrain"]) == 3
    assert command("oracles", folder, *few) == 0  # and three enough
    assert len(data.oracles(path).scores["retrain"]) == 2
    (path.parent / path.stem / "data").write_text("other")
    assert command("oracles", folder, *few) == 2
    assert "was made of other data" in capsys.readouterr().err
    broken = next((path.parent / path.stem).glob("*.npz"))
    (path.parent / path.stem / "data").unlink()
    broken.write_bytes(b"no archive")
    assert command("oracles", folder, *few) == 2
    assert "remove it and run again" in capsys.readouterr().err


def test_a_file_of_a_bank_in_the_place_of_another_is_refused(folder, capsys):
    few = ("--models", "13", "--pairs", "10")
    assert command("oracles", folder, *few) == 0
    assert command("oracles", folder, "--models", "2", "--pairs", "10", "request.ratio=0.1") == 0
    capsys.readouterr()
    (path,) = (x for x in banks(folder) if len(data.oracles(x).scores["retrain"]) == 13)
    (other,) = (x for x in banks(folder) if x != path)
    pieces = sorted((path.parent / path.stem).glob("*.npz"))
    retrained, later = (x for x in pieces if x.name.startswith("retrained-"))
    method = next(x for x in pieces if x.name.endswith("-00000.npz") and x != retrained)
    foreign = other.parent / other.stem / retrained.name
    for source, target in ((retrained, method), (later, retrained), (foreign, retrained)):
        honest = target.read_bytes()
        target.write_bytes(source.read_bytes())
        path.unlink(missing_ok=True)
        assert command("oracles", folder, *few) == 2
        written = f"{target}: was written as {source.parent.name}/{source.name}: remove it and run"
        assert written in capsys.readouterr().err and not path.exists()
        target.write_bytes(honest)
    arrays = dict(np.load(method))
    del arrays["piece"]
    np.savez(method, **arrays)
    assert command("oracles", folder, *few) == 2
    assert "was written as a file of an earlier version" in capsys.readouterr().err


def test_without_a_bank_evidence_says_what_to_do_first(folder, capsys):
    assert command("evidence", folder) == 2
    assert "first: " in capsys.readouterr().err
    assert command("oracles", folder, "--models", "0") == 2
    assert command("oracles", folder, "--shard", "2/2") == 2
    assert command("oracles", folder, "--batch", "some") == 2
    assert command("oracles", folder, "methods.undeleted.use=retrain") == 2
    assert command("oracles", folder, "request.kind=none", "request.ratio=") == 2


def draws(rng, shift=0.0, scale=1.0, n=60, pairs=80):
    return (shift + scale * rng.standard_normal((n, pairs))).astype(np.float32)


def bank(seed=0, **methods):
    """40 forgotten, 20 retained, 20 test pairs; undeleted models score the first ones higher."""
    rng = np.random.default_rng(seed)
    part = np.repeat(_oracles.PARTS, [40, 20, 20])
    up = np.where(part == "forgotten", 1.5, 0.0)
    scores = {"retrained": draws(rng), "undeleted": draws(rng) + up.astype(np.float32)}
    for name, how in methods.items():
        own = draws(rng) + (how * up).astype(np.float32)
        scores[name] = scores["undeleted"] if how == 1 else own
    ids = np.arange(80).astype(str)
    about = {"model_name": "m", "axes": {}, "id": "0", "methods": {}, "draws": True}
    return Bank(ids, ids, np.ones(80, np.float32), part, scores, about)


def rows(bank):
    return list(evidence.rows(bank, evidence.measure(bank)))


def said(bank):
    return verdicts.of(bank, evidence.measure(bank))


def test_verdicts_follow_the_rule_on_models_whose_truth_is_known():
    methods = {"same": 0.0, "half": 0.5, "over": -0.5, "away": -2.0, "idle": 1}
    found = {k: v.word for k, v in said(bank(**methods)).items()}
    assert found == {
        "undeleted": "undeleted",
        "same": "as retrained",
        "half": "nearer",
        "over": "over-forgets",
        "away": "further",
        "idle": "no step",
    }


def test_among_many_methods_a_difference_has_to_be_larger():
    """A method near doing nothing is told from it alone, and not as the best of several."""
    near = 0.9
    alone = said(bank(near=near))["near"]
    assert alone.word == "nearer" and 0.01 < alone.chance < 0.05
    others = {f"like{n}": 0.98 for n in range(4)}
    found = said(bank(near=near, **others))["near"]
    assert found.word == "no difference shown" and found.left == alone.left
    assert found.chance > alone.chance


def test_utility_is_how_much_better_than_retrained_models_labels_are_told():
    some = bank(same=0.0, away=-2.0)
    assert np.isnan(said(some)["same"].utility.value)  # likes alone
    values = np.where(np.arange(80) % 2 == 0, 1.0, 0.0).astype(np.float32)
    some.scores["away"][:, values > 0] += 3.0
    found = said(some._replace(values=values))
    assert found["away"].utility.low > 0.3
    assert found["same"].utility.low < 0 < found["same"].utility.high
    auc = {r.kind: r.found for r in rows(some._replace(values=values)) if r.measure == "auc"}
    assert auc["away"].value > 0.9 and auc["retrained"].low < 0.5 < auc["retrained"].high
    assert all(r.part == "test" and r.n_pairs == 20 for r in rows(some) if r.measure == "auc")


def test_where_deleting_changes_nothing_nothing_can_be_told():
    some = bank(same=0.0)
    scores = dict(some.scores) | {"undeleted": draws(np.random.default_rng(5))}
    found = said(some._replace(scores=scores))
    assert {v.word for v in found.values()} == {"cannot be told"}


def test_a_score_that_is_not_finite_is_no_number():
    some = bank(bad=0.0)
    some.scores["bad"][3, 5] = np.nan
    assert said(some)["bad"].word == "diverged"
    assert said(some)["undeleted"].word == "undeleted"
    bad = [r for r in rows(some) if r.kind == "bad" and r.part == "forgotten"]
    assert all(np.isnan(r.found.low) for r in bad if r.measure in ("kl", "klom"))


@pytest.mark.slow
def test_as_retrained_is_said_wrongly_one_time_in_forty_at_most_at_the_edge():
    """A method that leaves more than a twentieth is called as retrained hardly ever."""
    words = [said(bank(seed, edge=0.4))["edge"].word for seed in range(12)]
    assert "as retrained" not in words


def test_the_floor_falls_with_the_number_of_models_as_theory_says():
    """Gaussian KL of m and m equal models is (2 m - 1) / (m (m - 3)) in the mean."""
    rng = np.random.default_rng(0)
    for n in (20, 60):
        some = bank()
        scores = {k: draws(rng, n=n) for k in some.scores}
        measured = rows(some._replace(scores=scores))
        floor = {r.part: r for r in measured if (r.kind, r.measure) == ("retrained", "kl")}
        m = n // 2
        want = (2 * m - 1) / (m * (m - 3))
        assert floor["forgotten"].found.value == pytest.approx(want, rel=0.25)
        assert floor["forgotten"].n_models == m


def test_of_one_model_of_each_kind_the_distance_is_stated():
    some = bank(same=0.0)
    one = {k: x[:1] for k, x in some.scores.items()} | {"same": some.scores["retrained"][:1]}
    found = some._replace(scores=one, about=some.about | {"draws": False})
    same = said(found)["same"]
    assert same.word == "as retrained" and same.left.value == 0
    assert {r.measure for r in rows(found)} == {"distance"}


def test_one_model_that_scores_as_the_undeleted_one_took_no_step():
    some = bank(idle=1, away=-2.0)
    one = {k: x[:1] for k, x in some.scores.items()}
    found = said(some._replace(scores=one, about=some.about | {"draws": False}))
    assert (found["idle"].word, found["idle"].left.value) == ("no step", 1.0)
    assert found["idle"].why == said(some)["idle"].why
    assert found["away"].word == "further"


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "bank.npz"
    np.savez(path, **_oracles.arrays(bank(same=0.0)))
    return path


def test_a_bank_is_read_as_it_was_written(written):
    found, want = data.oracles(written), bank(same=0.0)
    np.testing.assert_array_equal(found.scores["same"], want.scores["same"])
    np.testing.assert_array_equal(found.part, want.part)
    assert found.about["model_name"] == "m"


@pytest.mark.parametrize("what", ["scores/same", "part", "about", "gone", "kind", "bytes"])
def test_a_bank_that_was_changed_is_refused(written, what):
    with np.load(written) as archive:
        arrays = dict(archive)
    if what == "scores/same":
        arrays[what][0, 0] += 1
    elif what == "part":
        arrays[what][0] = "test"
    elif what == "about":
        arrays[what] = np.array(json.dumps(json.loads(str(arrays[what])) | {"model_name": "n"}))
    elif what == "gone":
        del arrays["users"]
    elif what == "kind":
        arrays = _oracles.arrays(bank()._replace(scores={"retrained": draws(RNG)}))
    np.savez(written, **arrays)
    if what == "bytes":
        written.write_bytes(written.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"bank\.npz: "):
        data.oracles(written)


def test_a_measure_is_faithful_where_it_tells_models_whose_truth_is_known():
    some = bank(same=0.0)
    members = evidence.measure(some).members
    undeleted, same = (evidence.faithfulness(some, kind, members) for kind in ("undeleted", "same"))
    for name in undeleted:
        found = undeleted[name]  # where all are told, the interval is by counting
        assert found.low > 0.9 or found.value == 1 or name == "distance"
        assert same[name].low < 0.5 < same[name].high
    told = [r for r in rows(some) if r.measure == "told_by_score"]
    assert {r.kind for r in told} == {"undeleted", "same"} and told[0].n_models == 30


def test_models_without_spread_and_reference_models_that_diverged_have_words_of_their_own():
    some = bank(flat=0.0)
    some.scores["flat"][:] = 0
    assert said(some)["flat"].word == "further"
    some.scores["retrained"][0, 0] = np.nan
    assert {v.word for v in said(some).values()} == {"bank diverged"}
    few = bank(same=0.0)
    few = few._replace(scores={k: x[:5] for k, x in few.scores.items()})
    assert {v.word for v in said(few).values()} == {"too few models"}
    assert {r.measure for r in rows(few)} == {"membership"}
