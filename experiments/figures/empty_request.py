"""Accuracy after an empty request, per method: what a method costs those who ask for nothing.

Partition methods pay with accuracy from the start, before anyone asks; the dashed line is the
model without unlearning (Figure 4 of arXiv 2307.02147). The numbers hold each method's difference
from that model too, paired by seed.
"""

import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.tables import Tables

PLAIN = "retrain"  # the plug-in whose state before the request is the model without unlearning


def _numbers(found: Tables, cells: pd.DataFrame, place: list[str]) -> pd.DataFrame:
    """Everything drawn, long: quantity, place, line, mean, low, high, n, change and its interval."""
    parts = []
    for label, metric, split, k in panels.accuracies(found):
        panels.with_metric(found, cells, label, metric, split, k)
        plain = cells[cells["method"] == PLAIN].drop_duplicates([*place, "seed"])
        plain = plain[[*place, "seed", f"{label} before"]].rename(
            columns={f"{label} before": "plain"}
        )
        joined = cells.merge(plain, on=[*place, "seed"], how="left")
        joined["difference"] = joined[f"{label} after"] - joined["plain"]
        after = tables.intervals(joined, [*place, "line"], f"{label} after")
        change = tables.intervals(joined, [*place, "line"], "difference").drop(columns="n")
        names = {"mean": "change", "low": "change_low", "high": "change_high"}
        after = after.merge(change.rename(columns=names), on=[*place, "line"], how="left")
        whole = tables.intervals(plain, place, "plain").assign(line="original")
        parts += [part.assign(quantity=label) for part in (whole, after)]
    frame = pd.concat(parts, ignore_index=True)
    columns = ["mean", "low", "high", "n", "change", "change_low", "change_high"]
    return frame[["quantity", *place, "line", *columns]]


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set and model."""
    cells = tables.finished(found).set_index("cell", drop=False)
    cells = cells[cells["kind"] == "none"].copy()
    if not (cells["method"] == PLAIN).any():
        raise Refused('empty_request: needs request.kind = "none" and the method "retrain"')
    cells["line"] = panels.lines(cells)
    place = panels.place(cells, amount=False)
    numbers = _numbers(found, cells.reset_index(drop=True).set_index("cell", drop=False), place)
    lines = list(dict.fromkeys(cells["line"]))
    shown, quantities = panels.places(cells, place), list(dict.fromkeys(numbers["quantity"]))
    height = 0.22 * len(lines) + 0.9
    figure, axes = plot.grid(len(shown), len(quantities), width=3.6, height=height)
    for row, key in zip(axes, shown, strict=True):
        here = panels.at(numbers, place, key)
        there = [line for line in lines if line in set(here["line"])]
        for axis, name in zip(row, quantities, strict=True):
            part = here[here["quantity"] == name]
            whole = part[part["line"] == "original"]
            axis.axvspan(whole["low"].item(), whole["high"].item(), **plot.FLOOR)
            axis.axvline(whole["mean"].item(), **plot.REFERENCE, label="without unlearning")
            at = plot.heights(axis, there)
            look = {"color": plot.COLOURS[0], "marker": "o"}
            plot.dots(axis, part, at, "after an empty request", **look)
            axis.set_xlabel(name)
            axis.set_ylabel("method")
        row[0].set_title(panels.title(place, key), loc="left")
    plot.legend(figure, axes)
    plot.note(figure, plot.seeds(numbers, tables.left_out(found), "bars and bands"))
    return figure, numbers
