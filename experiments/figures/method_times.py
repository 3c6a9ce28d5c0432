"""Seconds to forget per method beside training again, on one axis."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from . import _panels, _plot, _tables
from ._tables import Tables

AGAIN = "training again (reference)"


def _numbers(tables: Tables) -> tuple[pd.DataFrame, list[str]]:
    """Everything drawn: groups, line, mean, low, high, n, times faster than training again."""
    cells = _tables.finished(tables).set_index("cell", drop=False)
    cells = cells.join(tables.timings.set_index("cell")[["unlearn_seconds", "reference_seconds"]])
    cells["line"] = _panels.lines(cells)
    groups = _panels.groups(cells, amount=True)
    ours = _tables.intervals(cells, [*groups, "line"], "unlearn_seconds")
    again = cells.drop_duplicates([*groups, "seed"])
    again = _tables.intervals(again, groups, "reference_seconds")
    numbers = pd.concat([again.assign(line=AGAIN), ours], ignore_index=True)
    whole = again.rename(columns={"mean": "whole"})[[*groups, "whole"]]
    numbers = numbers.merge(whole, on=groups)
    numbers["faster"] = numbers["whole"] / numbers["mean"]
    return numbers[[*groups, "line", "mean", "low", "high", "n", "faster"]], groups


def _panel(axis: plt.Axes, rows: pd.DataFrame) -> None:
    rows = rows.sort_values("mean", ascending=False, kind="stable")
    for y, (_, row) in enumerate(rows.iterrows()):
        again = _panels.method_of(row["line"]) in (AGAIN, "retrain")
        colour = "#777777" if again else _plot.COLOURS[0]
        low = row["low"] if row["low"] > 0 else row["mean"]
        axis.plot([low, row["high"]], [y, y], color=colour)
        axis.plot([row["mean"]], [y], "o", color=colour)
        text = f"{row['mean']:.2g} s, {row['faster']:.3g}x"
        offset = {"xytext": (6, -3), "textcoords": "offset points"}
        axis.annotate(text, (row["high"], y), **offset, fontsize=7)
    axis.set_xscale("log")
    axis.margins(x=0.25)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_yticks(range(len(rows)), rows["line"])
    axis.set_xlabel("time to forget (s); times faster than training again")
    axis.set_ylabel("method")


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one panel per data set, model and amount, slowest first."""
    numbers, groups = _numbers(tables)
    _panels.refuse_none(numbers)
    shown = _panels.keys(numbers, groups)
    tall = max(len(_panels.rows(numbers, groups, key)) for key in shown)
    size = (6.5, (0.22 * tall + 0.9) * len(shown) + 0.3)
    canvas = plt.subplots(len(shown), 1, squeeze=False, figsize=size)
    _panels.page(
        canvas, numbers, groups, shown, ["seconds"], lambda axis, rows, *_: _panel(axis, rows)
    )
    _panels.note(canvas[0], tables, numbers, _panels.devices(tables))
    return canvas[0], numbers
