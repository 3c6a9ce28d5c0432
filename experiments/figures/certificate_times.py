"""Steps and seconds to a certified distance, warm starts by size of the request, and cold ones.

Cold is the certified training of the undeleted model to the same bound. A hollow marker: not
certified in every seed.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..config.grid import AGAIN
from ..errors import Refused
from . import _panels, _plot
from ._tables import Tables

TOL = "method.tol"
COLD = "cold training"
LABELS = {"steps": "proximal steps", "seconds": "time with certificates (s)"}


def _cells(tables: Tables) -> pd.DataFrame:
    """One row per warm run and one per cold run, with line, steps, seconds and certified."""
    warm = _panels.certified(tables)
    if warm.empty or TOL not in warm:
        raise Refused("certificate_times: no finished cell of certified_als swept method.tol")
    warm = warm.merge(tables.timings[["cell", "unlearn_seconds", "fit_seconds"]], on="cell")
    once = (TOL, AGAIN)  # a training is not repeated where its unlearning is
    warm = warm.assign(trained=_panels.with_lines([COLD] * len(warm), warm, once))
    cold = warm.drop_duplicates([*_panels.groups(warm, amount=False), TOL, "trained", "seed"])
    cold = cold.assign(
        line=cold["trained"],
        steps=cold["fit.steps"],
        seconds=cold["fit_seconds"],
        certified=(cold["fit.relative_bound"] <= cold[TOL]).astype(float),
        unbounded=cold["fit.relative_bound"].isna().astype(float),
    )
    amounts = [
        _panels.title(list(_panels.AMOUNT), key) for key in zip(warm["ratio"], warm["count"])
    ]
    warm = warm.assign(
        line=_panels.with_lines(amounts, warm, (TOL,)),
        steps=warm["unlearn.steps"],
        seconds=warm["unlearn_seconds"],
    ).sort_values(["ratio", "count"])
    return pd.concat([cold, warm], ignore_index=True)


def _panel(axis: plt.Axes, rows: pd.DataFrame, styles: dict) -> None:
    for line, style in styles.items():
        group = rows[rows["line"] == line]
        _plot.curve(axis, group, TOL, line, style)
        _plot.hollow(axis, group[group["certified"] < 1], TOL, style)
    axis.set_xscale("log")
    axis.invert_xaxis()
    axis.set_ylim(bottom=0)
    axis.set_xlabel("relative distance to be certified")


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and kind of request."""
    cells = _cells(tables)
    groups = _panels.groups(cells, amount=False)
    numbers = _panels.with_certified(cells, [*groups, "line", TOL], dict(zip(LABELS, LABELS)))
    styles = _plot.looks(list(dict.fromkeys(cells["line"])))
    shown = _panels.keys(cells, groups)

    def panel(axis, rows, name, _):
        _panel(axis, rows, styles)
        axis.set_ylabel(LABELS[name])

    figure, axes = _plot.grid(len(shown), len(LABELS))
    _panels.page((figure, axes), numbers, groups, shown, list(LABELS), panel)
    _plot.legend(figure, axes)
    asked = _panels.unbounded(_panels.certified(tables))
    _panels.note(figure, tables, numbers, *asked, _panels.devices(tables))
    return figure, numbers
