"""Accuracy, distance to retraining and membership for every kind of request, per method."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables, _undeleted
from ._panels import KINDS
from ._tables import Tables

BESIDE = (
    ("relative distance to the reference", "distance", "all", None),
    ("membership of the forgotten", "membership", "forgotten", None),
)
REFERENCE = "reference"


def _numbers(tables: Tables, cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, groups, kind, line, mean, low, high, n."""
    how_good, parts = _panels.accuracies(tables), []
    shown = list(dict.fromkeys([*how_good[:1], *how_good[-1:], *BESIDE]))
    for label, *what in shown:
        _panels.with_metric(tables, cells, label, *what)
    once = _undeleted.once(tables, cells, by)
    for label, *_ in shown:
        before = _undeleted.intervals(once, by, label)
        goal = _tables.intervals(once, by, f"{label} reference").assign(line=REFERENCE)
        after = _tables.intervals(cells, [*by, "line"], f"{label} after")
        parts += [part.assign(quantity=label) for part in (before, goal, after)]
    frame = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return frame[["quantity", *by, "line", "mean", "low", "high", "n"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, kinds: list[str], styles: dict) -> None:
    """A group of marks per kind, one mark per line, side by side."""
    at = _plot.heights(axis, [KINDS[kind] for kind in kinds])
    for i, (line, style) in enumerate(styles.items()):
        shift = 0.7 * ((i + 0.5) / len(styles) - 0.5)
        group = rows[rows["line"] == line].copy()
        group["line"] = group["kind"].map(KINDS)
        levels = {name: height + shift for name, height in at.items()}
        _plot.dots(axis, group, levels, line, **style | {"linestyle": "none", "markersize": 4})
    if _plot.spans_decades(rows["mean"]):
        axis.set_xscale("log")


def _styles(lines: list[str]) -> dict:
    styles = _plot.looks(lines)
    for line in lines:
        if line.startswith(_undeleted.LINE):
            styles[line] |= {"color": "#777777", "fillstyle": "none"}
    styles[REFERENCE] |= {"color": "#222222", "marker": "|"}
    return styles


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount."""
    cells = _tables.finished(tables).set_index("cell", drop=False)
    if cells["kind"].nunique() < 2:
        raise Refused('deletion_kinds: needs several kinds, request.kind = ["random", "users"]')
    cells["line"] = _panels.lines(cells)
    groups = [name for name in _panels.groups(cells, amount=True) if name != "kind"]
    numbers = _numbers(tables, cells, [*groups, "kind"])
    kinds = [kind for kind in KINDS if kind in set(cells["kind"])]
    undeleted = dict.fromkeys(_undeleted.rows(numbers)["line"])
    styles = _styles([*undeleted, REFERENCE, *dict.fromkeys(cells["line"])])

    def panel(axis, rows, name, _):
        _panel(axis, rows, kinds, styles)
        axis.set_xlabel(name)
        axis.set_ylabel("kind of request")

    shown, quantities = _panels.keys(cells, groups), list(dict.fromkeys(numbers["quantity"]))
    height = 0.09 * len(styles) * len(kinds) + 0.9
    figure, axes = _plot.grid(len(shown), len(quantities), width=3.2, height=height)
    _panels.page((figure, axes), numbers, groups, shown, quantities, panel)
    _plot.legend(figure, axes)
    _panels.note(figure, tables, numbers, mark="bars")
    return figure, numbers
