"""Time of one request by its size, and accumulated time against the number of requests.

Accumulated: the method's own training plus the measured mean of one request, times their number;
every request is the smallest one measured and meets the model as first trained.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.tables import Tables

REQUESTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
ONE, ALL = "time of one request (s)", "accumulated time (s)"


def _numbers(cells: pd.DataFrame, place: list[str], x: str) -> pd.DataFrame:
    """Everything drawn, long: quantity, place, line, x (amount or number of requests), interval."""
    by, parts = [*place, "line"], []
    one = tables.intervals(cells, [*by, x], "unlearn_seconds").rename(columns={x: "x"})
    parts.append(one.assign(quantity=ONE))
    least = cells[x] == cells.groupby(by, dropna=False)[x].transform("min")
    for n in REQUESTS:
        total = cells[least].assign(total=cells["fit_seconds"] + n * cells["unlearn_seconds"])
        parts.append(tables.intervals(total, by, "total").assign(quantity=ALL, x=n))
    frame = pd.concat(parts, ignore_index=True)
    frame["x"] = frame["x"].astype(float)
    return frame[["quantity", *by, "x", "mean", "low", "high", "n"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, styles: dict) -> None:
    for line, style in styles.items():
        plot.curve(axis, rows[rows["line"] == line].sort_values("x"), "x", line, style)
    if plot.spans_decades(rows["x"]):
        axis.set_xscale("log")
    if np.isfinite(rows["mean"]).all() and (rows["mean"] > 0).all():
        axis.set_yscale("log")


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of two panels per data set and model."""
    cells = tables.finished(found)
    x = "count" if cells["count"].notna().any() else "ratio"
    cells = cells[cells[x].notna()].merge(
        found.timings[["cell", "fit_seconds", "unlearn_seconds"]], on="cell"
    )
    if cells.empty:
        raise Refused("break_even: no finished cell has a count or a ratio")
    cells["line"] = panels.lines(cells)
    place = panels.place(cells, amount=False)
    numbers = _numbers(cells, place, x)
    styles, shown = plot.looks(list(dict.fromkeys(cells["line"]))), panels.places(cells, place)
    figure, axes = plot.grid(len(shown), 2, width=3.8)
    asked = "interactions or rows asked for" if x == "count" else "share of interactions asked for"
    for row, key in zip(axes, shown, strict=True):
        here = panels.at(numbers, place, key)
        for axis, name, word in zip(row, (ONE, ALL), (asked, "number of requests"), strict=True):
            _panel(axis, here[here["quantity"] == name], styles)
            axis.set_xlabel(word)
            axis.set_ylabel(name)
        row[0].set_title(panels.title(place, key), loc="left")
    plot.legend(figure, axes)
    devices = ", ".join(sorted(found.timings["device_kind"].astype(str).unique()))
    left = plot.seeds(numbers, tables.left_out(found))
    plot.note(figure, f"{left}; compiled beforehand, on {devices}")
    return figure, numbers
