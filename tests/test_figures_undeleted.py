"""What is called undeleted: the plainly trained model, whatever method comes first by name."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import toy_runs

from experiments import cli, figures
from experiments.commands import _queries
from experiments.errors import Refused
from experiments.figures import _tables, _undeleted
from experiments.figures._tables import Tables

OWN = {"another_sisa": 0.9, "sisa": 0.7}  # distance to retraining before anyone asks
PLAIN = {"retrain": 0.5, "scif": 0.5}
NUMBERS = {"distance": ("all", 0.0), "auc": ("test", 0.6), "membership": ("forgotten", 0.4)}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def row(cell, stage, metric, split, value, k=None):
    return {"cell": cell, "stage": stage, "split": split, "metric": metric, "k": k, "value": value}


def made(methods, kinds=("random", "users"), seeds=(0, 1), **more):
    """Tables as the runner writes them: cells sorted by method, no objective of others' fits."""
    cells, rows = [], []
    for name in sorted(methods):
        for kind in kinds:
            for seed in seeds:
                cell, far = f"{name}-{kind}-{seed}", methods[name]
                axes = {"data": "d", "model": "m", "kind": kind, "ratio": 0.1, "count": None}
                cells.append({"cell": cell, "method": name, **axes, "seed": seed, "status": "ok"})
                cells[-1] |= more | {"reason": None}
                for stage, gap in (("before", far), ("after", far / 5), ("reference", 0.0)):
                    for metric, (split, level) in NUMBERS.items():
                        if stage != "reference" or metric != "distance":
                            rows.append(row(cell, stage, metric, split, level + gap))
                    rows.append(row(cell, stage, "ndcg", "test", 0.3 - gap / 10, 10))
                    if stage == "reference" or name in PLAIN:
                        rows.append(row(cell, stage, "loss", "retained", 10 + gap))
    cells = pd.DataFrame(cells)
    times = pd.DataFrame({"cell": cells["cell"], "unlearn_seconds": 1.0, "reference_seconds": 2.0})
    return Tables(cells, pd.DataFrame(rows), times)


def distances(tables, name, quantity=None):
    """The means of the distance in a figure's numbers, by line."""
    frame = figures.load(name)(tables)[1]
    far = frame[frame["quantity"].str.contains(quantity or "distance")]
    return far.groupby("line")["mean"].first()


FIGURES = {
    "deletion_kinds": {},
    "ratio_curves": {"kinds": ["random"]},
    "pass_curves": {"kinds": ["random"], "method.max_sweeps": 2.0},
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_undeleted_line_is_the_plainly_trained_model(name):
    far = distances(made(OWN | PLAIN, **FIGURES[name]), name)
    assert far["undeleted"] == pytest.approx(0.5)


@pytest.mark.parametrize("name", FIGURES)
def test_without_a_plainly_trained_model_the_line_says_whose_model_it_is(name):
    far = distances(made(OWN, **FIGURES[name]), name)
    assert "undeleted" not in far.index
    assert far["undeleted (another_sisa)"] == pytest.approx(0.9)
    assert not any("(sisa)" in line for line in far.index)


def test_the_pruning_curve_too_even_where_the_plain_method_sweeps_nothing():
    tables = made(OWN | PLAIN, ["random"])
    keep = tables.cells["method"].map({"another_sisa": 0.5, "sisa": 1.0})
    tables = tables._replace(cells=tables.cells.assign(**{"method.keep": keep}))
    assert distances(tables, "keep_curves", "^auc$")["undeleted"] == pytest.approx(1.1)


def test_passes_are_followed_from_the_plain_model_though_it_has_none():
    tables = made({"sisa": 0.7, "scif": 0.5}, ["random"])
    passes = tables.cells["method"].map({"sisa": 2.0})
    tables = tables._replace(cells=tables.cells.assign(**{"method.max_sweeps": passes}))
    assert distances(tables, "pass_curves")["undeleted"] == pytest.approx(0.5)


def test_a_seed_without_a_plain_model_has_no_part_in_the_line_but_in_that_of_the_reference():
    tables = made(OWN | PLAIN)
    bad = tables.cells["method"].isin(PLAIN) & (tables.cells["seed"] == 1)
    cells = tables.cells.assign(status=tables.cells["status"].mask(bad, "failed"))
    frame = figures.load("deletion_kinds")(_tables.without_bad(tables._replace(cells=cells)))[1]
    known = frame[frame["quantity"].str.contains("AUC|NDCG")].groupby("line")["n"].first()
    assert (known["undeleted"], known["reference"]) == (1, 2)


def test_splits_and_models_have_undeleted_models_of_their_own():
    parts = [made(OWN | PLAIN), made({"another_sisa": 0.9, "retrain": 0.3})]
    for i, part in enumerate(parts):
        part.cells["split.seed"] = i
        for frame in part[:3]:
            frame["cell"] += f"-{i}"
    tables = Tables(
        *(pd.concat(frames, ignore_index=True) for frames in zip(*(p[:3] for p in parts)))
    )
    before = _undeleted.before(tables, "distance", "all")
    assert before["another_sisa-users-1-0"] == 0.5 and before["another_sisa-users-1-1"] == 0.3


def test_recovery_and_residual_are_measured_against_the_plain_model(tmp_path):
    tables = made(OWN | PLAIN, ["random"])
    after = OWN["sisa"] / 5
    assert _undeleted.local_residual(tables)["sisa-random-0"] == pytest.approx(after / 0.5)
    found = _undeleted.recovery(tables, "auc")
    assert found["sisa-random-0"] == pytest.approx((after - 0.5) / -0.5)
    assert found["scif-random-0"] == pytest.approx(0.8)
    means = distances(tables, "recovery", "residual")
    assert means["another_sisa"] == pytest.approx(0.9 / 5 / 0.5)
    (tmp_path / "toy").mkdir()
    for name in ("cells", "metrics", "timings"):
        getattr(tables, name).to_csv(tmp_path / "toy" / f"{name}.csv", index=False)
    query = "pooled: residual all [method={sisa,scif}]"
    values = [v for _, v in _queries.evaluate(query, tmp_path, {"folder": "toy"})]
    assert values == pytest.approx([after / 0.5, 0.2])


def test_a_method_that_cannot_be_measured_is_left_out_and_named():
    parts = [made(OWN | PLAIN, ["random"]), made({"sisa": 0.7}, ["users"])]
    tables = Tables(
        *(pd.concat(frames, ignore_index=True) for frames in zip(*(p[:3] for p in parts)))
    )
    figure, frame = figures.load("recovery")(tables)
    words = "no plainly trained model to measure sisa by"
    assert any(words in text.get_text() for text in figure.texts)
    assert set(frame.loc[frame["kind"] == "random", "line"]) == set(OWN | PLAIN)
    assert not (frame["kind"] == "users").any()
    assert _undeleted.without(parts[0], parts[0].cells) == []
    with pytest.raises(Refused, match="measure another_sisa, sisa by"):
        figures.load("recovery")(made(OWN))


def test_the_page_names_whose_model_stands_for_the_undeleted_one(tmp_path):
    own = toy_runs.CERTIFIED.replace("[methods.retrain]\n", "")

    def change(cell, row):
        return row | {"metrics": [m for m in row["metrics"] if m[:3:2] != ["before", "loss"]]}

    path = toy_runs.write(tmp_path, own.replace('figures = ["pass', 'figures = [] # ["pass'))
    toy_runs.fill(path, tmp_path, change)
    for command in ("collect", "report"):
        assert cli.main([command, path, "--results", str(tmp_path)]) == 0
    page = (tmp_path / "toy" / "report.html").read_text()
    assert "undeleted of" in page and "certified_als tol=0.001</td>" in page


def test_an_empty_request_is_compared_with_any_plain_model_and_needs_one():
    frame = figures.load("empty_request")(made({"sisa": 0.7, "scif": 0.5}, ["none"]))[1]
    change = frame[frame["quantity"] == "test AUC"].set_index("line")["change"]
    assert change["sisa"] == pytest.approx(0.7 / 5 - 0.5)
    with pytest.raises(Refused, match="a plain method"):
        figures.load("empty_request")(made({"sisa": 0.7}, ["none"]))
