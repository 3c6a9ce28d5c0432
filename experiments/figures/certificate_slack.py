"""The certified distance against the true one: a sound certificate stays above the diagonal.

True is the distance to the reference, which must be the converged optimum for this to say anything.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables
from ._tables import Tables

TOL, BOUND = "method.tol", "unlearn.relative_bound"


def _numbers(tables: Tables) -> tuple[pd.DataFrame, list[str]]:
    """The bound (mean, low, high over seeds) and the true distance by group, line and tolerance."""
    cells = _panels.certified(tables)
    if cells.empty or TOL not in cells:
        raise Refused("certificate_slack: no finished cell of certified_als swept method.tol")
    cells = cells[cells["unbounded"] == 0].set_index("cell", drop=False)  # else there is no point
    if cells.empty:
        raise Refused("certificate_slack: no certificate has a finite bound")
    _panels.with_metric(tables, cells, "true", "distance", "all")
    amounts = [
        _panels.title(list(_panels.AMOUNT), key) for key in zip(cells["ratio"], cells["count"])
    ]
    cells["line"] = _panels.with_lines(amounts, cells, (TOL,))
    cells = cells.sort_values(["ratio", "count"])
    groups = _panels.groups(cells, amount=False)
    by = [*groups, "line", TOL]
    true = _tables.intervals(cells, by, "true after").rename(columns={"mean": "true"})
    cells["ratio of the two"] = cells[BOUND] / cells["true after"]
    slack = _tables.intervals(cells, by, "ratio of the two").rename(columns={"mean": "slack"})
    frame = _tables.intervals(cells, by, BOUND)
    for part, name in ((true, "true"), (slack, "slack")):
        frame = frame.merge(part[[*by, name]], on=by)
    return frame, groups


def _panel(axis: plt.Axes, here: pd.DataFrame, styles: dict) -> None:
    for line, style in styles.items():
        group = here[here["line"] == line].sort_values("true")
        _plot.curve(axis, group, "true", line, style)
    ends = [here["true"].min(), here["true"].max()]
    axis.plot(ends, ends, **_plot.REFERENCE, label="bound = distance")
    axis.set(xscale="log", yscale="log")
    axis.set_xlabel("true relative distance to the optimum")
    axis.set_ylabel("certified distance")


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one panel per data set, model and kind of request."""
    numbers, groups = _numbers(tables)
    shown = _panels.keys(numbers, groups)
    styles = _plot.looks(list(dict.fromkeys(numbers["line"])))

    def panel(axis, rows, *_):
        _panel(axis, rows, styles)
        axis.legend()

    figure, axes = _plot.grid(len(shown), 1)
    figure.set_size_inches(4.4, figure.get_figheight())  # room for the note
    _panels.page((figure, axes), numbers, groups, shown, ["bound"], panel)
    _panels.note(figure, tables, numbers, *_panels.unbounded(_panels.certified(tables)))
    return figure, numbers
