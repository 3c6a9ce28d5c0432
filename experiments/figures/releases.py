"""How much of the deleted histories an observer of two releases recovers, against their number.

Of the table reconstruction.csv that the command ``reconstruct`` writes.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _beside, _panels, _plot, _tables

OF_FOLDER, TABLES = True, ("reconstruction",)
GROUP = ["data", "model", "method"]  # and the kind of request, where there are several
SHOWN = (
    "unlearnt",
    "retrained, same seed",
    "retrained, another seed",
    "unlearnt, int8",
    "unlearnt, noise 1",
    "unlearnt, noise 3",
)
POPULARITY = "popularity alone"


def _numbers(rows: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """Everything drawn: groups, line, count, mean, low, high, n."""
    by = [*groups, "line", "count"]
    rows = rows.assign(line=rows["release"])
    base = rows[rows["release"] == SHOWN[0]].assign(line=POPULARITY)
    return pd.concat(
        [
            _tables.intervals(rows[rows["line"].isin(SHOWN)], by, "r_precision"),
            _tables.intervals(base, by, "popularity_r_precision"),
        ]
    )


def _panel(axis: plt.Axes, rows: pd.DataFrame, looks: dict[str, dict]) -> None:
    for line, look in looks.items():
        mine = rows[rows["line"] == line].sort_values("count")
        _plot.curve(axis, mine, "count", line, look)
    axis.set_xscale("log")
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("users deleted between two releases")
    axis.set_ylabel("deleted items found (R-precision)")


def draw(folder: Path) -> tuple[Figure, pd.DataFrame]:
    """Draws one panel per data set, model, method and kind of request; a line per release."""
    rows = _beside.read(folder, "reconstruction")
    if rows["count"].isna().any() or rows["count"].nunique() < 2:
        raise Refused("releases: needs requests of several sizes (request.count = [1, 10])")
    groups = [*GROUP, "kind"] if rows["kind"].nunique() > 1 else GROUP
    numbers = _numbers(rows, groups)
    looks = _plot.looks([*SHOWN]) | {POPULARITY: dict(_plot.BEFORE)}
    shown = _panels.keys(numbers, groups)
    figure, axes = _plot.wrapped(len(shown), 3)
    _panels.page(
        (figure, axes),
        numbers,
        groups,
        shown,
        ["r_precision"],
        lambda axis, rows, *_: _panel(axis, rows, looks),
    )
    _plot.legend(figure, axes)
    n = numbers["n"]
    _plot.note(figure, f"n = {n.min()} to {n.max()} draws of users; bands: 95% t-interval")
    return figure, numbers
