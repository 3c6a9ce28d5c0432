"""Accuracy after an empty request, per method: what a method costs those who ask for nothing.

Partition methods pay with accuracy from the start, before anyone asks; the dashed line is the
model without unlearning (Figure 4 of arXiv 2307.02147). The numbers hold each method's difference
from that model too, paired by seed.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables, _undeleted
from ._tables import Tables


def _numbers(tables: Tables, cells: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, groups, line, and intervals of the value and its change."""
    parts = []
    for label, metric, split, k in _panels.accuracies(tables):
        _panels.with_metric(tables, cells, label, metric, split, k)
        cells["difference"] = cells[f"{label} after"] - cells[f"{label} undeleted"]
        after = _tables.intervals(cells, [*groups, "line"], f"{label} after")
        change = _tables.intervals(cells, [*groups, "line"], "difference").drop(columns="n")
        names = {"mean": "change", "low": "change_low", "high": "change_high"}
        after = after.merge(change.rename(columns=names), on=[*groups, "line"], how="left")
        once = cells.dropna(subset=[f"{label} undeleted"]).drop_duplicates([*groups, "seed"])
        whole = _tables.intervals(once, groups, f"{label} undeleted").assign(line="original")
        parts += [part.assign(quantity=label) for part in (whole, after)]
    frame = pd.concat(parts, ignore_index=True)
    columns = ["mean", "low", "high", "n", "change", "change_low", "change_high"]
    return frame[["quantity", *groups, "line", *columns]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, lines: list[str]) -> None:
    for _, whole in rows[rows["line"] == "original"].iterrows():
        axis.axvspan(whole["low"], whole["high"], **_plot.FLOOR)
        axis.axvline(whole["mean"], **_plot.REFERENCE, label="without unlearning")
    at = _plot.heights(axis, lines)
    look = {"color": _plot.COLOURS[0], "marker": "o"}
    _plot.dots(axis, rows, at, "after an empty request", **look)
    axis.set_ylabel("method")


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set and model."""
    cells = _tables.finished(tables).set_index("cell", drop=False)
    cells = cells[cells["kind"] == "none"].copy()
    lacking = _undeleted.without(tables, cells)
    if not _undeleted.known(tables, cells).any():
        raise Refused('empty_request: needs request.kind = "none" and a plain method ("retrain")')
    if not _panels.accuracies(tables):
        raise Refused("empty_request: no accuracy is defined on the test part")
    cells["line"] = _panels.lines(cells)
    groups = _panels.groups(cells, amount=False)
    numbers = _numbers(tables, cells, groups)
    lines = list(dict.fromkeys(cells["line"]))

    def panel(axis, rows, name, key):
        there = set(_panels.rows(numbers, groups, key)["line"])
        _panel(axis, rows, [line for line in lines if line in there])
        axis.set_xlabel(name)

    shown, quantities = _panels.keys(cells, groups), list(dict.fromkeys(numbers["quantity"]))
    height = 0.22 * len(lines) + 0.9
    figure, axes = _plot.grid(len(shown), len(quantities), width=3.6, height=height)
    _panels.page((figure, axes), numbers, groups, shown, quantities, panel)
    _plot.legend(figure, axes)
    _panels.note(figure, tables, numbers, *lacking, mark="bars and bands")
    return figure, numbers
