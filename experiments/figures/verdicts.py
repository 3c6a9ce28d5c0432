"""What each method leaves of the distance to retraining, beside the undeleted models and the floor.

Of the table verdict.csv that the command ``evidence`` writes.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _beside, _panels, _plot

OF_FOLDER, TABLES = True, ("verdict",)
GROUP = ["data", "model", "kind", "ratio", "count"]
UNDELETED = "undeleted"
LEFT = 0.05  # up to here a method may be called "as retrained"
LEAST = 1e-3  # of what is left: nearer to nothing the scale ends


def _panel(axis: plt.Axes, rows: pd.DataFrame, looks: dict[str, dict]) -> None:
    names = [f"{m}: {v}" for m, v in zip(rows["method"], rows["verdict"])]
    at = _plot.heights(axis, names)
    axis.axvspan(LEAST, LEFT, **_plot.FLOOR)
    axis.axvline(1.0, **_plot.BEFORE)
    for name, (_, row) in zip(names, rows.iterrows()):
        look = looks[row["method"]]
        shown = max(row["left"], LEAST)
        ends = [max(row[f"left_{end}"], LEAST) for end in ("low", "high")]
        if not pd.isna(row["left_low"]):
            axis.plot(ends, [at[name]] * 2, color=look["color"])
        axis.plot([shown], [at[name]], color=look["color"], marker=look["marker"])
    axis.set_xscale("log")
    axis.set_xlim(LEAST, max(3.0, 1.3 * rows[["left", "left_high"]].max(axis=None)))
    axis.set_xlabel("share of the distance to retraining that is left")


def draw(folder: Path) -> tuple[Figure, pd.DataFrame]:
    """Draws one panel per data set, model and request; each method with its verdict."""
    numbers = _beside.read(folder, "verdict")
    if numbers.empty:
        raise Refused("verdicts: the table is empty")
    shown = _panels.keys(numbers, GROUP)
    others = dict.fromkeys(numbers["method"])
    looks = _plot.looks([*others])
    tall = max(len(_panels.rows(numbers, GROUP, key)) for key in shown)
    size = (7.2, (0.24 * tall + 0.9) * len(shown) + 0.4)
    canvas = plt.subplots(len(shown), 1, squeeze=False, figsize=size)
    _panels.page(
        canvas, numbers, GROUP, shown, ["left"], lambda axis, rows, *_: _panel(axis, rows, looks)
    )
    n = numbers.loc[numbers["n_models"] > 1, "n_models"]  # of models that draw
    n = f"{n.min()} to {n.max()}" if n.nunique() > 1 else f"{numbers['n_models'].max()}"
    _plot.note(
        canvas[0],
        f"n = {n} models of each kind (1 where training draws nothing); bars: 95% "
        f"interval from random halves; dotted: undeleted; grey: below {LEFT:.0%}",
    )
    return canvas[0], numbers
