"""What the draws of the split, of training and of unlearning each add to the spread of a number.

The standard deviation that each level of seeds adds, by nested analysis of variance: unlearning
within training within the split. Seeds of one number under different splits are different draws.
What a config does not fix follows the seed, and is counted with training.
"""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from .. import statistics
from ..errors import Refused
from . import _panels, _plot, _tables, _undeleted
from ._tables import Tables

LEVELS = {"split.seed": "split", "seed": "training", _tables.AGAIN: "unlearning"}
DISTANCE, RESIDUAL = "distance to the reference", "local residual"


def _quantities(tables: Tables) -> dict[str, pd.Series]:
    """Of every quantity that is there, its values by cell."""
    found = {
        DISTANCE: _tables.value(tables, "after", "distance", "all"),
        RESIDUAL: _undeleted.local_residual(tables),
    }
    for label, metric, split, k in _panels.accuracies(tables):
        if metric != "recall":  # says what NDCG says
            found[label] = _tables.value(tables, "after", metric, split, k)
    return {name: values for name, values in found.items() if values.notna().any()}


def _numbers(tables: Tables, levels: list[str]) -> tuple[pd.DataFrame, int]:
    """Everything drawn, long: quantity, groups, line, level, value, low, high, n, share.

    And how many quantities of a method have too few numbers to be drawn.
    """
    cells = _tables.finished(tables).set_index("cell", drop=False)
    cells["line"] = _panels.lines(cells, (_tables.AGAIN,))
    groups = [name for name in _panels.groups(cells, amount=True) if name not in LEVELS]
    rows, lacking = [], 0
    for name, values in _quantities(tables).items():
        known = cells.assign(value=values).dropna(subset=["value"])
        for key, some in known.groupby([*groups, "line"], sort=False, dropna=False):
            try:
                found = statistics.components(some["value"], *(some[x] for x in levels[:-1]))
            except ValueError:  # too few of its cells have numbers
                lacking += 1
                continue
            for level, part in zip(levels, found, strict=True):
                ends = (part.value, part.low, part.high, part.n, part.share, part.freedom)
                rows.append([name, *key, LEVELS[level], *ends])
    if not rows:
        raise Refused("components: no method has enough finished cells at every level of seeds")
    head = ["quantity", *groups, "line", "level"]
    numbers = pd.DataFrame(rows, columns=[*head, "value", "low", "high", "n", "share", "freedom"])
    return numbers, lacking


def _panel(axis: plt.Axes, rows: pd.DataFrame, looks: dict[str, dict]) -> None:
    """A line of marks per method, one mark per level."""
    at = _plot.heights(axis, list(dict.fromkeys(rows["line"])))
    for i, (level, look) in enumerate(looks.items()):
        shift = 0.6 * ((i + 0.5) / len(looks) - 0.5)
        some = rows[rows["level"] == level].rename(columns={"value": "mean"})
        levels = {name: height + shift for name, height in at.items()}
        _plot.dots(axis, some, levels, level, **look | {"linestyle": "none", "markersize": 4})
    axis.set_xlim(left=0)
    axis.locator_params(axis="x", nbins=3)


def draw(tables: Tables) -> tuple[Figure, pd.DataFrame]:
    """Draws one row of panels per data set, model and request, a column per quantity."""
    cells = _tables.finished(tables)
    levels = [name for name in LEVELS if name in cells and cells[name].nunique() > 1]
    if len(levels) < 2:
        only = LEVELS[levels[0]] if levels else "nothing"
        raise Refused(
            f"components: needs seeds of two levels, and {only} varies alone; give "
            "split.seed = [0, 1, 2] or unlearn_seeds = [0, 1]"
        )
    numbers, lacking = _numbers(tables, levels)
    groups = list(numbers.columns[1 : numbers.columns.get_loc("line")])
    shown, quantities = _panels.keys(numbers, groups), list(dict.fromkeys(numbers["quantity"]))
    looks = _plot.looks([LEVELS[name] for name in levels])

    def panel(axis, rows, name, _):
        _panel(axis, rows, looks)
        axis.set_xlabel(f"SD of {name}")
        axis.set_ylabel("method")

    height = 0.3 * numbers["line"].nunique() + 0.9
    figure, axes = _plot.grid(len(shown), len(quantities), width=3.6, height=height)
    _panels.page((figure, axes), numbers, groups, shown, quantities, panel)
    _plot.legend(figure, axes)
    words = [_words(numbers, looks, _tables.left_out(tables), lacking)]
    _plot.note(figure, "; ".join([*words, *_undeleted.without(tables, cells)]))
    return figure, numbers


def _words(numbers: pd.DataFrame, levels: dict[str, dict], left_out: str, lacking: int) -> str:
    """The small print: how many draws of each level, and what the bars are."""
    counts = []
    for level in levels:
        n = numbers.loc[numbers["level"] == level, "n"]
        many = f"{n.min()}" if n.nunique() == 1 else f"{n.min()} to {n.max()}"
        counts.append(f"{many} seeds of {level}")
    bars = "bars: 95% interval of nested analysis of variance, none below 3 seeds"
    few = [f"{lacking} quantities of methods not drawn: too few cells"] if lacking else []
    parts = [f"SD: standard deviation that a level adds; n = {', '.join(counts)}", bars]
    return "; ".join([*parts, *few, left_out])
