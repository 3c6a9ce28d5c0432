"""The pruning curve: accuracy, nearness and seconds against the share of reached rows updated."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables, _undeleted
from ._tables import Tables

KEEP = "method.keep"
LABELS = {
    "auc": "test AUC",
    "auc_and": "test AUC, user and item asked",
    "residual": "local residual",
    "seconds": "time to forget (s)",
}


def _cells(tables: Tables) -> pd.DataFrame:
    """Finished cells whose kept share was swept, with the four quantities."""
    cells = _tables.finished(tables).set_index("cell", drop=False)
    if KEEP not in cells or cells[KEEP].isna().all():
        raise Refused("keep_curves: no finished cell has a swept share (a list as keep)")
    for name in ("auc", "auc_and"):
        _panels.with_metric(tables, cells, name, name, "test")
    cells["residual after"] = _undeleted.local_residual(tables)
    cells["seconds after"] = tables.timings.set_index("cell")["unlearn_seconds"]
    cells["line"] = _panels.lines(cells, (KEEP,))
    return cells[cells[KEEP].notna()]


def _numbers(tables: Tables, cells: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, groups, line, keep, mean, low, high, n."""
    once, parts = _undeleted.once(tables, cells, groups), []
    for name in LABELS:
        after = _tables.intervals(cells, [*groups, "line", KEEP], f"{name} after")
        parts.append(after.rename(columns={KEEP: "keep"}).assign(quantity=name))
        if f"{name} reference" in cells:
            parts.append(_undeleted.intervals(once, groups, name).assign(quantity=name))
            goal = _tables.intervals(once, groups, f"{name} reference")
            parts.append(goal.assign(quantity=name, line="reference"))
    numbers = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return numbers[["quantity", *groups, "line", "keep", "mean", "low", "high", "n"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, styles: dict) -> None:
    for line, style in styles.items():
        _plot.curve(axis, rows[rows["line"] == line], "keep", line, style)
    before = _undeleted.rows(rows)
    for line, y in zip(before["line"], before["mean"], strict=True):
        axis.axhline(y, **_plot.BEFORE, label=_undeleted.label(line))
    for y in rows.loc[rows["line"] == "reference", "mean"]:
        axis.axhline(y, **_plot.REFERENCE, label="retrained reference")
    axis.set_xlabel("share of reached rows updated")


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount."""
    cells = _cells(tables)
    groups = _panels.groups(cells, amount=True)
    numbers = _numbers(tables, cells, groups)
    styles = _plot.looks(list(dict.fromkeys(cells["line"])))
    shown, there = _panels.keys(cells, groups), set(numbers["quantity"])
    quantities = [name for name in LABELS if name in there]

    def panel(axis, rows, name, _):
        _panel(axis, rows, styles)
        axis.set_ylabel(LABELS[name])
        if name in ("residual", "seconds"):
            axis.set_ylim(bottom=0)

    figure, axes = _plot.grid(len(shown), len(quantities))
    _panels.page((figure, axes), numbers, groups, shown, quantities, panel)
    _plot.legend(figure, axes)
    _panels.note(figure, tables, numbers, *_undeleted.without(tables, cells))
    return figure, numbers
