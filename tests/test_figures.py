"""Figures and the page are drawn from tables alone, with stable bytes, saying what they show."""

import math
import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import toy_runs

from experiments import cli, figures, plugins
from experiments.errors import Refused
from experiments.figures import _plot, _tables


@pytest.fixture(autouse=True)
def closed():
    """Figures stay open until told otherwise, and matplotlib warns of many."""
    yield
    plt.close("all")


SHOWN = 'figures = ["pass_curves", "ratio_curves", "tolerance_times"]'
ONE = toy_runs.TOML.replace(SHOWN, 'figures = ["ratio_curves"]')  # to draw takes seconds


def drawn(folder, change=lambda cell, row: row, text=toy_runs.TOML):
    """A results folder of made-up numbers with its tables, figures and page."""
    path = toy_runs.write(folder, text)
    toy_runs.fill(path, folder, change)
    for command in ("collect", "figures", "report"):
        assert cli.main([command, path, "--results", str(folder)]) == 0
    return folder / "toy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("drawn"))


def test_the_same_cells_give_the_same_bytes(folder, tmp_path):
    again = drawn(tmp_path)
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert len(names) == 3 + 3 * 3 + 1  # tables, figures in three forms, page
    for name in names:
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name


OF_CELLS = [n for n in plugins.names(plugins.FIGURES) if not figures.of_folder(n)]


@pytest.mark.parametrize("name", OF_CELLS)
def test_a_figure_says_n_interval_and_what_was_left_out(tmp_path, name):
    def fail(cell, row):
        if cell.axes["seed"] == 2 and cell.axes["method"] == "retrain":
            row |= {"status": "failed", "reason": "ValueError: no", "metrics": [], "info": {}}
        return row

    path = toy_runs.write(tmp_path, toy_runs.DRAWABLE.get(name, toy_runs.TOML))
    made = toy_runs.fill(path, tmp_path, fail)
    failed = sum(cell.axes["seed"] == 2 and cell.axes["method"] == "retrain" for cell in made)
    assert cli.main(["collect", path, "--results", str(tmp_path)]) == 0
    figure, frame = figures.load(name)(_tables.read(tmp_path / "toy"))
    words = figure.get_supxlabel()
    interval = "95% interval" if name == "components" else "95% t-interval"
    assert re.search(r"n = .*3 seeds", words) and interval in words
    assert f"{failed} cells left out" in words
    value = frame["value" if name == "components" else "mean"]
    assert (frame["low"] <= value).all() and (value <= frame["high"]).all()
    for axis in figure.axes:
        assert axis.get_xlabel() and axis.get_ylabel()


def test_pass_curves_start_at_the_undeleted_model_and_follow_the_swept_passes(folder):
    frame = pd.read_csv(folder / "pass_curves.csv")
    ours = frame[(frame["line"] == "unlearn_als") & (frame["quantity"] == "distance")]
    assert ours["passes"].tolist() == [1, 2]
    zero = frame[(frame["line"] == "undeleted") & (frame["passes"] == 0)]
    assert set(zero["quantity"]) == {"ndcg", "loss", "distance"}
    at = zero[(zero["quantity"] == "distance") & (zero["ratio"] == 0.1)]
    assert at["mean"].item() == pytest.approx(0.3)  # what the made-up undeleted model has
    goal = frame[(frame["line"] == "reference") & (frame["quantity"] == "loss")]
    assert (goal["mean"] == 0).all()  # the loss is drawn relative to the reference


def test_als_curves_show_auc_or_else_rmse_and_membership(folder):
    tables = _tables.read(folder)
    for name in ("auc_unseen", "rmse"):
        renamed = tables.metrics.assign(metric=tables.metrics["metric"].replace("auc", name))
        figure, frame = figures.load("als_curves")(tables._replace(metrics=renamed))
        assert set(frame["quantity"]) == {name, "loss", "distance", "membership"}
        assert frame["mean"].notna().all() and "n = 3" in figure.get_supxlabel()


def test_ratio_curves_take_each_method_at_its_deepest_budget(folder):
    frame = pd.read_csv(folder / "ratio_curves.csv")
    assert set(frame["line"]) == {
        "undeleted",
        "reference",
        "retrain",
        "unlearn_als max_sweeps=2",
        "ladder tol=0.001",
    }
    assert {"test AUC, user or item asked", "test AUC, user and item asked"} < set(
        frame["quantity"]
    )
    ladder = frame[(frame["line"] == "ladder tol=0.001") & frame["quantity"].str.contains("NDCG")]
    assert ladder["ratio"].tolist() == [0.01, 0.1]


def test_tolerance_times_show_the_ladder_and_where_it_was_not_reached(folder):
    frame = pd.read_csv(folder / "tolerance_times.csv")
    seconds = frame[(frame["quantity"] == "seconds") & (frame["ratio"] == 0.1)]
    assert dict(zip(seconds["tolerance"], seconds["mean"].round(6), strict=True)) == {
        0.1: 0.4,
        0.01: 0.8,
        0.001: 1.2,
    }
    assert (frame["reached"] == 1).all()


def frame_of(name, folder):
    path = toy_runs.write(folder, toy_runs.DRAWABLE.get(name, toy_runs.TOML))
    toy_runs.fill(path, folder)
    assert cli.main(["collect", path, "--results", str(folder)]) == 0
    found = _tables.read(folder / "toy")
    return found, figures.load(name)(found)[1]


def test_recovery_is_the_share_of_what_retraining_restores_beside_the_noise_of_retraining(tmp_path):
    found, frame = frame_of("recovery", tmp_path)
    assert set(frame["quantity"]) == {
        "AUC recovered",
        "recovered, user or item asked",
        "recovered, user and item asked",
        "local residual",
    }
    cells = found.cells.query("method == 'ladder' and ratio == 0.1 and `method.tol` == 0.001")
    parts = [_tables.value(found, s, "distance", "all")[cells["cell"]] for s in ("before", "after")]
    here = frame[(frame["line"] == "ladder tol=0.001") & (frame["ratio"] == 0.1)]
    means = here.set_index("quantity")["mean"]
    assert means["local residual"] == pytest.approx((parts[1] / parts[0]).mean())
    # made-up accuracy falls with the distance, so what is recovered is the rest of it
    assert means["AUC recovered"] == pytest.approx(1 - means["local residual"])
    assert "retrain" in set(frame["line"])


def test_the_pruning_curve_follows_the_kept_share_and_spillover_its_switch(tmp_path):
    frame = frame_of("keep_curves", tmp_path)[1]
    rows = frame[(frame["quantity"] == "seconds") & (frame["ratio"] == 0.1)]
    assert sorted(set(rows["keep"])) == [0.2, 1.0] and rows["line"].nunique() == 2
    frame = frame_of("spillover", tmp_path)[1]
    assert set(frame["spillover"]) == {"true", "false"}


def test_times_are_set_beside_training_again(tmp_path):
    frame = frame_of("method_times", tmp_path)[1]
    row = frame[(frame["line"] == "ladder tol=0.001") & (frame["ratio"] == 0.1)].iloc[0]
    assert row["mean"] == pytest.approx(1.2) and row["faster"] == pytest.approx(2.0 / 1.2)
    again = frame[frame["line"] == "training again (reference)"]
    assert (again["faster"] == 1).all()


def test_a_figure_whose_numbers_are_not_there_says_what_to_sweep(tmp_path):
    cut = toy_runs.TOML[: toy_runs.TOML.index("[methods.unlearn_als]")]
    path = toy_runs.write(tmp_path, cut)
    toy_runs.fill(path, tmp_path)
    assert cli.main(["collect", path, "--results", str(tmp_path)]) == 0
    found = _tables.read(tmp_path / "toy")
    with pytest.raises(Refused, match="max_sweeps"):
        figures.load("pass_curves")(found)
    with pytest.raises(Refused, match=r"method\.tol"):
        figures.load("tolerance_times")(found)
    for name in ("keep_curves", "spillover"):
        with pytest.raises(Refused, match=name):
            figures.load(name)(found)


def test_text_stays_text_and_dates_stay_out(folder):
    for name in ("pass_curves", "ratio_curves", "tolerance_times"):
        svg = (folder / f"{name}.svg").read_text()
        assert "<text" in svg and "dc:date" not in svg
        pdf = (folder / f"{name}.pdf").read_bytes()
        assert b"CreationDate" not in pdf and b"/Type3" not in pdf


def test_the_interval_is_students(folder):
    mean, half, n = _tables.interval(pd.Series([1.0, 2.0, 3.0, float("nan")]))
    assert (mean, n) == (2.0, 3)
    assert half == pytest.approx(4.302653 / 3**0.5, rel=1e-6)  # t at 97.5 %, two degrees
    assert _tables.interval(pd.Series([5.0])) == (5.0, 0.0, 1)


def test_the_page_is_one_offline_file_that_opens_with_two_sentences(folder):
    page = (folder / "report.html").read_text()
    assert not re.search(r"<script|<link|<img|https?://(?!www\.w3\.org)", page)
    assert "url(http" not in page
    assert page.count("<svg") == 3
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))  # one figure's clip path must not catch another
    for target in re.findall(r'(?:href="#|url\(#)([^")]+)', page):
        assert target in ids
    opening = re.search(r"<p>(.*?)</p>", page, re.DOTALL)[1]
    assert opening.startswith("Forgetting film ratings comes close to retraining. It takes a few")
    assert "30 of 30 cells finished" in opening and "retrainings" in opening
    assert "width=device-width" in page


def test_the_page_names_the_nearest_method_by_its_distance_on_all_cells(folder):
    opening = re.search(r"<p>(.*?)</p>", (folder / "report.html").read_text(), re.DOTALL)[1]
    cells = pd.read_csv(folder / "cells.csv").set_index("cell")
    rows = pd.read_csv(folder / "metrics.csv").query("stage == 'after' and metric == 'distance'")
    far = rows[rows["split"] == "all"].set_index("cell")["value"]
    here = cells[(cells["method"] == "ladder") & (cells["method.tol"] == 1e-3)]
    mean = far[here[here["ratio"] == 0.01].index].mean()
    again = cells[(cells["method"] == "retrain") & (cells["ratio"] == 0.01)]
    assert (
        "nearest to retraining is ladder tol=0.001 (movietweetings, ials, 1% forgotten)" in opening
    )
    assert f"distance of {mean:.3g}, where two retrainings" in opening
    assert f"{far[again.index].mean():.3g} apart" in opening


def test_a_number_of_fewer_cells_than_its_row_says_of_how_many(tmp_path):
    def batched(cell, row):
        if cell.axes["seed"]:  # seconds of cells of one batch are not told apart
            row["timings"] |= {"unlearn_seconds": None}
        return row

    page = (drawn(tmp_path, batched, ONE) / "report.html").read_text()
    lines = [re.findall(r"<td[^>]*>([^<]*)</td>", line) for line in page.splitlines()]
    found = [x for x in lines if x[2:4] == ["ladder", "1% forgotten"] and x[5] == "0.001"]
    assert [line[-1] for line in found] == ["3", "3"]  # metrics, and times
    assert found[1][6:] == ["1.2 (n 1)", "2", "2", "12", "3"]
    assert " (n " not in "".join(found[0])


def test_the_page_lists_cells_without_numbers_and_escapes_their_reasons(tmp_path):
    def skip(cell, row):
        if cell.axes["method"] == "ladder":
            row |= {"status": "skipped", "reason": "needs <als>", "metrics": [], "info": {}}
        return row

    page = (drawn(tmp_path, skip, ONE) / "report.html").read_text()
    assert "needs &lt;als&gt;" in page and "Cells without numbers" in page
    assert "12 of 30 cells finished" in page


def test_the_inlined_figures_are_well_formed(folder):
    page = (folder / "report.html").read_text()
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)


def test_a_figure_that_does_not_apply_becomes_a_note_and_stops_no_other(tmp_path, capsys):
    """And the page says so; once it applies again the note is gone."""
    text = toy_runs.TOML.replace(SHOWN, 'figures = ["exposure", "ratio_curves"]')
    folder = drawn(tmp_path, text=text)
    assert "exposure: needs a request" in (folder / "exposure.note").read_text()
    assert (folder / "ratio_curves.svg").is_file() and "exposure.note" in capsys.readouterr().out
    assert "exposure is not drawn: exposure: needs" in (folder / "report.html").read_text()
    (folder / "ratio_curves.note").write_text("old")
    path = str(tmp_path / "toy.toml")
    assert cli.main(["figures", path, "--results", str(tmp_path)]) == 0
    assert not (folder / "ratio_curves.note").exists()


def verdict(model, method, word, n, *left):
    parts = [*left, 0.1, 0.05, 0.15, 0.1, 0.05, 0.15, 1, 0.5, 1.5]
    names = [f"{p}{e}" for p in ("left", "told", "excess", "harm") for e in ("", "_low", "_high")]
    row = {"data": "d", "model": model, "kind": "random", "ratio": 0.01, "count": None}
    row |= {"method": method, "claim": "exact", "verdict": word, "n_models": n}
    return row | dict(zip(names, parts if n > 1 else [left[0]] + [None] * 11))


def test_verdicts_are_drawn_and_open_the_page(tmp_path):
    folder = drawn(tmp_path, text=ONE)
    assert "<h2>Verdict</h2>" not in (folder / "report.html").read_text()
    rows = [
        verdict("m", "undeleted", "undeleted", 100, 1, 1, 1),
        verdict("m", "good", "as retrained", 100, 0.01, -0.01, 0.03),
        verdict("ease", "closed", "as retrained", 1, 1e-6),
    ]
    pd.DataFrame(rows).to_csv(folder / "verdict.csv", index=False)
    figure, frame = figures.load("verdicts")(folder)
    words = figure.get_supxlabel()
    assert "n = 100 models" in words and "95% interval" in words and len(frame) == 3
    assert [t.get_text() for t in figure.axes[1].get_yticklabels()][1] == "good: as retrained"
    assert cli.main(["report", str(tmp_path / "toy.toml"), "--results", str(tmp_path)]) == 0
    page = (folder / "report.html").read_text()
    assert page.index("<h2>Verdict</h2>") < page.index("<svg")
    assert "0.01 [-0.01, 0.03]" in page and "1e-06" in page


def test_seconds_stand_beside_verdicts_where_the_cells_were_run(tmp_path):
    folder = drawn(tmp_path, text=toy_runs.TOML.replace(SHOWN, "figures = []"))
    table = pd.read_csv(folder / "cells.csv")
    table = table.drop_duplicates(["data", "model", "kind", "ratio", "count", "method"])
    asked = table[["data", "model", "kind", "ratio", "count"]].iloc[0].to_dict()
    told = verdict("m", "retrain", "as retrained", 100, 0.01, -0.01, 0.03) | asked
    rows = [told, told | {"method": "elsewhere"}, told | {"kind": "items"}]
    pd.DataFrame(rows).to_csv(folder / "verdict.csv", index=False)
    found = _tables.with_seconds(folder, pd.DataFrame(rows))
    assert found["seconds"].notna().tolist() == [True, False, False]
    assert (found["seconds"][0] > 0) and found["seconds_n"][0] >= 1 and found["again"][0] > 0
    figure, frame = figures.load("pareto")(folder)
    assert len(frame) == 1 and "requests timed" in figure.get_supxlabel()
    assert cli.main(["report", str(tmp_path / "toy.toml"), "--results", str(tmp_path)]) == 0
    assert f"{found['seconds'][0]:.3g}" in (folder / "report.html").read_text()
    for name in ("cells", "metrics", "timings"):
        (folder / f"{name}.csv").unlink()
    with pytest.raises(Refused, match=r"first: .* run"):
        figures.load("pareto")(folder)


def test_settings_are_matched_however_they_are_spelled():
    same = [("ials dim=64 reg=30.0", math.nan), ("ials dim=64.0 reg=30", math.nan)]
    assert len({_tables._key(x) for x in same}) == 1
    assert _tables._key(["a tol=0.1"]) != _tables._key(["a tol=0.01"])


def test_what_releases_reveal_is_drawn_where_requests_differ_in_size(tmp_path):
    def rows(*counts):
        return pd.DataFrame([
            {"data": "d", "model": "m", "method": "f", "release": release, "kind": "users",
             "count": count, "seed": seed, "r_precision": 0.5 + 0.01 * seed,
             "popularity_r_precision": 0.2}
            for release in ("unlearnt", "unlearnt, int8") for count in counts for seed in range(3)
        ])  # fmt: skip

    rows(1, 10).to_csv(tmp_path / "reconstruction.csv", index=False)
    figure, frame = figures.load("releases")(tmp_path)
    assert "n = 3 to 3 draws" in figure.get_supxlabel() and "95%" in figure.get_supxlabel()
    assert set(frame["line"]) == {"unlearnt", "unlearnt, int8", "popularity alone"}
    rows(1).to_csv(tmp_path / "reconstruction.csv", index=False)
    with pytest.raises(Refused, match="several sizes"):
        figures.load("releases")(tmp_path)
    with pytest.raises(Refused, match=r"first: .* evidence"):
        figures.load("verdicts")(tmp_path)


def test_a_method_has_one_colour_in_all_figures():
    few = _plot.looks(["ifru", "scif", "mine"])
    many = _plot.looks(["retrain", "mine", "unlearn_als x=1", "unlearn_als x=10", "scif", "ifru"])
    for name in ("ifru", "scif"):
        assert few[name]["color"] == many[name]["color"]
    ours = [many[f"unlearn_als x={x}"] for x in (1, 10)]
    assert ours[0]["color"] == ours[1]["color"] and ours[0]["marker"] != ours[1]["marker"]
    for found in (few, many, _plot.looks([f"line {n}" for n in range(20)])):
        assert len({(look["color"], look["marker"]) for look in found.values()}) == len(found)
    one = _plot.looks([f"unlearn_als x={n}" for n in range(3)])
    assert len({look["color"] for look in one.values()}) == 3
    assert len({look["color"] for look in few.values()}) == 3  # "mine" has a colour of its own
