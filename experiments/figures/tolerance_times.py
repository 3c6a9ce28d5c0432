"""Seconds and passes of unlearning to a ladder of tolerances, warm starts against cold ones.

A hollow marker: the pass limit came first and the tolerance was not reached in every seed.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables
from ._tables import Tables

LABELS = {"seconds": "time to forget (s)", "passes": "passes to forget"}


def _cells(tables: Tables) -> pd.DataFrame:
    """Finished cells whose tolerance was swept, as a method's setting or else as a model's."""
    cells = _tables.finished(tables)
    cells["tolerance"] = float("nan")
    for name in ("model.tol", "method.tol"):  # the method's own tolerance counts
        if name in cells:
            cells["tolerance"] = cells[name].astype(float).fillna(cells["tolerance"])
    cells = cells[cells["tolerance"] > 0]
    if cells.empty:
        raise Refused(
            "tolerance_times: no finished cell swept a tolerance (method.tol or model.tol)"
        )
    cells = cells.merge(tables.timings[["cell", "unlearn_seconds"]], on="cell")
    cells = cells.rename(columns={"unlearn_seconds": "seconds", "unlearn.sweeps": "passes"})
    cells["reached"] = _reached(cells)
    cells["line"] = _panels.lines(cells, ("method.tol",))
    return cells


def _reached(cells: pd.DataFrame) -> pd.Series:
    """1 where the tolerance was reached, 0 where not, absent where the method does not tell.

    A certificate tells it where there is one: its tolerance is of the proved distance.
    """
    absent = pd.Series(np.nan, cells.index)
    residual = cells.get("unlearn.residual", absent)
    reached = (residual <= cells["tolerance"]).astype(float).where(residual.notna())
    words = cells.get("unlearn.certified", absent)
    return reached.where(words.isna(), _panels.told(words))


def _numbers(cells: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, groups, line, tolerance, mean, low, high, n, reached."""
    by, parts = [*groups, "line", "tolerance"], []
    reached = _tables.intervals(cells, by, "reached").rename(columns={"mean": "reached"})
    for name in LABELS:
        if name in cells:
            part = _tables.intervals(cells, by, name)
            part = part.merge(reached[[*by, "reached"]], on=by, how="left")
            parts.append(part.assign(quantity=name))
    return pd.concat(parts, ignore_index=True)[
        ["quantity", *by, "mean", "low", "high", "n", "reached"]
    ]


def _panel(axis: plt.Axes, rows: pd.DataFrame, styles: dict) -> None:
    for line, style in styles.items():
        group = rows[rows["line"] == line]
        _plot.curve(axis, group, "tolerance", line, style)
        _plot.hollow(axis, group[group["reached"] < 1], "tolerance", style)
    axis.set_xscale("log")
    axis.invert_xaxis()
    _plot.scale(axis, rows)
    axis.set_xlabel("tolerance on the retained residual")


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount."""
    cells = _cells(tables)
    groups = [name for name in _panels.groups(cells, amount=True) if name != "model.tol"]
    numbers = _numbers(cells, groups)
    _panels.refuse_none(numbers)
    styles = _plot.looks(list(dict.fromkeys(cells["line"])))
    shown, quantities = _panels.keys(cells, groups), list(dict.fromkeys(numbers["quantity"]))

    def panel(axis, rows, name, _):
        _panel(axis, rows, styles)
        axis.set_ylabel(LABELS[name])

    figure, axes = _plot.grid(len(shown), len(quantities))
    _panels.page((figure, axes), numbers, groups, shown, quantities, panel)
    _plot.legend(figure, axes)
    hollow = ["hollow: pass limit came first"] if (numbers["reached"] < 1).any() else []
    _panels.note(figure, tables, numbers, *hollow, _panels.devices(tables))
    return figure, numbers
