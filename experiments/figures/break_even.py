"""Time of one request by its size, and accumulated time against the number of requests.

Accumulated: the method's own training plus the measured mean of one request, times their number;
every request is the smallest one measured and meets the model as first trained.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables
from ._tables import Tables

REQUESTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
ONE, ALL = "time of one request (s)", "accumulated time (s)"


def _numbers(cells: pd.DataFrame, groups: list[str], x: str) -> pd.DataFrame:
    """Everything drawn, long: quantity, groups, line, x (size or requests), mean, low, high, n."""
    by, parts = [*groups, "line"], []
    one = _tables.intervals(cells, [*by, x], "unlearn_seconds").rename(columns={x: "x"})
    parts.append(one.assign(quantity=ONE))
    least = cells[x] == cells.groupby(by, dropna=False)[x].transform("min")
    for n in REQUESTS:
        total = cells[least].assign(total=cells["fit_seconds"] + n * cells["unlearn_seconds"])
        parts.append(_tables.intervals(total, by, "total").assign(quantity=ALL, x=n))
    frame = pd.concat(parts, ignore_index=True)
    frame["x"] = frame["x"].astype(float)
    return frame[["quantity", *by, "x", "mean", "low", "high", "n"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, styles: dict) -> None:
    for line, style in styles.items():
        _plot.curve(axis, rows[rows["line"] == line].sort_values("x"), "x", line, style)
    if _plot.spans_decades(rows["x"]):
        axis.set_xscale("log")
    if np.isfinite(rows["mean"]).all() and (rows["mean"] > 0).all():
        axis.set_yscale("log")


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of two panels per data set and model."""
    cells = _tables.finished(tables)
    x = "count" if cells["count"].notna().any() else "ratio"
    cells = cells[cells[x].notna()].merge(
        tables.timings[["cell", "fit_seconds", "unlearn_seconds"]], on="cell"
    )
    if cells.empty:
        raise Refused("break_even: no finished cell has a count or a ratio")
    cells["line"] = _panels.lines(cells)
    groups = _panels.groups(cells, amount=False)
    numbers = _numbers(cells, groups, x)
    styles, shown = _plot.looks(list(dict.fromkeys(cells["line"]))), _panels.keys(cells, groups)
    size = "interactions or rows asked for" if x == "count" else "share of interactions asked for"
    labels = {ONE: size, ALL: "number of requests"}

    def panel(axis, rows, name, _):
        _panel(axis, rows, styles)
        axis.set_xlabel(labels[name])
        axis.set_ylabel(name)

    figure, axes = _plot.grid(len(shown), 2, width=3.8)
    _panels.page((figure, axes), numbers, groups, shown, list(labels), panel)
    _plot.legend(figure, axes)
    _panels.note(figure, tables, numbers, _panels.devices(tables))
    return figure, numbers
