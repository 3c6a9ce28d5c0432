"""Validation NDCG, rank and certificate of certified ALS against the ridge, a line per confidence.

Dashed: plain ALS from scratch on the same data. A hollow marker: not certified to the tolerance
in some seed. Dotted: the number of factors, which the rank must not exceed.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables
from ._tables import Tables

X, LINE, TOL = "model.reg", "model.alpha", "method.tol"
PLAIN = "ndcg of plain ALS"
LABELS = {"ndcg": "validation NDCG@{k}", "rank": "rank of the model", "bound": "certified distance"}
COLUMNS = {
    "ndcg": "ndcg after",
    PLAIN: "ndcg reference",
    "rank": "unlearn.rank",
    "bound": "unlearn.relative_bound",
}


def _cells(tables: Tables) -> pd.DataFrame:
    cells = _panels.certified(tables)
    if cells.empty or X not in cells or cells[X].nunique() < 2:
        raise Refused("certificate_grid: no finished cell of certified_als swept model.reg")
    cells = cells.set_index("cell", drop=False)
    _panels.with_metric(tables, cells, "ndcg", "ndcg", "valid", _tables.first_k(tables, "ndcg"))
    words = (
        [f"confidence {a:g}" for a in cells[LINE]]
        if LINE in cells
        else ["certified_als"] * len(cells)
    )
    cells["line"] = _panels.with_lines(words, cells, (TOL,))
    return cells


def _panel(axis: plt.Axes, rows: pd.DataFrame, plain: pd.DataFrame, styles: dict) -> None:
    for line, style in styles.items():
        group = rows[rows["line"] == line]
        _plot.curve(axis, group, X, line, style)
        _plot.hollow(axis, group[group["certified"] < 1], X, style)
        cold = plain[plain["line"] == line]
        if len(cold):
            axis.plot(cold[X], cold["mean"], color=style["color"], linestyle="--", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_xlabel("ridge")


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, number of factors and request."""
    cells = _cells(tables)
    groups = [n for n in _panels.groups(cells, amount=True) if n not in (X, LINE)]
    groups += [TOL] if TOL in cells else []
    numbers = _panels.with_certified(cells, [*groups, "line", X], COLUMNS)
    styles = _plot.looks(list(dict.fromkeys(cells["line"])))
    shown, k = _panels.keys(cells, groups), _tables.first_k(tables, "ndcg")
    plain = numbers[numbers["quantity"] == PLAIN]

    def panel(axis, rows, name, key):
        beside = _panels.rows(plain, groups, key) if name == "ndcg" else plain.iloc[:0]
        _panel(axis, rows, beside, styles)
        axis.set_ylabel(LABELS[name].format(k=k))
        if name == "bound":
            axis.set_yscale("log")
        if name == "rank" and "model.dim" in groups:
            axis.axhline(key[groups.index("model.dim")], color="#777777", linestyle=":")

    figure, axes = _plot.grid(len(shown), len(LABELS))
    _panels.page((figure, axes), numbers, groups, shown, list(LABELS), panel)
    _plot.legend(figure, axes)
    words = "dashed: plain ALS from scratch; hollow: not certified as asked"
    _panels.note(figure, tables, numbers, words, *_panels.unbounded(cells))
    return figure, numbers
