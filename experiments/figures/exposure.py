"""How many users are shown the target of a shilling attack: under attack, after unlearning, retrained."""

import pandas as pd
from matplotlib.figure import Figure

from experiments import panels, plot, tables
from experiments.errors import Refused
from experiments.tables import Tables

STAGES = {"before": "under attack", "after": "after unlearning", "reference": "retrained without"}


def _numbers(found: Tables, cells: pd.DataFrame, place: list[str], k: int) -> pd.DataFrame:
    """Everything drawn, long: stage, place, line, mean, low, high, n."""
    panels.with_metric(found, cells, "exposure", "exposure", "all", k)
    by, once = [*place, "line"], cells.drop_duplicates([*place, "seed"])
    parts = [
        tables.intervals(cells, by, f"exposure {stage}").assign(stage=stage)
        for stage in ("before", "after")
    ]
    goal = tables.intervals(once, place, "exposure reference")
    parts.append(goal.assign(stage="reference", line="reference"))
    return pd.concat(parts, ignore_index=True)[["stage", *by, "mean", "low", "high", "n"]]


def draw(found: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one panel per data set, model, attack and, where it varies, amount."""
    if "exposure" not in set(found.metrics["metric"]):
        raise Refused('exposure: needs a request such as kind = "shilling_bandwagon"')
    cells = tables.finished(found).set_index("cell", drop=False)
    cells = cells[cells["kind"].str.startswith("shilling")].copy()
    cells["line"] = panels.lines(cells)
    amounts = [name for name in panels.AMOUNT if cells[name].nunique() > 1]
    place, k = [*panels.place(cells, amount=False), *amounts], tables.first_k(found, "exposure")
    numbers = _numbers(found, cells, place, k)
    shown, lines = panels.places(cells, place), list(dict.fromkeys(cells["line"]))
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = plot.grid(rows, columns, width=4.4, height=0.22 * len(lines) + 1.0)
    for axis in axes.flat[len(shown) :]:
        axis.remove()
    for axis, key in zip(axes.flat, shown, strict=False):
        here = panels.at(numbers, place, key)
        at = plot.heights(axis, [line for line in lines if line in set(here["line"])])
        goal = here[here["stage"] == "reference"]
        axis.axvspan(max(goal["low"].item(), 0), goal["high"].item(), **plot.FLOOR)
        axis.axvline(goal["mean"].item(), **plot.REFERENCE, label=STAGES["reference"])
        for stage, look in (
            ("before", {"color": plot.COLOURS[1], "marker": "s", "fillstyle": "none"}),
            ("after", {"color": plot.COLOURS[0], "marker": "o"}),
        ):
            plot.dots(axis, here[here["stage"] == stage], at, STAGES[stage], **look)
        axis.set_xlim(left=0)
        axis.set_xlabel(f"users whose top {k} holds the target (share)")
        axis.set_ylabel("method")
        axis.set_title(panels.title(place, key), loc="left")
    plot.legend(figure, axes)
    plot.note(figure, plot.seeds(numbers, tables.left_out(found), "bars and bands"))
    return figure, numbers
