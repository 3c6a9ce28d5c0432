"""What injected profiles tell: before and after unlearning, and retrained.

Of a shilling attack, how many users are shown its target; of canaries, the exposure of those that
were to be forgotten.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables
from ._tables import Tables

STAGES = {"before": "undeleted", "after": "after unlearning", "reference": "retrained without"}


def _numbers(tables: Tables, cells: pd.DataFrame, groups: list[str], what: tuple) -> pd.DataFrame:
    """Everything drawn, long: stage, groups, line, mean, low, high, n."""
    _panels.with_metric(tables, cells, "exposure", *what)
    cells["exposure before"] = cells["exposure undeleted"]
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


def _what(tables: Tables) -> tuple[tuple[str, str, int | None], str]:
    """The metric, its part and its k, and the label of the axis."""
    there = {"exposure", "rank_exposure"} & set(tables.metrics["metric"])
    if len(there) != 1:
        raise Refused(
            'exposure: needs a request such as kind = "shilling_bandwagon", or kind = "canaries", '
            "and not both"
        )
    if "rank_exposure" in there:
        return ("rank_exposure", "forgotten", None), "exposure of the forgotten canaries (bits)"
    k = _tables.first_k(tables, "exposure")
    return ("exposure", "all", k), f"users whose top {k} holds the target (share)"


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one panel per data set, model, attack and, where it varies, amount."""
    what, label = _what(tables)
    cells = _tables.finished(tables).set_index("cell", drop=False)
    told = set(tables.metrics.loc[tables.metrics["metric"] == what[0], "cell"])
    cells = cells[cells["cell"].isin(told)].copy()
    cells["line"] = _panels.lines(cells)
    amounts = [name for name in _panels.AMOUNT if cells[name].nunique() > 1]
    groups = [*_panels.groups(cells, amount=False), *amounts]
    numbers = _numbers(tables, cells, groups, what)
    shown, lines = _panels.keys(cells, groups), list(dict.fromkeys(cells["line"]))

    def panel(axis, rows, *_):
        _panel(axis, rows, lines)
        axis.set_xlabel(label)

    figure, axes = _plot.wrapped(len(shown), 2, width=4.4, height=0.22 * len(lines) + 1.0)
    _panels.page((figure, axes), numbers, groups, shown, ["exposure"], panel)
    _plot.legend(figure, axes)
    _panels.note(figure, tables, numbers, mark="bars and bands")
    return figure, numbers
