"""The certified distance against the true one: a sound certificate stays above the diagonal.

True is the distance to the reference, which must be the converged optimum for this to say anything.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.tables import Tables

TOL, BOUND = "method.tol", "unlearn.relative_bound"


def _numbers(found: Tables) -> tuple[pd.DataFrame, list[str]]:
    """The bound (mean, low, high over seeds) and the true distance by place, line and tolerance."""
    cells = panels.certified(found)
    if cells.empty or TOL not in cells:
        raise Refused("certificate_slack: no finished cell of certified_als swept method.tol")
    cells = cells.set_index("cell", drop=False)
    panels.with_metric(found, cells, "true", "distance", "all")
    cells["line"] = [
        panels.title(list(panels.AMOUNT), key) for key in zip(cells["ratio"], cells["count"])
    ]
    cells = cells.sort_values(["ratio", "count"])
    place = panels.place(cells, amount=False)
    by = [*place, "line", TOL]
    true = tables.intervals(cells, by, "true after").rename(columns={"mean": "true"})
    cells["ratio of the two"] = cells[BOUND] / cells["true after"]
    slack = tables.intervals(cells, by, "ratio of the two").rename(columns={"mean": "slack"})
    frame = tables.intervals(cells, by, BOUND)
    for part, name in ((true, "true"), (slack, "slack")):
        frame = frame.merge(part[[*by, name]], on=by)
    return frame, place


def _panel(axis: plt.Axes, here: pd.DataFrame, styles: dict) -> None:
    for line, style in styles.items():
        group = here[here["line"] == line].sort_values("true")
        plot.curve(axis, group, "true", line, style)
    ends = [here["true"].min(), here["true"].max()]
    axis.plot(ends, ends, **plot.REFERENCE, label="bound = distance")
    axis.set(xscale="log", yscale="log")
    axis.set_xlabel("true relative distance to the optimum")
    axis.set_ylabel("certified distance")


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one panel per data set, model and kind of request."""
    numbers, place = _numbers(found)
    shown = panels.places(numbers, place)
    styles = plot.looks(list(dict.fromkeys(numbers["line"])))
    figure, axes = plot.grid(len(shown), 1)
    figure.set_size_inches(4.4, figure.get_figheight())  # room for the note
    for (axis,), key in zip(axes, shown, strict=True):
        _panel(axis, panels.at(numbers, place, key), styles)
        axis.set_title(panels.title(place, key), loc="left")
        axis.legend()
    plot.note(figure, plot.seeds(numbers, tables.left_out(found)))
    return figure, numbers
