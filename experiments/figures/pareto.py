"""What each method leaves of the distance to retraining, against the seconds that it takes.

Of the table verdict.csv that the command ``evidence`` writes and of the seconds of the cells that
``run`` and ``collect`` made of the same config.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import PROGRAM, Refused
from . import _beside, _panels, _plot, _tables
from .verdicts import GROUP, LEAST, LEFT, UNDELETED

OF_FOLDER, TABLES = True, ("verdict", "cells")


def _panel(axis: plt.Axes, rows: pd.DataFrame, looks: dict[str, dict]) -> None:
    axis.axhspan(LEAST, LEFT, **_plot.FLOOR)
    axis.axhline(1.0, **_plot.BEFORE)
    axis.axvline(rows["again"].mean(), **_plot.REFERENCE)
    for _, row in rows.iterrows():
        look = looks[row["method"]] | {"linestyle": "none"}
        ends = [max(row[f"left_{end}"], LEAST) for end in ("low", "high")]
        if not pd.isna(row["left_low"]):
            axis.plot([row["seconds"]] * 2, ends, color=look["color"])
        if not pd.isna(row["seconds_low"]):
            wide = [max(row["seconds_low"], row["seconds"] / 10), row["seconds_high"]]
            axis.plot(wide, [max(row["left"], LEAST)] * 2, color=look["color"])
        axis.plot([row["seconds"]], [max(row["left"], LEAST)], label=row["method"], **look)
    axis.set(xscale="log", yscale="log", xlabel="seconds of one request")
    axis.set_ylabel("share of the distance left")
    axis.set_ylim(LEAST, max(3.0, 1.3 * rows[["left", "left_high"]].max(axis=None)))


def draw(folder: Path) -> tuple[Figure, pd.DataFrame]:
    """Draws one panel per data set, model and request, of what can be told at all."""
    numbers = _tables.with_seconds(folder, _beside.read(folder, "verdict"))
    numbers = numbers[(numbers["method"] != UNDELETED) & (numbers["verdict"] != "cannot be told")]
    numbers = numbers[numbers["seconds"].notna() & numbers["left"].notna()]
    if numbers.empty:
        raise Refused(
            f"pareto: no method has a verdict and seconds; first: {PROGRAM} run {folder.name}, "
            f"{PROGRAM} collect {folder.name}"
        )
    shown = _panels.keys(numbers, GROUP)
    looks = _plot.looks([*dict.fromkeys(numbers["method"])])
    canvas = _plot.wrapped(len(shown), 2, width=4.4)
    _panels.page(
        canvas, numbers, GROUP, shown, ["left"], lambda axis, rows, *_: _panel(axis, rows, looks)
    )
    _plot.legend(*canvas)
    n = numbers["seconds_n"].astype(int)
    n = f"{n.min()} to {n.max()}" if n.nunique() > 1 else f"{n.max()}"
    _plot.note(
        canvas[0],
        f"n = {n} requests timed; bars: 95% intervals; grey: below {LEFT:.0%}; dotted: undeleted; "
        "dashed: training again",
    )
    return canvas[0], numbers
