"""The figures of certified unlearning plot what the tables say."""

import math

import matplotlib.pyplot as plt
import pytest
import toy_runs

from experiments import cli, figures
from experiments.errors import Refused
from experiments.figures import _tables


@pytest.fixture(autouse=True)
def closed():
    """Figures stay open until told otherwise, and matplotlib warns of many."""
    yield
    plt.close("all")


def drawn(name, folder, text=toy_runs.CERTIFIED, change=lambda cell, row: row):
    path = toy_runs.write(folder, text)
    toy_runs.fill(path, folder, change)
    assert cli.main(["collect", path, "--results", str(folder)]) == 0
    return figures.load(name)(_tables.read(folder / "toy"))


def refuse_large_ridges(cell, row):
    if cell.spec["model"]["settings"]["reg"] == 10.0 and "certified" in row["info"]["unlearn"]:
        row["info"]["unlearn"]["certified"] = False
    return row


def test_the_grid_marks_what_was_not_certified_and_holds_both_accuracies(tmp_path):
    _, frame = drawn("certificate_grid", tmp_path, change=refuse_large_ridges)
    assert set(frame["quantity"]) == {"ndcg", "ndcg of plain ALS", "rank", "bound"}
    assert (frame[frame["model.reg"] == 5.0]["certified"] == 1).all()
    assert (frame[frame["model.reg"] == 10.0]["certified"] == 0).all()
    assert (frame[frame["quantity"] == "rank"]["mean"] == 3).all()


def test_times_stand_beside_the_cold_training_to_the_same_bound(tmp_path):
    _, frame = drawn("certificate_times", tmp_path)
    steps = frame[(frame["quantity"] == "steps") & (frame["model.reg"] == 5.0)]
    found = steps.set_index(["line", "method.tol"])["mean"]
    assert found["cold training", 1e-3] == 24 and found["1% forgotten", 1e-3] == 12
    seconds = frame[frame["quantity"] == "seconds"].set_index(["line", "method.tol", "model.reg"])
    assert seconds["mean"]["cold training", 1e-1, 5.0] == 2.0
    assert seconds["mean"]["10% forgotten", 1e-1, 5.0] == pytest.approx(0.4)


def test_the_slack_is_the_bound_over_the_true_distance(tmp_path):
    figure, frame = drawn("certificate_slack", tmp_path)
    assert frame["slack"].tolist() == pytest.approx([1.5] * len(frame))
    assert (frame["mean"] > frame["true"]).all()
    assert len(figure.axes) == 2  # one per ridge


@pytest.mark.parametrize("name", ["certificate_grid", "certificate_times", "certificate_slack"])
def test_without_certified_cells_the_figure_says_what_is_missing(tmp_path, name):
    with pytest.raises(Refused, match=name):
        drawn(name, tmp_path, toy_runs.TOML)


def prove_nothing(cell, row):
    """At the larger ridge in all seeds, at the smaller one in one: no bound is finite."""
    without = (0, 1, 2) if cell.spec["model"]["settings"]["reg"] == 10.0 else (1,)
    if "certified" in row["info"]["unlearn"] and cell.spec["seed"] in without:
        row["info"]["unlearn"] |= {"relative_bound": math.inf, "certified": False}
    return row


def note(figure):
    return " ".join(figure._supxlabel.get_text().split())


@pytest.mark.parametrize("name", ["certificate_grid", "certificate_times"])
def test_cells_of_which_nothing_was_proved_count_as_not_certified(tmp_path, name):
    figure, frame = drawn(name, tmp_path, change=prove_nothing)
    warm = frame[(frame["line"] != "cold training") & (frame["quantity"] != "bound")]
    for ridge, share in ((5.0, 2 / 3), (10.0, 0.0)):
        here = warm[warm["model.reg"] == ridge]
        assert len(here) and (here["n"] == 3).all()
        assert here["certified"].tolist() == pytest.approx([share] * len(here))
        assert here["unbounded"].tolist() == pytest.approx([1 - share] * len(here))
    bounds = frame[frame["quantity"] == "bound"]
    assert bounds.empty or (set(bounds["model.reg"]), set(bounds["n"])) == ({5.0}, {2})
    assert "16 of 24 certificates without a finite bound" in note(figure)


def test_a_slack_is_of_the_seeds_that_have_a_finite_bound(tmp_path):
    figure, frame = drawn("certificate_slack", tmp_path, change=prove_nothing)
    assert set(frame["model.reg"]) == {5.0} and set(frame["n"]) == {2}
    assert frame["slack"].tolist() == pytest.approx((frame["mean"] / frame["true"]).tolist())
    assert "16 of 24 certificates without a finite bound" in note(figure)
