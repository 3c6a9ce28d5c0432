"""What the figures over cells share: rows of panels, their titles, what a line is called."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..config.grid import short
from ..errors import Refused
from . import _plot, _tables, _undeleted
from ._tables import Tables

AMOUNT = ("ratio", "count")
KINDS = {
    "random": "random interactions",
    "users": "whole users",
    "items": "whole items",
    "active": "most active users",
    "inactive": "least active users",
    "popular": "popular items",
    "flipped": "flipped labels",
    "pairs": "listed pairs",
    "listed": "listed requests",
    "none": "empty request",
    "shilling_random": "random attack",
    "shilling_bandwagon": "bandwagon attack",
    "canaries": "canaries",
    "corruption": "planted for deletion",
}


def groups(cells: pd.DataFrame, *, amount: bool) -> list[str]:
    """The columns that decide a row of panels: data, model, their swept settings, the request."""
    ours = [name for name in _tables.swept(cells) if not _tables.of_method(name)]
    kind = ["kind"] if cells["kind"].nunique() > 1 else []
    return [*_tables.GROUP, *ours, *kind, *(AMOUNT if amount else ())]


def keys(frame: pd.DataFrame, names: list[str]) -> list[tuple]:
    """Every combination of values that occurs in these columns, sorted."""
    once = frame[names].drop_duplicates().sort_values(names)
    return list(once.itertuples(index=False, name=None))


def rows(frame: pd.DataFrame, names: list[str], key: tuple) -> pd.DataFrame:
    """The rows with these values in these columns; an absent value matches an absent one."""
    keep = pd.Series(True, frame.index)
    for name, wanted in zip(names, key, strict=True):
        keep &= frame[name].isna() if pd.isna(wanted) else frame[name] == wanted
    return frame[keep]


def page(
    canvas: tuple[Figure, Any],
    numbers: pd.DataFrame,
    names: list[str],
    shown: Sequence[tuple],
    columns: Sequence[str],
    panel: Callable[[Any, pd.DataFrame, str, tuple], None],
) -> None:
    """Draws a row of panels per combination of values, a column of them per quantity.

    Args:
      canvas: figure and axes ``[rows, columns]``, of ``_plot.grid``.
      numbers: everything drawn, long; its column ``quantity`` says in which column of panels.
      names: the columns that decide a row of panels.
      shown: their values, one combination per row of panels.
      columns: the quantities, from left to right; without a column ``quantity`` there is one.
      panel: draws one: ``(axis, its rows of numbers, quantity, combination)``.

    Raises:
      Refused: there is nothing to draw.
    """
    refuse_none(numbers)
    for axes, key in zip(canvas[1], shown, strict=True):
        here = rows(numbers, names, key)
        for axis, quantity in zip(axes, columns, strict=True):
            mine = here[here["quantity"] == quantity] if "quantity" in here else here
            panel(axis, mine, quantity, key)
        axes[0].set_title(title(names, key), loc="left")


def refuse_none(numbers: pd.DataFrame) -> None:
    """Refuses to draw nothing."""
    if numbers.empty:
        raise Refused(
            "no cell has such numbers (the seconds of cells of one batch are not told apart)"
        )


def note(
    figure: Figure, tables: Tables, numbers: pd.DataFrame, *more: str, mark: str = "bands"
) -> None:
    """The small print: n and interval, cells left out, and ``more``."""
    text = _plot.seeds(numbers, _tables.left_out(tables), mark)
    _plot.note(figure, "; ".join([text, *more]))


def devices(tables: Tables) -> str:
    """The small print of a figure that shows seconds."""
    names = sorted(tables.timings["device_kind"].astype(str).unique())
    return f"compiled beforehand, on {', '.join(names)}"


def title(names: list[str], key: tuple) -> str:
    """A panel's title: movietweetings, ials, 5% forgotten."""
    words = []
    for name, value in zip(names, key, strict=True):
        if pd.isna(value):
            continue
        if name == "ratio":
            words.append(f"{100 * value:g}% forgotten")
        elif name == "count":
            words.append(f"{value:g} forgotten")
        elif name == "kind":
            words.append(KINDS[value])
        else:
            own = name in (*_tables.GROUP, "method")
            words.append(f"{value}" if own else f"{short(name).replace('.', ' ')} {value}")
    return ", ".join(words)


def lines(cells: pd.DataFrame, without: tuple[str, ...] = ()) -> list[str]:
    """Each cell's line: its method and what its method sweeps beside the x axis."""
    names = [n for n in _tables.swept(cells) if _tables.of_method(n) and n not in without]
    return [
        " ".join([row["method"], _tables.words(row, names)]).strip() for _, row in cells.iterrows()
    ]


def with_lines(words: list[str], cells: pd.DataFrame, without: tuple[str, ...]) -> list[str]:
    """Each cell's words, followed by its ``lines`` if there are several."""
    more = lines(cells, without)
    if len(set(more)) < 2:
        return words
    return [", ".join(pair) for pair in zip(words, more, strict=True)]


def method_of(line: str) -> str:
    """The method of a line, without what it sweeps."""
    return line.partition(" ")[0]


def certified(tables: Tables) -> pd.DataFrame:
    """Finished cells whose unlearning asked for a certificate, those that got none among them.

    ``certified`` is 1 where the tolerance was proved, else 0; ``unbounded`` is 1 where nothing was
    proved at all: a bound of infinity, for which a table has an empty field.
    """
    cells = _tables.finished(tables)
    if "unlearn.certified" not in cells:
        return cells.iloc[:0]
    cells = cells[cells["unlearn.certified"].notna()]
    return cells.assign(
        certified=told(cells["unlearn.certified"]),
        unbounded=cells["unlearn.relative_bound"].isna().astype(float),
    )


def unbounded(cells: pd.DataFrame) -> list[str]:
    """Words for the note on the cells of ``certified`` of which nothing was proved, if any."""
    n = int(cells["unbounded"].sum())
    return [f"{n} of {len(cells)} certificates without a finite bound"] if n else []


def told(words: pd.Series) -> pd.Series:
    """1 where a table says ``True``, else 0."""
    return words.astype(str).isin(["True", "1.0", "1"]).astype(float)


def with_certified(cells: pd.DataFrame, by: list[str], columns: dict[str, str]) -> pd.DataFrame:
    """Intervals of some columns, long, each row with the share of seeds that were certified.

    And, where some cell has no finite bound, with the share of seeds without one.
    """
    shares = ["certified", *(["unbounded"] if cells["unbounded"].any() else [])]
    proved = cells.groupby(by, dropna=False)[shares].mean().reset_index()
    parts = [
        _tables.intervals(cells, by, column).merge(proved, on=by).assign(quantity=name)
        for name, column in columns.items()
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame[["quantity", *by, "mean", "low", "high", "n", *shares]]


def with_metric(
    tables: Tables, cells: pd.DataFrame, column: str, metric: str, split: str, k: int | None = None
) -> None:
    """Adds ``<column> before``, ``after`` and ``reference`` to cells indexed by their id.

    And ``<column> undeleted``, which differs from that before where a method trains otherwise.
    """
    for stage in ("before", "after", "reference"):
        cells[f"{column} {stage}"] = _tables.value(tables, stage, metric, split, k)
    cells[f"{column} undeleted"] = _undeleted.before(tables, metric, split, k)


def accuracies(tables: Tables) -> list[tuple]:
    """(axis label, metric, split, k) of test NDCG, recall and AUC, each where it is defined."""
    defined = tables.metrics.dropna(subset=["value"])
    there = set(defined.loc[defined["split"] == "test", "metric"])
    wanted = []
    for name, metric in (("NDCG", "ndcg"), ("recall", "recall")):
        if metric in there:
            k = _tables.first_k(tables, metric)
            wanted.append((f"test {name}@{k}", metric, "test", k))
    if "auc" in there:  # needs test rows of both labels
        wanted.append(("test AUC", "auc", "test", None))
    elif "auc_unseen" in there:
        wanted.append(("test AUC against unseen items", "auc_unseen", "test", None))
    return wanted
