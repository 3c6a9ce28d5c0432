"""Steps and seconds to a certified distance, warm starts by size of the request, and cold ones.

Cold is the certified training of the undeleted model to the same bound. A hollow marker: not
certified in every seed.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.tables import Tables

TOL = "method.tol"
COLD = "cold training"
LABELS = {"steps": "proximal steps", "seconds": "time with certificates (s)"}


def _cells(found: Tables) -> pd.DataFrame:
    """One row per warm run and one per cold run, with line, steps, seconds and certified."""
    warm = panels.certified(found)
    if warm.empty or TOL not in warm:
        raise Refused("certificate_times: no finished cell of certified_als swept method.tol")
    warm = warm.merge(found.timings[["cell", "unlearn_seconds", "fit_seconds"]], on="cell")
    cold = warm.drop_duplicates([*panels.place(warm, amount=False), TOL, "seed"])
    cold = cold.assign(
        line=COLD, steps=cold["fit.steps"], seconds=cold["fit_seconds"],
        certified=(cold["fit.relative_bound"] <= cold[TOL]).astype(float),
    )  # fmt: skip
    amounts = [panels.title(list(panels.AMOUNT), key) for key in zip(warm["ratio"], warm["count"])]
    warm = warm.assign(
        line=amounts, steps=warm["unlearn.steps"], seconds=warm["unlearn_seconds"]
    ).sort_values(["ratio", "count"])
    return pd.concat([cold, warm], ignore_index=True)


def _numbers(cells: pd.DataFrame, place: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, place, line, tolerance, mean, low, high, n, certified."""
    by = [*place, "line", TOL]
    proved = tables.intervals(cells, by, "certified").rename(columns={"mean": "certified"})
    parts = [
        tables.intervals(cells, by, name)
        .merge(proved[[*by, "certified"]], on=by)
        .assign(quantity=name)
        for name in LABELS
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame[["quantity", *by, "mean", "low", "high", "n", "certified"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, styles: dict) -> None:
    for line, style in styles.items():
        group = rows[rows["line"] == line]
        plot.curve(axis, group, TOL, line, style)
        plot.hollow(axis, group[group["certified"] < 1], TOL, style)
    axis.set_xscale("log")
    axis.invert_xaxis()
    axis.set_ylim(bottom=0)
    axis.set_xlabel("relative distance to be certified")


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and kind of request."""
    cells = _cells(found)
    place = panels.place(cells, amount=False)
    numbers = _numbers(cells, place)
    styles = plot.looks(list(dict.fromkeys(cells["line"])))
    shown = panels.places(cells, place)
    figure, axes = plot.grid(len(shown), len(LABELS))
    for row, key in zip(axes, shown, strict=True):
        here = panels.at(numbers, place, key)
        for axis, (name, label) in zip(row, LABELS.items(), strict=True):
            _panel(axis, here[here["quantity"] == name], styles)
            axis.set_ylabel(label)
        row[0].set_title(panels.title(place, key), loc="left")
    plot.legend(figure, axes)
    devices = ", ".join(sorted(found.timings["device_kind"].astype(str).unique()))
    left = plot.seeds(numbers, tables.left_out(found))
    plot.note(figure, f"{left}; compiled beforehand, on {devices}")
    return figure, numbers
