"""Test metric, retained loss and distance to retraining against the passes of unlearning.

Pass 0 is the undeleted model; the dashed line is the retrained reference; the grey band is how far
two retrainings under different seeds lie apart, the noise floor below which nothing can be told.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.tables import Tables

PASSES = "method.max_sweeps"
FLOOR = "retrain"  # the method whose distance to the reference is the noise floor
LABELS = {
    "ndcg": "test NDCG@{k}",
    "loss": "retained loss above the reference (%)",
    "distance": "relative distance to the reference",
}


def _cells(found: Tables) -> pd.DataFrame:
    """Finished cells with their passes and the three quantities at each stage."""
    cells = tables.finished(found).set_index("cell", drop=False)
    panels.with_metric(found, cells, "ndcg", "ndcg", "test", tables.first_k(found, "ndcg"))
    panels.with_metric(found, cells, "loss", "loss", "retained")
    panels.with_metric(found, cells, "distance", "distance", "all")
    goal = cells["loss reference"].copy()
    for stage in ("before", "after", "reference"):
        cells[f"loss {stage}"] = 100 * (cells[f"loss {stage}"] - goal) / goal.abs()
    if PASSES not in cells or cells[PASSES].isna().all():
        raise Refused("pass_curves: no finished cell has swept passes (a list as max_sweeps)")
    cells["passes"] = cells[PASSES]
    cells["line"] = panels.lines(cells, (PASSES,))
    return cells[cells["passes"].notna() | (cells["method"] == FLOOR)]


def _numbers(cells: pd.DataFrame, place: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, place, line, passes, mean, low, high, n."""
    parts = []
    once = cells.drop_duplicates([*place, "seed"])  # one undeleted model per seed
    for name in LABELS:
        after = tables.intervals(cells, [*place, "line", "passes"], f"{name} after")
        before = tables.intervals(once, place, f"{name} before").assign(line="undeleted", passes=0)
        goal = tables.intervals(once, place, f"{name} reference").assign(line="reference", passes=0)
        parts += [part.assign(quantity=name) for part in (before, goal, after)]
    frame = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return frame[["quantity", *place, "line", "passes", "mean", "low", "high", "n"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, styles: dict, *, floor: bool) -> None:
    """One quantity at one place: curves that leave the undeleted model, and the goal."""
    before, goal = rows[rows["line"] == "undeleted"], rows[rows["line"] == "reference"]
    last = rows[rows["line"] == FLOOR].tail(1)
    for _, row in last.iterrows() if floor else ():
        axis.axhspan(row["low"], row["high"], **plot.FLOOR, label="noise floor")
        axis.axhline(row["mean"], **plot.FLOOR_MEAN)
    for line, style in styles.items():
        group = rows[rows["line"] == line]
        plot.curve(axis, pd.concat([before, group]) if len(group) else group, "passes", line, style)
    for y in before["mean"]:
        axis.plot([0], [y], "o", **plot.UNDELETED, label="undeleted model")
    for y in goal["mean"]:
        axis.axhline(y, **plot.REFERENCE, label="retrained reference")
    axis.set_xscale("symlog", linthresh=1, linscale=0.5)
    ticks = plot.thin(sorted(set(rows["passes"].dropna().astype(int))))
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("passes after the request")


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount whose passes were swept."""
    cells = _cells(found)
    place = panels.place(cells, amount=True)
    numbers = _numbers(cells, place)
    swept = cells[cells["passes"].notna()]
    shown = panels.places(swept, place)
    styles = plot.looks(list(dict.fromkeys(swept["line"])))
    figure, axes = plot.grid(len(shown), len(LABELS))
    for row, key in zip(axes, shown, strict=True):
        here = panels.at(numbers, place, key)
        for axis, (name, label) in zip(row, LABELS.items(), strict=True):
            part = here[here["quantity"] == name]
            _panel(axis, part, styles, floor=name == "distance")
            axis.set_ylabel(label.format(k=tables.first_k(found, "ndcg")))
            if name == "loss":
                axis.set_yscale("symlog", linthresh=0.01)
            elif name == "distance":
                plot.scale(axis, part)
        row[0].set_title(panels.title(place, key), loc="left")
    plot.legend(figure, axes)
    plot.note(figure, plot.seeds(numbers, tables.left_out(found)))
    return figure, numbers
