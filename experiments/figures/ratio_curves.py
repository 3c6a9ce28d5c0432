"""Metrics and distance to retraining against the share forgotten, with bands over seeds.

Each method at its deepest budget (most passes, tightest tolerance); undeleted and retrained
models beside it.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.tables import Tables

DISTANCE = ("relative distance to the reference", "distance", "all", None)


def _quantities(found: Tables) -> list[tuple]:
    """The accuracies, those of rows that meet the request where labels allow it, the distance."""
    defined = set(found.metrics.dropna(subset=["value"])["metric"])
    met = [
        (f"test AUC, user {word} item asked", f"auc_{word}", "test", None)
        for word in ("or", "and")
        if f"auc_{word}" in defined
    ]
    return [*panels.accuracies(found), *met, DISTANCE]


def _deepest(cells: pd.DataFrame) -> pd.DataFrame:
    """Per method, the cells with the most passes and the tightest tolerance it was given."""
    kept = []
    for _, group in cells.groupby("method", sort=False):
        for name in tables.swept(group):
            if name.endswith((".max_sweeps", ".tol")) and group[name].notna().any():
                best = group[name].min() if name.endswith(".tol") else group[name].max()
                group = group[group[name].isna() | (group[name] == best)]
        kept.append(group)
    return pd.concat(kept)


def _numbers(found: Tables, cells: pd.DataFrame, place: list[str], x: str) -> pd.DataFrame:
    """Everything drawn, long: quantity, place, line, x, mean, low, high, n."""
    parts = []
    once = cells.drop_duplicates([*place, x, "seed"])
    for label, metric, split, k in _quantities(found):
        panels.with_metric(found, cells, label, metric, split, k)
        panels.with_metric(found, once, label, metric, split, k)
        after = tables.intervals(cells, [*place, "line", x], f"{label} after")
        before = tables.intervals(once, [*place, x], f"{label} before").assign(line="undeleted")
        goal = tables.intervals(once, [*place, x], f"{label} reference").assign(line="reference")
        parts += [part.assign(quantity=label) for part in (before, goal, after) if len(part)]
    frame = pd.concat(parts, ignore_index=True)
    return frame[["quantity", *place, "line", x, "mean", "low", "high", "n"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, x: str, styles: dict) -> None:
    scale = 100 if x == "ratio" else 1
    rows = rows.assign(x=rows[x] * scale)
    for line, style in styles.items():
        plot.curve(axis, rows[rows["line"] == line], "x", line, style)
    for line, look in (("undeleted", plot.BEFORE), ("reference", plot.REFERENCE)):
        group = rows[rows["line"] == line]
        if len(group):
            name = {"undeleted": "undeleted model", "reference": "retrained reference"}[line]
            axis.plot(group["x"], group["mean"], **look, label=name)
    if plot.spans_decades(rows["x"]):
        axis.set_xscale("log")
    axis.set_xticks(ticks := sorted(set(rows["x"])), [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("interactions forgotten (%)" if x == "ratio" else "forgotten (count)")


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set and model."""
    cells = tables.finished(found).set_index("cell", drop=False)
    x = "ratio" if cells["ratio"].notna().any() else "count"
    cells = _deepest(cells[cells[x].notna()].copy()) if cells[x].notna().any() else cells.iloc[:0]
    if cells.empty:
        raise Refused("ratio_curves: no finished cell has a ratio or a count")
    cells["line"] = panels.lines(cells)
    place = panels.place(cells, amount=False)
    numbers = _numbers(found, cells, place, x)
    styles = plot.looks(list(dict.fromkeys(cells["line"])))
    shown, quantities = panels.places(cells, place), _quantities(found)
    figure, axes = plot.grid(len(shown), len(quantities))
    for row, key in zip(axes, shown, strict=True):
        here = panels.at(numbers, place, key)
        for axis, (label, metric, *_) in zip(row, quantities, strict=True):
            part = here[here["quantity"] == label]
            _panel(axis, part, x, styles)
            axis.set_ylabel(label)
            if metric == "distance":
                plot.scale(axis, part)
        row[0].set_title(panels.title(place, key), loc="left")
    plot.legend(figure, axes)
    plot.note(figure, plot.seeds(numbers, tables.left_out(found)))
    return figure, numbers
