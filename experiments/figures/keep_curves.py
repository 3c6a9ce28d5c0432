"""The pruning curve: accuracy, nearness and seconds against the share of reached rows updated."""

import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.tables import Tables

KEEP = "method.keep"
LABELS = {
    "auc": "test AUC",
    "auc_and": "test AUC, user and item asked",
    "residual": "local residual",
    "seconds": "time to forget (s)",
}


def _cells(found: Tables) -> pd.DataFrame:
    """Finished cells whose kept share was swept, with the four quantities."""
    cells = tables.finished(found).set_index("cell", drop=False)
    if KEEP not in cells or cells[KEEP].isna().all():
        raise Refused("keep_curves: no finished cell has a swept share (a list as keep)")
    for name in ("auc", "auc_and"):
        panels.with_metric(found, cells, name, name, "test")
    cells["residual after"] = tables.local_residual(found)
    cells["seconds after"] = found.timings.set_index("cell")["unlearn_seconds"]
    cells["line"] = panels.lines(cells, (KEEP,))
    return cells[cells[KEEP].notna()]


def _numbers(cells: pd.DataFrame, place: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, place, line, keep, mean, low, high, n."""
    once, parts = cells.drop_duplicates([*place, "seed"]), []
    for name in LABELS:
        after = tables.intervals(cells, [*place, "line", KEEP], f"{name} after")
        parts.append(after.rename(columns={KEEP: "keep"}).assign(quantity=name))
        for stage, line in (("before", "undeleted"), ("reference", "reference")):
            if f"{name} {stage}" in cells:
                flat = tables.intervals(once, place, f"{name} {stage}")
                parts.append(flat.assign(quantity=name, line=line))
    numbers = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return numbers[["quantity", *place, "line", "keep", "mean", "low", "high", "n"]]


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount."""
    cells = _cells(found)
    place = panels.place(cells, amount=True)
    numbers = _numbers(cells, place)
    styles = plot.looks(list(dict.fromkeys(cells["line"])))
    shown, there = panels.places(cells, place), set(numbers["quantity"])
    quantities = [name for name in LABELS if name in there]
    figure, axes = plot.grid(len(shown), len(quantities))
    for row, key in zip(axes, shown, strict=True):
        here = panels.at(numbers, place, key)
        for axis, name in zip(row, quantities, strict=True):
            part = here[here["quantity"] == name]
            for line, style in styles.items():
                plot.curve(axis, part[part["line"] == line], "keep", line, style)
            for line, look in (("undeleted", plot.BEFORE), ("reference", plot.REFERENCE)):
                for y in part.loc[part["line"] == line, "mean"]:
                    words = {"undeleted": "undeleted model", "reference": "retrained reference"}
                    axis.axhline(y, **look, label=words[line])
            axis.set_xlabel("share of reached rows updated")
            axis.set_ylabel(LABELS[name])
            if name in ("residual", "seconds"):
                axis.set_ylim(bottom=0)
        row[0].set_title(panels.title(place, key), loc="left")
    plot.legend(figure, axes)
    plot.note(figure, plot.seeds(numbers, tables.left_out(found)))
    return figure, numbers
