"""How much of what retraining would restore each method restores, and how near it comes.

Recovery is ``(after - undeleted) / (retrained - undeleted)`` of the test AUC: over all rows, over
those whose user or item is in the request, and those where both are. The local residual is the
distance to the retrained model as a share of the undeleted model's. The undeleted model is the
plainly trained one for all methods, those too that train in their own way. The row ``retrain`` is
a retraining under another seed: the noise of both. Values beyond a panel stand on its edge, hollow.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables, _undeleted
from ._tables import Tables

RECOVERY = {
    "auc": "AUC recovered",
    "auc_or": "recovered, user or item asked",
    "auc_and": "recovered, user and item asked",
}
RESIDUAL = "local residual"
LIMITS = {name: (-0.5, 1.5) for name in RECOVERY.values()} | {RESIDUAL: (0.0, 1.5)}


def _numbers(tables: Tables) -> pd.DataFrame:
    """Everything drawn, long: quantity, groups, line, mean, low, high, n."""
    cells = _tables.finished(tables).set_index("cell", drop=False)
    cells["line"] = _panels.lines(cells)
    groups, parts = _panels.groups(cells, amount=True), []
    for metric, name in RECOVERY.items():
        cells[name] = _undeleted.recovery(tables, metric)
    cells[RESIDUAL] = _undeleted.local_residual(tables)
    for name in LIMITS:
        if cells[name].notna().any():
            part = _tables.intervals(cells, [*groups, "line"], name)
            parts.append(part.assign(quantity=name))
    if not parts or not cells[RECOVERY["auc"]].notna().any():
        why = ["no test AUC of labels of both kinds", *_undeleted.without(tables, cells)]
        raise Refused(f"recovery: of no finished cell known: {' or '.join(why)}")
    numbers = pd.concat(parts, ignore_index=True)
    order = list(dict.fromkeys(cells["line"]))
    numbers["rank"] = numbers["line"].map(order.index)
    numbers = numbers.sort_values(["quantity", *groups, "rank"], kind="stable")
    return numbers[["quantity", *groups, "line", "mean", "low", "high", "n"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, lines: list[str], limits: tuple) -> None:
    low, high = limits
    axis.axvline(1.0, **_plot.REFERENCE)
    if low < 0:
        axis.axvline(0.0, **_plot.BEFORE)
    for _, row in rows.iterrows():
        y, inside = lines.index(row["line"]), low <= row["mean"] <= high
        x = np.clip(row["mean"], low, high)
        again = _panels.method_of(row["line"]) == "retrain"
        colour = "#777777" if again else _plot.COLOURS[0]
        if inside:
            axis.plot(np.clip([row["low"], row["high"]], low, high), [y, y], color=colour)
        shape = "o" if inside else ">" if x == high else "<"
        face = colour if inside else "white"
        axis.plot([x], [y], shape, color=colour, markerfacecolor=face, clip_on=False, zorder=3)
    axis.set_xlim(low, high)
    axis.set_ylim(len(lines) - 0.5, -0.5)
    axis.set_yticks(range(len(lines)), lines)


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount; a line per method."""
    numbers = _numbers(tables)
    groups = list(numbers.columns[1 : numbers.columns.get_loc("line")])
    shown = _panels.keys(numbers, groups)
    quantities = [name for name in LIMITS if name in set(numbers["quantity"])]

    def lines(key):
        return list(dict.fromkeys(_panels.rows(numbers, groups, key)["line"]))

    def panel(axis, rows, name, key):
        _panel(axis, rows, lines(key), LIMITS[name])
        axis.set_xlabel(name)

    tall = max(len(lines(key)) for key in shown)
    size = (2.3 * len(quantities) + 1.8, (0.22 * tall + 0.9) * len(shown) + 0.3)
    figure, axes = plt.subplots(
        len(shown), len(quantities), squeeze=False, sharey="row", figsize=size
    )
    _panels.page((figure, axes), numbers, groups, shown, quantities, panel)
    for axis in axes[:, 0]:
        axis.set_ylabel("method")
    for axis in axes[:, 1:].flat:
        axis.set_ylabel(" ")
    _panels.note(figure, tables, numbers, *_undeleted.without(tables, _tables.finished(tables)))
    return figure, numbers
