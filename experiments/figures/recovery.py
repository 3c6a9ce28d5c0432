"""How much of what retraining would restore each method restores, and how near it comes.

Recovery is ``(after - undeleted) / (retrained - undeleted)`` of the test AUC: over all rows, over
those whose user or item is in the request, and those where both are. The local residual is the
distance to the retrained model as a share of the undeleted model's. The row ``retrain`` is a
retraining under another seed: the noise of both. Values beyond a panel stand on its edge, hollow.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.tables import Tables

RECOVERY = {
    "auc": "AUC recovered",
    "auc_or": "recovered, user or item asked",
    "auc_and": "recovered, user and item asked",
}
RESIDUAL = "local residual"
LIMITS = {name: (-0.5, 1.5) for name in RECOVERY.values()} | {RESIDUAL: (0.0, 1.5)}


def _numbers(found: Tables) -> pd.DataFrame:
    """Everything drawn, long: quantity, place, line, mean, low, high, n."""
    cells = tables.finished(found).set_index("cell", drop=False)
    cells["line"] = panels.lines(cells)
    place, parts = panels.place(cells, amount=True), []
    for metric, name in RECOVERY.items():
        cells[name] = tables.recovery(found, metric)
    cells[RESIDUAL] = tables.local_residual(found)
    for name in LIMITS:
        if cells[name].notna().any():
            part = tables.intervals(cells, [*place, "line"], name)
            parts.append(part.assign(quantity=name))
    if not parts or not cells[RECOVERY["auc"]].notna().any():
        raise Refused("recovery: no finished cell has a test AUC of labels of both kinds")
    numbers = pd.concat(parts, ignore_index=True)
    order = list(dict.fromkeys(cells["line"]))
    numbers["rank"] = numbers["line"].map(order.index)
    numbers = numbers.sort_values(["quantity", *place, "rank"], kind="stable")
    return numbers[["quantity", *place, "line", "mean", "low", "high", "n"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, lines: list[str], limits: tuple) -> None:
    low, high = limits
    axis.axvline(1.0, **plot.REFERENCE)
    if low < 0:
        axis.axvline(0.0, **plot.BEFORE)
    for _, row in rows.iterrows():
        y, inside = lines.index(row["line"]), low <= row["mean"] <= high
        x = np.clip(row["mean"], low, high)
        colour = "#777777" if row["line"] == "retrain" else plot.COLOURS[0]
        if inside:
            axis.plot(np.clip([row["low"], row["high"]], low, high), [y, y], color=colour)
        shape = "o" if inside else ">" if x == high else "<"
        face = colour if inside else "white"
        axis.plot([x], [y], shape, color=colour, markerfacecolor=face, clip_on=False, zorder=3)
    axis.set_xlim(low, high)
    axis.set_ylim(len(lines) - 0.5, -0.5)
    axis.set_yticks(range(len(lines)), lines)


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount; a line per method."""
    numbers = _numbers(found)
    place = list(numbers.columns[1 : numbers.columns.get_loc("line")])
    shown = panels.places(numbers, place)
    quantities = [name for name in LIMITS if name in set(numbers["quantity"])]
    tall = max(panels.at(numbers, place, key)["line"].nunique() for key in shown)
    figure, axes = plt.subplots(
        len(shown), len(quantities), squeeze=False, sharey="row",
        figsize=(2.3 * len(quantities) + 1.8, (0.22 * tall + 0.9) * len(shown) + 0.3),
    )  # fmt: skip
    for row, key in zip(axes, shown, strict=True):
        here = panels.at(numbers, place, key)
        lines = list(dict.fromkeys(here["line"]))
        for axis, name in zip(row, quantities, strict=True):
            _panel(axis, here[here["quantity"] == name], lines, LIMITS[name])
            axis.set_xlabel(name)
        row[0].set_ylabel("method")
        row[0].set_title(panels.title(place, key), loc="left")
    for axis in axes[:, 1:].flat:
        axis.set_ylabel(" ")
    plot.note(figure, plot.seeds(numbers, tables.left_out(found)))
    return figure, numbers
