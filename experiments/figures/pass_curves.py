"""Test metric, retained loss and distance to retraining against the passes of unlearning.

Pass 0 is the undeleted model; the dashed line is the retrained reference; the grey band is how far
two retrainings under different seeds lie apart: the noise floor.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..errors import Refused
from . import _panels, _plot, _tables, _undeleted
from ._tables import Tables

PASSES = "method.max_sweeps"
FLOOR = "retrain"  # the method whose distance to the reference is the noise floor
QUANTITIES = {  # of which part of the data, and what stands beside the axis
    "ndcg": ("test", "test NDCG@{k}"),
    "loss": ("retained", "retained loss above the reference (%)"),
    "distance": ("all", "relative distance to the reference"),
}


def _cells(
    tables: Tables, quantities: dict[str, tuple[str, str]], ks: dict[str, int]
) -> pd.DataFrame:
    """Finished cells with their passes and the quantities at each stage."""
    cells = _tables.finished(tables).set_index("cell", drop=False)
    for name, (part, _) in quantities.items():
        _panels.with_metric(tables, cells, name, name, part, ks.get(name))
    goal = cells["loss reference"].copy()
    for stage in ("before", "after", "reference", "undeleted"):
        cells[f"loss {stage}"] = 100 * (cells[f"loss {stage}"] - goal) / goal.abs()
    if PASSES not in cells or cells[PASSES].isna().all():
        raise Refused("no finished cell has swept passes (a list as max_sweeps)")
    cells["passes"] = cells[PASSES]
    cells["line"] = _panels.lines(cells, (PASSES,))
    return cells[cells["passes"].notna() | (cells["method"] == FLOOR)]


def _numbers(
    tables: Tables, cells: pd.DataFrame, groups: list[str], quantities: list[str]
) -> pd.DataFrame:
    """Everything drawn, long: quantity, groups, line, passes, mean, low, high, n."""
    parts = []
    once = _undeleted.once(tables, cells, groups)
    for name in quantities:
        after = _tables.intervals(cells, [*groups, "line", "passes"], f"{name} after")
        before = _undeleted.intervals(once, groups, name).assign(passes=0)
        goal = _tables.intervals(once, groups, f"{name} reference").assign(
            line="reference", passes=0
        )
        parts += [part.assign(quantity=name) for part in (before, goal, after)]
    frame = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return frame[["quantity", *groups, "line", "passes", "mean", "low", "high", "n"]]


def _panel(axis: plt.Axes, rows: pd.DataFrame, styles: dict, *, floor: bool) -> None:
    """One quantity in one panel: curves that leave the undeleted model, and the goal."""
    before, goal = _undeleted.rows(rows), rows[rows["line"] == "reference"]
    last = rows[rows["line"].map(_panels.method_of) == FLOOR].tail(1)
    for _, row in last.iterrows() if floor else ():
        axis.axhspan(row["low"], row["high"], **_plot.FLOOR, label="noise floor")
        axis.axhline(row["mean"], **_plot.FLOOR_MEAN)
    for line, style in styles.items():
        group = rows[rows["line"] == line]
        _plot.curve(
            axis, pd.concat([before, group]) if len(group) else group, "passes", line, style
        )
    for line, y in zip(before["line"], before["mean"], strict=True):
        axis.plot([0], [y], "o", **_plot.UNDELETED, label=_undeleted.label(line))
    for y in goal["mean"]:
        axis.axhline(y, **_plot.REFERENCE, label="retrained reference")
    axis.set_xscale("symlog", linthresh=1, linscale=0.5)
    ticks = _plot.thin(sorted(set(rows["passes"].dropna().astype(int))))
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("passes after the request")


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and amount whose passes were swept."""
    return curves(tables, QUANTITIES)


def curves(tables: Tables, quantities: dict[str, tuple[str, str]]) -> tuple[Figure, pd.DataFrame]:
    """Draws some quantities, a column of panels each, against the passes."""
    ranked = [name for name, (_, label) in quantities.items() if "{k}" in label]
    ks = {name: _tables.first_k(tables, name) for name in ranked}
    cells = _cells(tables, quantities, ks)
    groups = _panels.groups(cells, amount=True)
    numbers = _numbers(tables, cells, groups, [*quantities])
    swept = cells[cells["passes"].notna()]
    shown = _panels.keys(swept, groups)
    styles = _plot.looks(list(dict.fromkeys(swept["line"])))

    def panel(axis, rows, name, _):
        _panel(axis, rows, styles, floor=name == "distance")
        axis.set_ylabel(quantities[name][1].format(k=ks.get(name)))
        if name == "loss":
            axis.set_yscale("symlog", linthresh=0.01)
        elif name == "distance":
            _plot.scale(axis, rows)

    figure, axes = _plot.grid(len(shown), len(quantities))
    _panels.page((figure, axes), numbers, groups, shown, [*quantities], panel)
    _plot.legend(figure, axes)
    _panels.note(figure, tables, numbers)
    return figure, numbers
