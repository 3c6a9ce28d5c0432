"""``bench erase``: its table has a row for each request and way, and adds to what is there."""

import dataclasses

import jax.numpy as jnp
import pandas as pd
import pytest
from test_erase import TRAIN

from experiments import cli
from experiments.bench import erase, stream


@pytest.mark.slow  # compiles every way twice
def test_the_table_has_every_way_and_keeps_other_data(tmp_path, monkeypatch, capsys):
    train = dataclasses.replace(TRAIN, values=TRAIN.values.astype(jnp.float32))
    monkeypatch.setattr(erase, "_read", lambda *_: train)
    monkeypatch.setattr(erase, "REQUESTS", {"10 % of users": 0.1})
    small = {"dim": 3, "reg": 5.0, "alpha": 10.0}
    sets = {name: (*found[:2], small) for name, found in erase.SETS.items()}
    monkeypatch.setattr(erase, "SETS", sets)
    path = tmp_path / "erase.csv"
    for name in ("ml1m", "gowalla", "ml1m"):
        assert cli.main(["bench", "erase", f"--data={name}", "--seeds=1", f"--out={path}"]) == 0
    rows = pd.read_csv(path)
    assert rows.groupby("data").size().to_dict() == {"ml1m": 10, "gowalla": 10}
    by_way = rows.groupby("way")[["distance", "moved", "overlap"]].mean()
    assert by_way.loc["nothing", "moved"] < 1e-6 and by_way.loc["nothing", "overlap"] == 1
    assert by_way.loc["retrained", "distance"] < 1e-6
    assert by_way.loc["local", "moved"] < by_way.loc["passes, 10", "moved"]
    assert by_way.loc["EASE, closed_form", "distance"] < 1e-4 < by_way.loc["local", "distance"]
    assert "local" in capsys.readouterr().out


def test_a_run_of_fewer_seeds_and_ways_keeps_the_rows_of_the_others(tmp_path, monkeypatch):
    def measure(name, train, seed, ways, repeats):
        for way in ("nothing", *ways):
            yield dict.fromkeys(erase.COLUMNS, 1.0) | {
                "data": name, "request": "1 user", "seed": seed, "way": way, "seconds": seconds
            }  # fmt: skip

    monkeypatch.setattr(erase, "_read", lambda *_: TRAIN)
    monkeypatch.setattr(erase, "_measure", measure)
    monkeypatch.setattr(erase, "_measure_ease", lambda *_: ())
    words, seconds = ["bench", "erase", f"--out={tmp_path}/erase.csv"], 1.5
    assert cli.main([*words, "--seeds=2"]) == 0
    first, seconds = pd.read_csv(tmp_path / "erase.csv"), 2.5
    assert cli.main([*words, "--seeds=1", "--ways", "local"]) == 0
    rows = pd.read_csv(tmp_path / "erase.csv")
    again = (rows["seed"] == 0) & rows["way"].isin(["nothing", "local"])
    assert len(rows) == len(first) == 2 * 6
    assert (rows.loc[again, "seconds"] == 2.5).all() and (rows.loc[~again, "seconds"] == 1.5).all()


@pytest.mark.slow  # likewise
def test_where_a_proof_is_another_way_it_has_a_row(tmp_path, monkeypatch):
    train = dataclasses.replace(TRAIN, values=TRAIN.values.astype(jnp.float64))
    monkeypatch.setattr(erase, "_read", lambda *_: train)
    monkeypatch.setattr(erase, "REQUESTS", {"10 % of users": 0.1})
    name, path = "ml1m-certified", tmp_path / "erase.csv"
    sets = {name: (*erase.ML1M, {"dim": 8, "reg": 40.0, "alpha": 3.0})}
    monkeypatch.setattr(erase, "SETS", sets)
    more = ["--seeds=1", "--repeats=1", f"--out={path}", "--ways", "certified, 1e-3"]
    assert cli.main(["bench", "erase", f"--data={name}", *more]) == 0
    rows = pd.read_csv(path).set_index("way")
    assert len(rows) == 4 and rows.loc["certified, 1e-3", "distance"] < 0.2


def test_a_way_that_a_set_does_not_have_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["bench", "erase", "--data=ml1m", "--ways", "certified, 1e-3"])
    assert "no way certified, 1e-3 for ml1m" in capsys.readouterr().err


def test_the_stream_has_a_row_for_each_way(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stream, "SIZES", {"n_users": 60, "n_items": 40})
    path = tmp_path / "stream.csv"
    more = ["--interactions=500", "--dim=3", "--requests=4", f"--out={path}"]
    assert cli.main(["bench", "stream", *more]) == 0
    rows = pd.read_csv(path)
    assert rows["n"].tolist() == [4, 3, 3] and (rows["p50"] > 0).all()
    assert "one user, local" in capsys.readouterr().out
