"""Validation NDCG, rank and certificate of certified ALS against the ridge, a line per confidence.

Dashed: plain ALS from scratch on the same data. A hollow marker: not certified to the tolerance
asked, in some seed; the dotted line is the factors there were, which the rank must not exceed.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.tables import Tables

X, LINE, TOL = "model.reg", "model.alpha", "method.tol"
PLAIN = "ndcg of plain ALS"
LABELS = {"ndcg": "validation NDCG@{k}", "rank": "rank of the model", "bound": "certified distance"}
COLUMNS = {"ndcg": "ndcg after", PLAIN: "ndcg reference", "rank": "unlearn.rank",
           "bound": "unlearn.relative_bound"}  # fmt: skip


def _cells(found: Tables) -> pd.DataFrame:
    cells = panels.certified(found)
    if cells.empty or X not in cells or cells[X].nunique() < 2:
        raise Refused("certificate_grid: no finished cell of certified_als swept model.reg")
    cells = cells.set_index("cell", drop=False)
    panels.with_metric(found, cells, "ndcg", "ndcg", "valid", tables.first_k(found, "ndcg"))
    cells["line"] = [f"confidence {a:g}" for a in cells[LINE]] if LINE in cells else "certified_als"
    return cells


def _numbers(cells: pd.DataFrame, place: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, place, line, reg, mean, low, high, n, certified."""
    by = [*place, "line", X]
    proved = tables.intervals(cells, by, "certified").rename(columns={"mean": "certified"})
    parts = [
        tables.intervals(cells, by, column)
        .merge(proved[[*by, "certified"]], on=by)
        .assign(quantity=name)
        for name, column in COLUMNS.items()
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame[["quantity", *by, "mean", "low", "high", "n", "certified"]]


def _panel(axis: plt.Axes, here: pd.DataFrame, name: str, styles: dict) -> None:
    for line, style in styles.items():
        rows = here[here["line"] == line]
        group = rows[rows["quantity"] == name]
        plot.curve(axis, group, X, line, style)
        plot.hollow(axis, group[group["certified"] < 1], X, style)
        if name == "ndcg":
            plain = rows[rows["quantity"] == PLAIN]
            axis.plot(plain[X], plain["mean"], color=style["color"], linestyle="--", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_xlabel("ridge")


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, number of factors and request."""
    cells = _cells(found)
    place = [n for n in panels.place(cells, amount=True) if n not in (X, LINE)]
    place += [TOL] if TOL in cells else []
    numbers = _numbers(cells, place)
    styles = plot.looks(list(dict.fromkeys(cells["line"])))
    shown = panels.places(cells, place)
    figure, axes = plot.grid(len(shown), len(LABELS))
    for row, key in zip(axes, shown, strict=True):
        here = panels.at(numbers, place, key)
        for axis, (name, label) in zip(row, LABELS.items(), strict=True):
            _panel(axis, here, name, styles)
            axis.set_ylabel(label.format(k=tables.first_k(found, "ndcg")))
        row[2].set_yscale("log")
        if "model.dim" in place:
            row[1].axhline(key[place.index("model.dim")], color="#777777", linestyle=":")
        row[0].set_title(panels.title(place, key), loc="left")
    plot.legend(figure, axes)
    left = plot.seeds(numbers, tables.left_out(found))
    plot.note(figure, f"{left}; dashed: plain ALS from scratch; hollow: not certified as asked")
    return figure, numbers
