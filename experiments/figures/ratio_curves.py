"""Metrics and distance to retraining against the share forgotten, with bands over seeds.

Each method at its deepest budget (most passes, tightest tolerance); undeleted and retrained
models beside it.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables, _undeleted
from ._tables import Tables

DISTANCE = ("relative distance to the reference", "distance", "all", None)


def _quantities(tables: Tables) -> list[tuple]:
    """The accuracies, those of rows that meet the request where labels allow it, the distance."""
    defined = set(tables.metrics.dropna(subset=["value"])["metric"])
    met = [
        (f"test AUC, user {word} item asked", f"auc_{word}", "test", None)
        for word in ("or", "and")
        if f"auc_{word}" in defined
    ]
    return [*_panels.accuracies(tables), *met, DISTANCE]


def _deepest(cells: pd.DataFrame) -> pd.DataFrame:
    """Per method, the cells with the most passes and the tightest tolerance it was given."""
    kept = []
    for _, group in cells.groupby("method", sort=False):
        for name in _tables.swept(group):
            budget = _tables.of_method(name) and name.endswith((".max_sweeps", ".tol"))
            if budget and group[name].notna().any():
                best = group[name].min() if name.endswith(".tol") else group[name].max()
                group = group[group[name].isna() | (group[name] == best)]
        kept.append(group)
    return pd.concat(kept)


def _numbers(tables: Tables, cells: pd.DataFrame, groups: list[str], x: str) -> pd.DataFrame:
    """Everything drawn, long: quantity, groups, line, x, mean, low, high, n."""
    shown, parts = _quantities(tables), []
    for label, *what in shown:
        _panels.with_metric(tables, cells, label, *what)
    once = _undeleted.once(tables, cells, [*groups, x])
    for label, *_ in shown:
        after = _tables.intervals(cells, [*groups, "line", x], f"{label} after")
        before = _undeleted.intervals(once, [*groups, x], label)
        goal = _tables.intervals(once, [*groups, x], f"{label} reference").assign(line="reference")
        parts += [part.assign(quantity=label) for part in (before, goal, after) if len(part)]
    frame = pd.concat(parts, ignore_index=True)
    return frame[["quantity", *groups, "line", x, "mean", "low", "high", "n"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, x: str, styles: dict) -> None:
    scale = 100 if x == "ratio" else 1
    rows = rows.assign(x=rows[x] * scale)
    for line, style in styles.items():
        _plot.curve(axis, rows[rows["line"] == line], "x", line, style)
    for line, group in _undeleted.rows(rows).groupby("line"):
        axis.plot(group["x"], group["mean"], **_plot.BEFORE, label=_undeleted.label(line))
    goal = rows[rows["line"] == "reference"]
    if len(goal):
        axis.plot(goal["x"], goal["mean"], **_plot.REFERENCE, label="retrained reference")
    if _plot.spans_decades(rows["x"]):
        axis.set_xscale("log")
    axis.set_xticks(ticks := sorted(set(rows["x"])), [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("interactions forgotten (%)" if x == "ratio" else "forgotten (count)")


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set and model."""
    cells = _tables.finished(tables).set_index("cell", drop=False)
    x = "ratio" if cells["ratio"].notna().any() else "count"
    cells = _deepest(cells[cells[x].notna()].copy()) if cells[x].notna().any() else cells.iloc[:0]
    if cells.empty:
        raise Refused("ratio_curves: no finished cell has a ratio or a count")
    cells["line"] = _panels.lines(cells)
    groups = _panels.groups(cells, amount=False)
    numbers = _numbers(tables, cells, groups, x)
    styles = _plot.looks(list(dict.fromkeys(cells["line"])))
    shown, quantities = _panels.keys(cells, groups), [name for name, *_ in _quantities(tables)]

    def panel(axis, rows, name, _):
        _panel(axis, rows, x, styles)
        axis.set_ylabel(name)
        if name == DISTANCE[0]:
            _plot.scale(axis, rows)

    figure, axes = _plot.grid(len(shown), len(quantities))
    _panels.page((figure, axes), numbers, groups, shown, quantities, panel)
    _plot.legend(figure, axes)
    _panels.note(figure, tables, numbers)
    return figure, numbers
