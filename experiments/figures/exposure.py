"""How many users are shown the target of a shilling attack: before and after, and retrained."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables
from ._tables import Tables

STAGES = {"before": "under attack", "after": "after unlearning", "reference": "retrained without"}


def _numbers(tables: Tables, cells: pd.DataFrame, groups: list[str], k: int) -> pd.DataFrame:
    """Everything drawn, long: stage, groups, line, mean, low, high, n."""
    _panels.with_metric(tables, cells, "exposure", "exposure", "all", k)
    by, once = [*groups, "line"], cells.drop_duplicates([*groups, "seed"])
    parts = [
        _tables.intervals(cells, by, f"exposure {stage}").assign(stage=stage)
        for stage in ("before", "after")
    ]
    goal = _tables.intervals(once, groups, "exposure reference")
    parts.append(goal.assign(stage="reference", line="reference"))
    return pd.concat(parts, ignore_index=True)[["stage", *by, "mean", "low", "high", "n"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, lines: list[str]) -> None:
    at = _plot.heights(axis, [line for line in lines if line in set(rows["line"])])
    goal = rows[rows["stage"] == "reference"]
    axis.axvspan(max(goal["low"].item(), 0), goal["high"].item(), **_plot.FLOOR)
    axis.axvline(goal["mean"].item(), **_plot.REFERENCE, label=STAGES["reference"])
    for stage, look in (
        ("before", {"color": _plot.COLOURS[1], "marker": "s", "fillstyle": "none"}),
        ("after", {"color": _plot.COLOURS[0], "marker": "o"}),
    ):
        _plot.dots(axis, rows[rows["stage"] == stage], at, STAGES[stage], **look)
    axis.set_xlim(left=0)
    axis.set_ylabel("method")


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one panel per data set, model, attack and, where it varies, amount."""
    if "exposure" not in set(tables.metrics["metric"]):
        raise Refused('exposure: needs a request such as kind = "shilling_bandwagon"')
    cells = _tables.finished(tables).set_index("cell", drop=False)
    cells = cells[cells["kind"].str.startswith("shilling")].copy()
    cells["line"] = _panels.lines(cells)
    amounts = [name for name in _panels.AMOUNT if cells[name].nunique() > 1]
    groups, k = (
        [*_panels.groups(cells, amount=False), *amounts],
        _tables.first_k(tables, "exposure"),
    )
    numbers = _numbers(tables, cells, groups, k)
    shown, lines = _panels.keys(cells, groups), list(dict.fromkeys(cells["line"]))

    def panel(axis, rows, *_):
        _panel(axis, rows, lines)
        axis.set_xlabel(f"users whose top {k} holds the target (share)")

    figure, axes = _plot.wrapped(len(shown), 2, width=4.4, height=0.22 * len(lines) + 1.0)
    _panels.page((figure, axes), numbers, groups, shown, ["exposure"], panel)
    _plot.legend(figure, axes)
    _panels.note(figure, tables, numbers, mark="bars and bands")
    return figure, numbers
