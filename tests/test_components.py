"""Where the spread of a number comes from: seeds of the split, of training and of unlearning."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import toy_runs

from experiments import cli, figures, statistics
from experiments.config import choice, grid, reading
from experiments.errors import Refused
from experiments.figures import _tables

TRUE = (2.0, 0.5, 1.0)


def nested(rng, shape, deviations, missing=0):
    """Values of draws within draws within draws, and the labels of the first two levels."""
    a, b, c = shape
    outer, inner = np.repeat(np.arange(a), b * c), np.repeat(np.tile(np.arange(b), a), c)
    values = rng.normal(0, deviations[0], a)[outer] + rng.normal(0, deviations[2], a * b * c)
    values += rng.normal(0, deviations[1], (a, b))[outer, inner]
    kept = np.sort(rng.permutation(a * b * c)[missing:])
    return values[kept], outer[kept], inner[kept]


@pytest.mark.parametrize(("shape", "missing"), [((5, 3, 2), 0), ((6, 3, 3), 8)])
def test_variance_components_are_unbiased_and_their_intervals_hold_the_truth(shape, missing):
    rng = np.random.default_rng(4)
    found = [statistics.components(*nested(rng, shape, TRUE, missing)) for _ in range(700)]
    for level, true in enumerate(TRUE):
        held = np.mean([x[level].low <= true <= x[level].high for x in found])
        assert abs(held - 0.95) < 0.03
        mean = np.mean([x[level].variance for x in found])
        slack = 0.15 if true > 0.5 else 0.25  # a small one is cut off at 0 now and then
        assert mean == pytest.approx(true**2, abs=slack + 0.1 * true**2)
    assert all(abs(sum(part.share for part in x) - 1) < 1e-9 for x in found)


def test_a_balanced_table_by_hand():
    values = [0, 1, 3, 3, 2, 5]
    between, within = statistics.components(values, [0, 0, 1, 1, 2, 2])
    means, inside = np.array([0.5, 3.0, 3.5]), (0.5 + 0 + 4.5) / 3
    assert within.variance == pytest.approx(inside)
    assert between.variance == pytest.approx(means.var(ddof=1) - inside / 2)
    assert (between.n, between.freedom, within.n, within.freedom) == (3, 2, 6, 3)
    alone = statistics.components(values)[0]
    assert alone.value == pytest.approx(np.std(values, ddof=1))  # one level: the plain one,
    assert alone.low == pytest.approx(alone.value * (5 / 12.8325) ** 0.5, rel=1e-4)  # chi-square
    assert alone.high == pytest.approx(alone.value * (5 / 0.831212) ** 0.5, rel=1e-4)


def test_what_does_not_vary_is_nothing_and_of_two_draws_no_interval_is_stated():
    same = statistics.components([1.0] * 6, [0, 0, 1, 1, 2, 2])
    assert [(x.value, x.low, x.high) for x in same] == [(0, 0, 0)] * 2
    assert math.isnan(same[0].share)
    two, within = statistics.components([0, 1, 2, 4], [0, 0, 1, 1])
    assert math.isnan(two.low) and two.n == 2 and within.low < within.value < within.high
    noise, _ = statistics.components([0, 5, 2, 6, 1, 9], [0, 0, 1, 1, 2, 2])
    assert noise.value == 0 == noise.low and noise.high > 0  # estimated below zero
    for wrong in (([1.0, 2.0], [0, 1]), ([1.0, math.nan, 1.0], [0, 0, 1]), ([1.0, 2.0], [0])):
        with pytest.raises(ValueError, match="components: "):
            statistics.components(*wrong)


def cells(folder, *overrides, text=toy_runs.NESTED):
    return grid.cells(reading.read(toy_runs.write(folder, text), overrides))


def test_seeds_of_splits_and_of_unlearning_are_axes_and_leave_other_ids_alone(tmp_path):
    found, plain = cells(tmp_path), cells(tmp_path, text=toy_runs.TOML)
    assert len(found) == 6 * len(plain)
    axes = {(c.axes["split.seed"], c.axes["seed"], c.axes["unlearn_seed"]) for c in found}
    assert len(axes) == 18 and len({grid.label(c) for c in found if c.axes["ratio"] == 0.1})
    assert "split.seed=2" in grid.label(found[-1]) and "unlearn_seed=1" in grid.label(found[-1])
    assert grid.named(found[-1], "data") == "movietweetings split.seed=2"
    one = choice.only(found, ["split.seed=1,seed=2,unlearn_seed=0,method=retrain"])
    assert {c.spec["split"]["seed"] for c in one} == {1} and len(one) == 2
    # a list of one seed is that seed; no seeds of unlearning are none
    wanted = [c.id for c in cells(tmp_path, "split.seed=4", text=toy_runs.TOML)]
    assert [c.id for c in cells(tmp_path, "split.seed=[4]", "unlearn_seeds=[]")] == wanted
    first, second = [c for c in found if c.axes["method"] == "retrain"][:2]
    shared = [n for n in first.spec if n != "unlearn_seed"]
    assert first.key(*shared) == second.key(*shared)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("split.seed=[]", "split.seed: empty"),
        ("split.seed=0,0", "the same cell twice"),
        ("split.seed=[-1]", "split.seed"),
        ("unlearn_seeds=0,0", "the same cell twice"),
        ("unlearn_seeds=a", "unlearn_seeds"),
        ("unlearn_seed=0", "did you mean 'unlearn_seeds'"),
    ],
)
def test_wrong_seeds_are_refused(tmp_path, override, words):
    with pytest.raises(Refused, match=words.replace(".", r"\.")):
        cells(tmp_path, override)


def test_cells_that_differ_in_the_seed_of_unlearning_share_training(tmp_path):
    path = toy_runs.small(tmp_path, toy_runs.TOML.partition("[methods.unlearn_als]")[0])
    words = [path, "seeds=0", "split.seed=0,1", "unlearn_seeds=3,4", "request.ratio=0.1", "ks=5"]
    more = ["figures=components", "--results", str(tmp_path)]
    assert cli.main(["run", *words, *more, "--quiet"]) == 0
    rows = [json.loads(x.read_text()) for x in sorted((tmp_path / "toy/cells").glob("*.json"))]
    assert len(rows) == 4
    for split in (0, 1):
        a, b = (row for row in rows if row["spec"]["split"]["seed"] == split)
        for name in ("fit_seconds", "reference_seconds"):
            assert a["timings"][name] == b["timings"][name]  # of one run
        stages = [[x for x in row["metrics"] if x[0] == "after"] for row in (a, b)]
        others = [[x for x in row["metrics"] if x[0] != "after"] for row in (a, b)]
        assert stages[0] != stages[1] and others[0] == others[1]
    assert cli.main(["collect", *words, *more]) == 0
    table = pd.read_csv(tmp_path / "toy" / "cells.csv")
    assert set(table["unlearn_seed"]) == {3, 4} and set(table["split.seed"]) == {0, 1}
    assert cli.main(["figures", *words, *more]) == 0
    drawn = pd.read_csv(tmp_path / "toy" / "components.csv")
    assert set(drawn["level"]) == {"split", "unlearning"}  # one training seed: no level


def table(folder, text, change=lambda cell, row: row):
    path = toy_runs.write(folder, text)
    toy_runs.fill(path, folder, change)
    assert cli.main(["collect", path, "--results", str(folder)]) == 0
    return _tables.read(folder / "toy")


def test_the_figure_finds_the_level_that_varies(tmp_path):
    def by_split(cell, row):
        """Distances that follow the split, and a little the repetition of unlearning."""
        size = {0: 1.0, 1: 2.0, 2: 3.0}[cell.axes["split.seed"]]
        noise = 0.01 * toy_runs.luck(cell.id)
        row["metrics"] = [
            [*x[:4], size + noise] if x[:3] == ["after", "all", "distance"] else x
            for x in row["metrics"]
        ]
        return row

    figure, frame = figures.load("components")(table(tmp_path, toy_runs.NESTED, by_split))
    assert "n = 3 seeds of split, 9 seeds of training, 18 seeds of" in figure.get_supxlabel()
    here = frame[frame["quantity"] == "distance to the reference"]
    split = here[here["level"] == "split"]
    assert len(split) == 10  # lines and ratios; a seed of unlearning is no line here
    assert split["value"].to_numpy() == pytest.approx(1.0, abs=0.02)
    assert (split["share"] > 0.99).all() and (split["low"] > 0.4).all()
    assert (here.loc[here["level"] == "unlearning", "value"] < 0.01).all()
    assert {"local residual", "test NDCG@10", "test AUC"} <= set(frame["quantity"])


def test_the_figure_needs_two_levels(tmp_path):
    with pytest.raises(Refused, match="training varies alone"):
        figures.load("components")(table(tmp_path, toy_runs.TOML))


def test_other_figures_take_repetitions_of_unlearning_apart(tmp_path):
    """As values of one mean they would not be independent."""
    found = table(tmp_path, toy_runs.NESTED)
    numbers = figures.load("recovery")(found)[1]
    assert (numbers["n"] == 3).all() and {"split.seed"} <= set(numbers)
    assert {"retrain unlearn_seed=0", "retrain unlearn_seed=1"} <= set(numbers["line"])
