"""What spillover influence adds: the same step with and without it, seed by seed."""

import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.tables import Tables

SPILLOVER = "method.spillover"
LABELS = {
    "auc": "AUC recovered",
    "auc_or": "recovered, user or item asked",
    "auc_and": "recovered, user and item asked",
    "residual": "local residual",
}


def _cells(found: Tables) -> pd.DataFrame:
    """Finished cells whose spillover was switched, with what they recover."""
    cells = tables.finished(found).set_index("cell", drop=False)
    if SPILLOVER not in cells or cells[SPILLOVER].dropna().nunique() < 2:
        raise Refused(
            "spillover: no method was run with and without it (spillover = [true, false])"
        )
    for name in ("auc", "auc_or", "auc_and"):
        cells[name] = tables.recovery(found, name)
    cells["residual"] = tables.local_residual(found)
    cells = cells[cells[SPILLOVER].notna()].copy()
    cells["line"] = panels.lines(cells, (SPILLOVER,))
    cells["spillover"] = cells[SPILLOVER].astype(str).str.lower()
    return cells


def _numbers(cells: pd.DataFrame, place: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, place, line, spillover, mean, low, high, n."""
    by, parts = [*place, "line", "spillover"], []
    for name in LABELS:
        parts.append(tables.intervals(cells, by, name).assign(quantity=name))
    return pd.concat(parts, ignore_index=True)[["quantity", *by, "mean", "low", "high", "n"]]


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount; thin lines join the seeds."""
    cells = _cells(found)
    place = panels.place(cells, amount=True)
    numbers = _numbers(cells, place)
    order = [w for w in ("false", "truncated", "true") if w in set(cells["spillover"])]
    styles = plot.looks(list(dict.fromkeys(cells["line"])))
    shown = panels.places(cells, place)
    quantities = [name for name in LABELS if name in set(numbers["quantity"])]
    figure, axes = plot.grid(len(shown), len(quantities))
    for row, key in zip(axes, shown, strict=True):
        here, ours = panels.at(numbers, place, key), panels.at(cells, place, key)
        for axis, name in zip(row, quantities, strict=True):
            part = here[here["quantity"] == name]
            for line, style in styles.items():
                for _, seed in ours[ours["line"] == line].groupby("seed"):
                    seed = seed.sort_values("spillover", key=lambda s: s.map(order.index))
                    axis.plot(seed["spillover"].map(order.index), seed[name],
                              color=style["color"], linewidth=0.5, alpha=0.5)  # fmt: skip
                mean = part[part["line"] == line].copy()
                mean["x"] = mean["spillover"].map(order.index)
                plot.curve(axis, mean.sort_values("x"), "x", line, style)
            words = {"false": "without", "true": "with"}
            axis.set_xticks(range(len(order)), [words.get(w, w) for w in order])
            axis.set_xlim(-0.3, len(order) - 0.7)
            axis.set_xlabel("spillover influence")
            axis.set_ylabel(LABELS[name])
        row[0].set_title(panels.title(place, key), loc="left")
    plot.legend(figure, axes)
    plot.note(figure, plot.seeds(numbers, tables.left_out(found)))
    return figure, numbers
