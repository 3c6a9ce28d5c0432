"""What spillover influence adds: the same step with and without it, seed by seed."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables, _undeleted
from ._tables import Tables

SPILLOVER = "method.spillover"
LABELS = {
    "auc": "AUC recovered",
    "auc_or": "recovered, user or item asked",
    "auc_and": "recovered, user and item asked",
    "residual": "local residual",
}


def _cells(tables: Tables) -> pd.DataFrame:
    """Finished cells whose spillover was switched, with what they recover."""
    cells = _tables.finished(tables).set_index("cell", drop=False)
    if SPILLOVER not in cells or cells[SPILLOVER].dropna().nunique() < 2:
        raise Refused(
            "spillover: no method was run with and without it (spillover = [true, false])"
        )
    for name in ("auc", "auc_or", "auc_and"):
        cells[name] = _undeleted.recovery(tables, name)
    cells["residual"] = _undeleted.local_residual(tables)
    cells = cells[cells[SPILLOVER].notna()].copy()
    cells["line"] = _panels.lines(cells, (SPILLOVER,))
    cells["spillover"] = cells[SPILLOVER].astype(str).str.lower()
    return cells


def _numbers(cells: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, groups, line, spillover, mean, low, high, n."""
    by, parts = [*groups, "line", "spillover"], []
    for name in LABELS:
        parts.append(_tables.intervals(cells, by, name).assign(quantity=name))
    return pd.concat(parts, ignore_index=True)[["quantity", *by, "mean", "low", "high", "n"]]


def _panel(
    axis: plt.Axes,
    rows: pd.DataFrame,
    cells: pd.DataFrame,
    name: str,
    order: list[str],
    styles: dict,
) -> None:
    """Thin lines join the cells of a seed; a thick one the means."""
    for line, style in styles.items():
        thin = {"color": style["color"], "linewidth": 0.5, "alpha": 0.5}
        for _, seed in cells[cells["line"] == line].groupby("seed"):
            seed = seed.sort_values("spillover", key=lambda s: s.map(order.index))
            axis.plot(seed["spillover"].map(order.index), seed[name], **thin)
        mean = rows[rows["line"] == line].copy()
        mean["x"] = mean["spillover"].map(order.index)
        _plot.curve(axis, mean.sort_values("x"), "x", line, style)
    words = {"false": "without", "true": "with"}
    axis.set_xticks(range(len(order)), [words.get(w, w) for w in order])
    axis.set_xlim(-0.3, len(order) - 0.7)
    axis.set_xlabel("spillover influence")
    axis.set_ylabel(LABELS[name])


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount; thin lines join the seeds."""
    cells = _cells(tables)
    groups = _panels.groups(cells, amount=True)
    numbers = _numbers(cells, groups)
    if not len(numbers):
        raise Refused(
            "; ".join(["spillover: no recovery is known", *_undeleted.without(tables, cells)])
        )
    order = [w for w in ("false", "truncated", "true") if w in set(cells["spillover"])]
    styles = _plot.looks(list(dict.fromkeys(cells["line"])))
    shown = _panels.keys(cells, groups)
    quantities = [name for name in LABELS if name in set(numbers["quantity"])]

    def panel(axis, rows, name, key):
        _panel(axis, rows, _panels.rows(cells, groups, key), name, order, styles)

    figure, axes = _plot.grid(len(shown), len(quantities))
    _panels.page((figure, axes), numbers, groups, shown, quantities, panel)
    _plot.legend(figure, axes)
    _panels.note(figure, tables, numbers, *_undeleted.without(tables, cells))
    return figure, numbers
