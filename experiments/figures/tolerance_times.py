"""Seconds and passes of unlearning to a ladder of tolerances, warm starts against cold ones.

A hollow marker: the pass limit came first and the tolerance was not reached in every seed.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.tables import Tables

LABELS = {"seconds": "time to forget (s)", "passes": "passes to forget"}


def _cells(found: Tables) -> pd.DataFrame:
    """Finished cells whose tolerance was swept, as a method's setting or else as a model's."""
    cells = tables.finished(found)
    cells["tolerance"] = float("nan")
    for name in ("model.tol", "method.tol"):  # the method's own tolerance counts
        if name in cells:
            cells["tolerance"] = cells[name].astype(float).fillna(cells["tolerance"])
    cells = cells[cells["tolerance"] > 0]
    if cells.empty:
        raise Refused(
            "tolerance_times: no finished cell swept a tolerance (method.tol or model.tol)"
        )
    cells = cells.merge(found.timings[["cell", "unlearn_seconds"]], on="cell")
    cells = cells.rename(columns={"unlearn_seconds": "seconds", "unlearn.sweeps": "passes"})
    residual = cells.get("unlearn.residual", pd.Series(0.0, cells.index)).fillna(0.0)
    cells["reached"] = (residual <= cells["tolerance"]).astype(float)
    cells["line"] = panels.lines(cells, ("method.tol",))
    return cells


def _numbers(cells: pd.DataFrame, place: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, place, line, tolerance, mean, low, high, n, reached."""
    by, parts = [*place, "line", "tolerance"], []
    reached = tables.intervals(cells, by, "reached").rename(columns={"mean": "reached"})
    for name in LABELS:
        if name in cells:
            part = tables.intervals(cells, by, name)
            parts.append(part.merge(reached[[*by, "reached"]], on=by).assign(quantity=name))
    return pd.concat(parts, ignore_index=True)[
        ["quantity", *by, "mean", "low", "high", "n", "reached"]
    ]


def _panel(axis: plt.Axes, rows: pd.DataFrame, styles: dict) -> None:
    for line, style in styles.items():
        group = rows[rows["line"] == line]
        plot.curve(axis, group, "tolerance", line, style)
        plot.hollow(axis, group[group["reached"] < 1], "tolerance", style)
    axis.set_xscale("log")
    axis.invert_xaxis()
    plot.scale(axis, rows)
    axis.set_xlabel("tolerance on the retained residual")


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount."""
    cells = _cells(found)
    place = [name for name in panels.place(cells, amount=True) if name != "model.tol"]
    numbers = _numbers(cells, place)
    styles = plot.looks(list(dict.fromkeys(cells["line"])))
    shown, quantities = panels.places(cells, place), list(dict.fromkeys(numbers["quantity"]))
    figure, axes = plot.grid(len(shown), len(quantities))
    for row, key in zip(axes, shown, strict=True):
        here = panels.at(numbers, place, key)
        for axis, name in zip(row, quantities, strict=True):
            _panel(axis, here[here["quantity"] == name], styles)
            axis.set_ylabel(LABELS[name])
        row[0].set_title(panels.title(place, key), loc="left")
    plot.legend(figure, axes)
    devices = ", ".join(sorted(found.timings["device_kind"].astype(str).unique()))
    left = plot.seeds(numbers, tables.left_out(found))
    hollow = "; hollow: pass limit came first" if (numbers["reached"] < 1).any() else ""
    plot.note(figure, f"{left}{hollow}; compiled beforehand, on {devices}")
    return figure, numbers
