"""The figures over kinds of requests: what they plot is what the tables say."""

import pandas as pd
import pytest
import toy_runs

from experiments import cli, figures
from experiments.errors import Refused
from experiments.figures import _tables


def found(folder, text, change=lambda cell, row: row):
    path = toy_runs.write(folder, text)
    toy_runs.fill(path, folder, change)
    assert cli.main(["collect", path, "--results", str(folder)]) == 0
    return _tables.read(folder / "toy")


def test_an_empty_request_is_compared_with_the_model_without_unlearning_by_seed(tmp_path):
    def pay(cell, row):
        """The first method is worse by 0.1 in seed 0, by 0.2 in seed 1 and by 0.3 in seed 2."""
        if cell.axes["method"] == "unlearn_als":
            for found in row["metrics"]:
                if found[0] == "after" and found[2] == "auc":
                    found[4] = 0.9 + 0.01 * toy_runs.luck("seed", cell.axes["seed"]) - 0.05 * 0.2
                    found[4] -= 0.1 * (1 + cell.axes["seed"])
        return row

    figure, frame = figures.load("empty_request")(found(tmp_path, toy_runs.EMPTY, pay))
    auc = frame[frame["quantity"] == "test AUC"].set_index("line")
    mine = auc.loc["unlearn_als max_sweeps=1"]
    assert mine["change"] == pytest.approx(-0.2)  # exact, for pairing removes the luck of seeds
    half = 4.302653 * 0.1 / 3**0.5
    assert mine["change_high"] - mine["change"] == pytest.approx(half, rel=1e-5)
    assert pd.isna(auc.loc["original", "change"])
    assert len(figure.axes) == 2  # NDCG and AUC


def test_deletion_kinds_hold_every_kind_method_and_stage(tmp_path):
    _, frame = figures.load("deletion_kinds")(found(tmp_path, toy_runs.KINDS))
    assert set(frame["kind"]) == {"random", "users"}
    here = frame[(frame["ratio"] == 0.1) & (frame["kind"] == "users")]
    far = here[here["quantity"].str.contains("distance")].set_index("line")["mean"]
    assert far["undeleted"] == pytest.approx(0.3) and "reference" not in far.index
    asked = here[here["quantity"].str.contains("membership")].set_index("line")["mean"]
    assert asked["undeleted"] > asked["retrain"] > asked["reference"]


@pytest.mark.parametrize("text", [toy_runs.SPAM, toy_runs.CANARIES])
def test_exposure_is_drawn_before_after_and_for_retraining(tmp_path, text):
    _, frame = figures.load("exposure")(found(tmp_path, text))
    here = frame[frame["ratio"] == 0.1].set_index(["stage", "line"])["mean"]
    assert here["before", "retrain"] > here["after", "retrain"] > here["reference", "reference"]


def test_accumulated_time_is_training_plus_requests(tmp_path):
    _, frame = figures.load("break_even")(found(tmp_path, toy_runs.TOML))
    one = frame[frame["quantity"].str.contains("one request") & (frame["line"] == "ladder tol=0.1")]
    assert one["x"].tolist() == [0.01, 0.1] and one["mean"].tolist() == pytest.approx([0.4, 0.4])
    total = frame[frame["quantity"].str.contains("accum") & (frame["line"] == "ladder tol=0.1")]
    at = dict(zip(total["x"], total["mean"], strict=True))
    assert at[1] == pytest.approx(2.4) and at[1000] == pytest.approx(402.0)


@pytest.mark.parametrize("name", ["empty_request", "deletion_kinds", "exposure"])
def test_a_figure_whose_requests_are_not_there_says_so(tmp_path, name):
    with pytest.raises(Refused, match="kind"):
        figures.load(name)(found(tmp_path, toy_runs.TOML))


def test_break_even_needs_an_amount(tmp_path):
    with pytest.raises(Refused, match="count"):
        figures.load("break_even")(found(tmp_path, toy_runs.EMPTY))


def test_they_are_drawn_by_the_command_and_stay_text(tmp_path):
    path = toy_runs.write(tmp_path, toy_runs.KINDS)
    toy_runs.fill(path, tmp_path)
    words = [path, "figures=deletion_kinds,break_even", "--results", str(tmp_path)]
    for command in ("collect", "figures"):
        assert cli.main([command, *words]) == 0
    for name in ("deletion_kinds", "break_even"):
        svg = (tmp_path / "toy" / f"{name}.svg").read_text()
        assert "<text" in svg and "dc:date" not in svg
