"""``bench ncf`` and ``bench gowalla``: chosen on validation, judged once, gone on with, on toys."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments import cli
from experiments.bench import (
    _kept,
    gowalla,
    gowalla_exact,
    gowalla_forgetting,
    gowalla_shards,
    ncf,
)
from jaxforget import methods, metrics, models
from jaxforget.prepare import split
from jaxforget.sparse import layout

N_USERS, N_ITEMS = 40, 130


def toy(seed=0):
    """Two groups of users, each of whom likes one half of the items."""
    rng = np.random.default_rng(seed)
    rows = [
        (user, item)
        for user in range(N_USERS)
        for item in rng.permutation(N_ITEMS // 2)[:12] + (user % 2) * (N_ITEMS // 2)
    ]
    users, items = np.array(rows).T
    ones = np.ones(len(rows), np.float32)
    return layout.build(users, items, ones, n_users=N_USERS, n_items=N_ITEMS)


@pytest.fixture
def leave_one_out(monkeypatch):
    train = toy()
    rng = np.random.default_rng(1)
    first = np.unique(np.asarray(train.users), return_index=True)[1]
    held = np.asarray(train.items)[first]
    others = [
        np.setdiff1d(np.arange(N_ITEMS), train.items[train.users == u])[:20] for u in range(40)
    ]
    lists = np.column_stack([held, rng.permuted(np.stack(others), axis=1)]).astype(np.int32)
    users = np.arange(N_USERS, dtype=np.int32)
    monkeypatch.setattr(ncf, "_read", lambda root: (train, users, lists))
    monkeypatch.setattr(ncf, "GRID", {"alpha": (4.0,), "ridge": (5.0, 1e4), "nu": (0.0, 1.0)})


GRID = gowalla._als(3, (4.0, 5.0), (4.0, 1e4))


def published(root=None):
    return split.split(toy(), seed=0, shares=(0.8, 0.0, 0.2), by="user")


@pytest.fixture
def as_published(monkeypatch):
    monkeypatch.setattr(gowalla, "read", published)
    monkeypatch.setitem(gowalla.GRIDS, "ials", GRID)


@pytest.fixture(scope="module")
def of_ials(tmp_path_factory):
    """The table that ``bench gowalla`` writes of ials, computed once."""
    path = tmp_path_factory.mktemp("ials") / "t.csv"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gowalla, "read", published)
        patched.setitem(gowalla.GRIDS, "ials", GRID)
        assert cli.main(["bench", "gowalla", "--seeds=1", f"--out={path}"]) == 0
    jax.config.update("jax_enable_x64", True)  # as before the command
    return path.read_bytes()


@pytest.mark.parametrize(
    "bench, data, measure",
    [("ncf", "leave_one_out", "ndcg"), ("gowalla", "as_published", "recall")],
)
def test_the_best_on_validation_is_judged_once_and_a_second_run_computes_nothing(
    request, tmp_path, monkeypatch, capsys, bench, data, measure
):
    request.getfixturevalue(data)
    path = tmp_path / "t.csv"
    command = ["bench", bench, "--seeds=3", f"--out={path}"]
    command += ["--dim=3"] if bench == "ncf" else []
    assert cli.main(command) == 0
    rows = pd.read_csv(path)
    tried, judged = (rows[rows["stage"] == stage] for stage in ("validation", "test"))
    names = ["settings"] if bench == "gowalla" else ["alpha", "reg", "nu"]
    best = tried.loc[tried[measure].idxmax(), names]
    assert len(tried) > 1 and judged["seed"].tolist() == [0, 1, 2]
    assert (judged[names] == best).all(axis=None)
    assert tried[measure].max() > tried[measure].min()
    assert "n = 3" in capsys.readouterr().out

    kept = path.read_bytes()
    module = ncf if bench == "ncf" else gowalla
    monkeypatch.setattr(module, "_measured", None)  # would fail if it were called
    assert cli.main(command) == 0
    assert path.read_bytes() == kept


BY_GRADIENT = {"dim": 3, "batch_size": 64, "n_epochs": 2}


@pytest.mark.parametrize(
    ("model", "small", "seeds", "spelled"),
    [
        ("ease", {}, 2, "reg="),  # one of two seeds: every key gives the same matrix
        ("mf", BY_GRADIENT, 1, "loss=bpr dim=3"),
        ("lightgcn", BY_GRADIENT, 1, "loss=bpr dim=3"),
    ],
)
def test_other_models_have_rows_beside_the_first(
    tmp_path, monkeypatch, as_published, of_ials, model, small, seeds, spelled
):
    path = tmp_path / "t.csv"
    monkeypatch.setitem(gowalla.GRIDS, model, [one | small for one in gowalla.GRIDS[model][:2]])
    path.write_bytes(of_ials)
    command = ["bench", "gowalla", f"--seeds={seeds}", f"--model={model}", f"--out={path}"]
    assert cli.main(command) == 0
    rows = pd.read_csv(path)
    own = rows[rows["model"] == model]
    assert set(rows["model"]) == {"ials", model} and own["recall"].between(0, 1).all()
    assert own["stage"].tolist() == ["validation", "validation", "test"]
    assert own["settings"].str.startswith(spelled).all()


def test_the_validation_items_are_remembered_ones_before_others(leave_one_out):
    train = ncf._read(None)[0]
    kept = jnp.ones(len(train.users)).at[jnp.arange(5)].set(0)
    own, among = ncf._validation(train, kept)
    seen = {(int(u), int(i)) for u, i, w in zip(train.users, train.items, kept) if w > 0}
    assert all((u, row[0]) in seen for u, row in zip(own.tolist(), among.tolist()))
    assert not any((u, i) in seen for u, row in zip(own.tolist(), among.tolist()) for i in row[1:])


def test_a_table_of_another_benchmark_is_not_overwritten(tmp_path, leave_one_out, capsys):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    assert cli.main(["bench", "ncf", f"--out={path}"]) == 2
    assert "other columns" in capsys.readouterr().err and path.read_text() == "a,b\n1,2\n"


def test_forgetting_is_measured_beside_training_again_and_doing_nothing(
    tmp_path, monkeypatch, as_published, of_ials, capsys
):
    chosen, path = tmp_path / "gowalla.csv", tmp_path / "forgetting.csv"
    command = ["bench", "gowalla_forgetting", "--dim=3", f"--chosen={chosen}", f"--out={path}"]
    assert cli.main(command) == 2
    assert "first: " in capsys.readouterr().err
    chosen.write_bytes(of_ials)
    assert cli.main([*command, "--dim=7"]) == 2 and "tried were 3" in capsys.readouterr().err
    monkeypatch.setattr(gowalla_forgetting, "REQUESTS", {"1 user": 1, "5 %": 0.05})
    assert cli.main(command) == 0
    rows = pd.read_csv(path)
    assert rows.groupby("request").size().to_dict() == {"1 user": 5, "5 %": 5}
    assert (rows["recall"] > 0.1).all()
    by = rows.set_index(["request", "way"])
    for request in ("1 user", "5 %"):
        found = by.loc[request]
        assert found.loc["trained again", "distance"] < 1e-6
        assert found.loc["nothing", "moved"] < 1e-6 < found.loc["unlearn_als, 1 pass", "moved"]
        assert found.loc["difference_als, 1 pass", "distance"] < found.loc["nothing", "distance"]
    kept = path.read_bytes()
    monkeypatch.setattr(gowalla_forgetting, "_numbers", None)
    assert cli.main(command) == 0 and path.read_bytes() == kept


@pytest.mark.slow
def test_lightgcn_forgets_beside_training_again_for_the_requests_asked_for(
    tmp_path, monkeypatch, as_published, capsys
):
    small = {"dim": 4, "batch_size": 64, "n_epochs": 60, "lr": 0.02}
    monkeypatch.setitem(gowalla.GRIDS, "lightgcn", [gowalla.GRIDS["lightgcn"][-1] | small])
    monkeypatch.setattr(gowalla_forgetting, "REQUESTS", {"1 user": 1, "5 %": 0.05})
    chosen, path = tmp_path / "gowalla.csv", tmp_path / "forgetting.csv"
    assert cli.main(["bench", "gowalla", "--model=lightgcn", "--seeds=1", f"--out={chosen}"]) == 0
    command = ["bench", "gowalla_forgetting", "--model=lightgcn", "--request", "5 %"]
    assert cli.main([*command, f"--chosen={chosen}", f"--out={path}"]) == 0
    rows = pd.read_csv(path).set_index("way")
    assert set(rows["request"]) == {"5 %"} and set(rows["model"]) == {"lightgcn"}
    assert set(rows.index) == {"nothing", "trained again", *gowalla_forgetting.WAYS["lightgcn"]}
    assert rows.loc["trained again", "distance"] < 1e-6 and rows.loc["nothing", "moved"] < 1e-6
    strong, weak = (rows.loc[f"ifru, damping {d}"] for d in (100, 1))
    assert 0 < strong["moved"] < weak["moved"]

    whole = gowalla.read(None)
    model = models.load("lightgcn")(**gowalla.GRIDS["lightgcn"][0])
    ones = jax.numpy.ones_like(whole.train.values)
    served = model.factors(model.fit(jax.random.key(0), whole.train, ones)[0], whole.train, ones)
    asked = dict(gowalla_forgetting.requests(jax.random.key(0), whole.train))["5 %"]
    found = metrics.evaluate(served, whole, asked, ks=(gowalla.K,))
    for name in (f"recall@{gowalla.K}", "membership"):
        own = rows.loc["nothing", name.split("@")[0]]
        np.testing.assert_allclose(own, found[name], atol=1e-3)


@pytest.mark.slow
def test_shards_are_judged_before_and_after_a_request_and_kept(tmp_path, monkeypatch, as_published):
    small = {"dim": 4, "batch_size": 64, "n_epochs": 60, "lr": 0.02}
    settings = gowalla.GRIDS["lightgcn"][0] | small
    monkeypatch.setitem(gowalla.GRIDS, "lightgcn", [settings])
    monkeypatch.setattr(gowalla_shards, "N_EPOCHS", 60)
    monkeypatch.setattr(gowalla_shards, "REQUEST", "5 %")
    monkeypatch.setattr(gowalla_forgetting, "REQUESTS", {"5 %": 0.05})
    for how in gowalla_shards.METHODS.values():
        monkeypatch.setitem(how, "n_shards", 2)
    chosen, path, keep = tmp_path / "gowalla.csv", tmp_path / "shards.csv", tmp_path / "kept"
    keep.mkdir()
    facts = _kept.provenance.lasting() | {"dirty": False}
    monkeypatch.setattr(_kept.provenance, "lasting", lambda: facts)
    assert cli.main(["bench", "gowalla", "--model=lightgcn", "--seeds=1", f"--out={chosen}"]) == 0
    command = ["bench", "gowalla_shards", f"--chosen={chosen}", f"--out={path}", f"--keep={keep}"]
    assert cli.main(command) == 0
    first = pd.read_csv(path).set_index(["method", "stage"])
    assert set(first.index) == {(m, s) for m in gowalla_shards.METHODS for s in ("before", "after")}
    assert (first["recall"] > 0.1).all() and (first["shards_touched"] == 2).all()
    assert first["settings"].str.contains("batch_size=16 n_epochs=60 n_shards=2").all()

    path.unlink()  # with what was kept, the same numbers
    assert cli.main([*command, "--method", "receraser"]) == 0
    again = pd.read_csv(path).set_index(["method", "stage"])
    names = ["recall", "ndcg", "membership"]
    pd.testing.assert_frame_equal(again[names], first.loc[again.index, names])

    whole = gowalla.read(None)
    model = models.load("lightgcn")(**settings | {"batch_size": 16})
    method, ones = methods.load("sisa")(model, n_shards=2), jnp.ones_like(whole.train.values)
    asked = dict(gowalla_forgetting.requests(jax.random.key(0), whole.train))["5 %"]
    state, _ = jax.jit(method.fit)(jax.random.key(0), whole.train, ones)
    state, _ = jax.jit(method.unlearn)(jax.random.key(0), state, whole.train, asked)
    found = metrics.evaluate(
        method.factors(state, whole.train, asked.after), whole, asked, ks=(gowalla.K,)
    )
    for name in (f"recall@{gowalla.K}", "membership"):
        own = first.loc[("sisa", "after"), name.split("@")[0]]
        np.testing.assert_allclose(own, found[name], atol=1e-3)


def test_a_kept_model_is_read_where_commit_name_and_arguments_are_the_same(
    tmp_path, monkeypatch, capsys
):
    facts = {"git_sha": "a", "dirty": False}
    monkeypatch.setattr(_kept.provenance, "lasting", lambda: facts)
    ials = models.load("ials")(dim=2, alpha=4.0, reg=1.0, max_sweeps=1)
    train, key = toy(), jax.random.key
    ones, trained = jax.numpy.ones_like(train.values), []
    clocked = _kept.clock.timed
    monkeypatch.setattr(_kept.clock, "timed", lambda *a: trained.append(1) or clocked(*a))

    def fit(name="ials", seed=0, weights=ones, folder=str(tmp_path)):
        return _kept.Kept(folder).fit(ials, name, key(seed), train, weights)

    (first, seconds), (again, the_same) = fit(), fit()
    assert len(trained) == 1 and seconds == the_same > 0
    jax.tree.map(np.testing.assert_array_equal, again, first)
    fit("other"), fit(seed=1), fit(weights=ones.at[0].set(0)), fit(folder=None)
    assert len(trained) == 5 and len(list(tmp_path.iterdir())) == 4
    facts["git_sha"] = "b"
    fit()
    assert len(trained) == 6
    for unknown in (True, None):
        facts["dirty"] = unknown
        assert fit(folder=None) and cli.main(["bench", "gowalla", f"--keep={tmp_path}"]) == 2
        assert "needs a git checkout without changes" in capsys.readouterr().err


@pytest.mark.slow
def test_an_exact_change_is_judged_and_taken_back(tmp_path, monkeypatch, as_published, capsys):
    chosen, path = tmp_path / "gowalla.csv", tmp_path / "exact.csv"
    command = ["bench", "gowalla_exact", f"--chosen={chosen}", f"--out={path}"]
    assert cli.main(["bench", "gowalla", "--seeds=1", f"--out={chosen}"]) == 0
    assert cli.main(command) == 2
    assert "has no ease; first: " in capsys.readouterr().err
    monkeypatch.setitem(gowalla.GRIDS, "ease", [{"reg": 5.0}, {"reg": 50.0}])
    assert cli.main(["bench", "gowalla", "--model=ease", f"--out={chosen}"]) == 0
    monkeypatch.setattr(gowalla_forgetting, "REQUESTS", {"1 user": 1, "10 %": 0.1})
    assert cli.main(command) == 0
    rows = pd.read_csv(path).set_index(["request", "way"])
    assert len(rows) == 4
    changed, kept = rows.xs("closed_form", level="way"), rows.xs("nothing", level="way")
    assert (changed["residual"] < 1e-5).all() and changed["rank"].gt([0, 1]).all()
    assert changed.loc["10 %", "membership"] < 0.6 < kept.loc["10 %", "membership"]

    whole, settings = gowalla.read(None), gowalla_forgetting.best(chosen, "ease")
    model = models.load("ease")(**settings)
    for request, asked in gowalla_exact.requests(jax.random.key(0), whole.train):
        for way, weights in (("nothing", asked.before), ("closed_form", asked.after)):
            trained, _ = model.fit(None, whole.train, weights)
            served = model.factors(trained, whole.train, asked.after)
            found = metrics.evaluate(served, whole, asked, ks=(gowalla.K,))
            for name in (f"recall@{gowalla.K}", "membership"):
                own = rows.loc[(request, way), name.split("@")[0]]
                np.testing.assert_allclose(own, found[name], atol=1e-3)
