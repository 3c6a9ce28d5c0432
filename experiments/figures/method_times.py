"""Seconds to forget per method beside training again, on one axis."""

import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.tables import Tables

AGAIN = "training again (reference)"


def _numbers(found: Tables) -> tuple[pd.DataFrame, list[str]]:
    """Everything drawn: place, line, mean, low, high, n and how many times faster than training."""
    cells = tables.finished(found).set_index("cell", drop=False)
    cells = cells.join(found.timings.set_index("cell")[["unlearn_seconds", "reference_seconds"]])
    cells["line"] = panels.lines(cells)
    place = panels.place(cells, amount=True)
    ours = tables.intervals(cells, [*place, "line"], "unlearn_seconds")
    again = cells.drop_duplicates([*place, "seed"])
    again = tables.intervals(again, place, "reference_seconds")
    numbers = pd.concat([again.assign(line=AGAIN), ours], ignore_index=True)
    whole = again.rename(columns={"mean": "whole"})[[*place, "whole"]]
    numbers = numbers.merge(whole, on=place)
    numbers["faster"] = numbers["whole"] / numbers["mean"]
    return numbers[[*place, "line", "mean", "low", "high", "n", "faster"]], place


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one panel per data set, model and amount, slowest first."""
    numbers, place = _numbers(found)
    shown = panels.places(numbers, place)
    tall = max(len(panels.at(numbers, place, key)) for key in shown)
    figure, axes = plot.plt.subplots(
        len(shown), 1, squeeze=False, figsize=(6.5, (0.22 * tall + 0.9) * len(shown) + 0.3)
    )
    for (axis,), key in zip(axes, shown, strict=True):
        rows = panels.at(numbers, place, key).sort_values("mean", ascending=False, kind="stable")
        for y, (_, row) in enumerate(rows.iterrows()):
            colour = "#777777" if row["line"] in (AGAIN, "retrain") else plot.COLOURS[0]
            low = row["low"] if row["low"] > 0 else row["mean"]
            axis.plot([low, row["high"]], [y, y], color=colour)
            axis.plot([row["mean"]], [y], "o", color=colour)
            axis.annotate(f"{row['mean']:.2g} s, {row['faster']:.3g}x", (row["high"], y),
                          xytext=(6, -3), textcoords="offset points", fontsize=7)  # fmt: skip
        axis.set_xscale("log")
        axis.margins(x=0.25)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_yticks(range(len(rows)), rows["line"])
        axis.set_xlabel("time to forget (s); times faster than training again")
        axis.set_ylabel("method")
        axis.set_title(panels.title(place, key), loc="left")
    devices = ", ".join(sorted(found.timings["device_kind"].astype(str).unique()))
    text = plot.seeds(numbers, tables.left_out(found))
    plot.note(figure, f"{text}; compiled beforehand, on {devices}")
    return figure, numbers
