"""Accuracy, distance to retraining and membership for every kind of request, per method."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.panels import KINDS
from experiments.tables import Tables

BESIDE = (
    ("relative distance to the reference", "distance", "all", None),
    ("membership of the forgotten", "membership", "forgotten", None),
)
STAGES = {"before": "undeleted", "reference": "reference"}


def _numbers(found: Tables, cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, place, kind, line, mean, low, high, n."""
    parts, once = [], cells.drop_duplicates([*by, "seed"]).copy()
    how_good = panels.accuracies(found)
    for label, metric, split, k in dict.fromkeys([how_good[0], how_good[-1], *BESIDE]):
        panels.with_metric(found, cells, label, metric, split, k)
        panels.with_metric(found, once, label, metric, split, k)
        for stage, line in STAGES.items():
            part = tables.intervals(once, by, f"{label} {stage}").assign(line=line)
            parts.append(part.assign(quantity=label))
        after = tables.intervals(cells, [*by, "line"], f"{label} after")
        parts.append(after.assign(quantity=label))
    frame = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return frame[["quantity", *by, "line", "mean", "low", "high", "n"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, kinds: list[str], styles: dict) -> None:
    """A group of marks per kind, one mark per line, side by side."""
    at = plot.heights(axis, [KINDS[kind] for kind in kinds])
    for i, (line, style) in enumerate(styles.items()):
        shift = 0.7 * ((i + 0.5) / len(styles) - 0.5)
        group = rows[rows["line"] == line].copy()
        group["line"] = group["kind"].map(KINDS)
        places = {name: height + shift for name, height in at.items()}
        plot.dots(axis, group, places, line, **style | {"linestyle": "none", "markersize": 4})
    if plot.spans_decades(rows["mean"]):
        axis.set_xscale("log")


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount."""
    cells = tables.finished(found).set_index("cell", drop=False)
    if cells["kind"].nunique() < 2:
        raise Refused('deletion_kinds: needs several kinds, request.kind = ["random", "users"]')
    cells["line"] = panels.lines(cells)
    place = [name for name in panels.place(cells, amount=True) if name != "kind"]
    numbers = _numbers(found, cells, [*place, "kind"])
    kinds = [kind for kind in KINDS if kind in set(cells["kind"])]
    lines = [*STAGES.values(), *dict.fromkeys(cells["line"])]
    styles = plot.looks(lines)
    styles["undeleted"] |= {"color": "#777777", "fillstyle": "none"}
    styles["reference"] |= {"color": "#222222", "marker": "|"}
    shown, quantities = panels.places(cells, place), list(dict.fromkeys(numbers["quantity"]))
    height = 0.09 * len(lines) * len(kinds) + 0.9
    figure, axes = plot.grid(len(shown), len(quantities), width=3.2, height=height)
    for row, key in zip(axes, shown, strict=True):
        here = panels.at(numbers, place, key)
        for axis, name in zip(row, quantities, strict=True):
            _panel(axis, here[here["quantity"] == name], kinds, styles)
            axis.set_xlabel(name)
            axis.set_ylabel("kind of request")
        row[0].set_title(panels.title(place, key), loc="left")
    plot.legend(figure, axes)
    plot.note(figure, plot.seeds(numbers, tables.left_out(found), "bars"))
    return figure, numbers
