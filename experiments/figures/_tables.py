"""The three tables of an experiment as frames, and the intervals that figures and pages share."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .. import frames, statistics, whole
from ..config.grid import AGAIN, Cell, short
from ..errors import PROGRAM, Refused

# how the columns of what a method, or a list of ids, tells begin
INFO = ("fit.", "unlearn.", "reference.", "request.")
GROUP = ["data", "model"]  # one panel or row of panels


class Tables(NamedTuple):
    """cells.csv, metrics.csv and timings.csv; all that a figure may see."""

    cells: pd.DataFrame
    metrics: pd.DataFrame
    timings: pd.DataFrame
    missing: int = 0  # cells of the config that the tables lack


NEEDED = {
    "cells": ["cell", "data", "model", "method", "kind", "ratio", "count", "seed", "status"],
    "metrics": ["cell", "stage", "split", "metric", "k", "value"],
    "timings": ["cell"],
}
NUMBERS = {
    "cells": ["ratio", "count", "seed"],
    "metrics": ["k", "value"],
    "timings": ["fit_seconds", "unlearn_seconds", "reference_seconds", "unlearn_compile_seconds"],
}


def read(folder: Path, planned: list[Cell] | None = None) -> Tables:
    """Reads the tables of one results folder; a cell that is not ``ok`` has no number in them.

    Args:
      folder: where ``collect`` wrote them.
      planned: all cells of the config that the tables are shown with; without it nothing is known
        of cells that they lack.

    Raises:
      Refused: a table is not there, or is none, or is cut, or is not of one collection with the
        others, or is of cells that are not planned.
    """
    found = {}
    for name in NEEDED:
        path = folder / f"{name}.csv"
        if not path.is_file():
            raise Refused(f"{path} is not there; first: {PROGRAM} collect {folder.name}")
        mend = f"{PROGRAM} collect makes it"
        found[name] = frames.read(path, NEEDED[name], numbers=NUMBERS[name], mend=mend)
    whole.refuse(folder)
    tables = without_bad(Tables(**found))
    return tables if planned is None else _of_plan(tables, planned, folder)


def _of_plan(tables: Tables, planned: list[Cell], folder: Path) -> Tables:
    """The tables with the number of planned cells that they lack."""
    there, wanted = set(tables.cells["cell"]), {cell.id for cell in planned}
    if others := there - wanted:
        raise Refused(
            f"{folder}: {len(others)} of {len(there)} cells in its tables are of other settings "
            f"than this config's; give the settings they were run with, or first: {PROGRAM} "
            f"collect {folder.name}"
        )
    return tables._replace(missing=len(wanted - there))


def without_bad(tables: Tables) -> Tables:
    """The tables without the numbers of cells that failed, diverged or were skipped."""
    good = tables.cells["status"] == "ok"
    info = [name for name in tables.cells if name.startswith(INFO)]
    cells = tables.cells.copy()
    if not good.all():
        cells.loc[~good, info] = np.nan
    metrics = tables.metrics[tables.metrics["cell"].isin(cells.loc[good, "cell"])]
    return tables._replace(cells=cells, metrics=metrics.reset_index(drop=True))


def swept(cells: pd.DataFrame) -> list[str]:
    """Columns of swept settings and seeds; the info of fit, unlearn and reference is none."""
    return [c for c in cells.columns if c == AGAIN or ("." in c and not c.startswith(INFO))]


def of_method(name: str) -> bool:
    """Whether a swept column says how the request was met: a line of its own, not a panel.

    So are repetitions of the unlearning of one model: as values of a mean they would not be
    independent.
    """
    return name == AGAIN or name.startswith("method.")


def finished(tables: Tables) -> pd.DataFrame:
    """The cells with numbers."""
    return tables.cells[tables.cells["status"] == "ok"].copy()


def words(row: pd.Series, names: list[str]) -> str:
    """The settings a row has among these columns: max_sweeps=5 tol=0.001."""
    given = [(short(name), row[name]) for name in names if pd.notna(row[name])]
    return " ".join(f"{n}={v:g}" if isinstance(v, float) else f"{n}={v}" for n, v in given)


def left_out(tables: Tables) -> str:
    """Words on the cells that have no numbers; ``no cell left out`` where all have."""
    bad = int((tables.cells["status"] != "ok").sum())
    words = [f"{bad} cells left out (failed, skipped or diverged)"] if bad else []
    words += [f"{tables.missing} cells not computed"] if tables.missing else []
    return "; ".join(words) or "no cell left out"


def value(tables: Tables, stage: str, metric: str, split: str, k: int | None = None) -> pd.Series:
    """One metric by cell id."""
    rows = tables.metrics
    keep = (rows["stage"] == stage) & (rows["metric"] == metric) & (rows["split"] == split)
    keep &= rows["k"].isna() if k is None else rows["k"] == k
    return rows[keep].set_index("cell")["value"]


def further(tables: Tables) -> pd.DataFrame:
    """The cells that end further from the reference than they began."""
    before, after = (value(tables, stage, "distance", "all") for stage in ("before", "after"))
    far = (after - before)[after > before].index
    return tables.cells[tables.cells["cell"].isin(far)]


def first_k(tables: Tables, metric: str) -> int:
    """The smallest k of the config, which is the one that figures show.

    Raises:
      Refused: nothing was ranked.
    """
    ks = tables.metrics.loc[tables.metrics["metric"] == metric, "k"]
    if ks.isna().all():
        raise Refused(f"needs {metric}; the config ranks nothing (ks = [])")
    return int(ks.min())


def interval(values: pd.Series) -> tuple[float, float, int]:
    """Mean, half width of the 95 % Student interval, and n; half a width of 0 says: none stated.

    None is below three values: of two, Student's factor of 12.7 makes bands that no metric fills.
    """
    values = np.asarray(values.dropna(), float)
    n = len(values)
    if n < statistics.LEAST:
        return (float(values.mean()) if n else np.nan), 0.0, n
    return float(values.mean()), statistics.student(values.std(ddof=1) / n**0.5, n - 1), n


def ratio_interval(above: pd.Series, below: pd.Series) -> tuple[float, float, int]:
    """The ratio of two means over the same seeds, half width of its 95 % interval, and n.

    The mean of the seeds' own ratios is pulled by the seed whose denominator happens to be small;
    this is not. The interval is Student's, of ``above - ratio * below`` over the mean of ``below``.
    """
    both = pd.concat({"above": above, "below": below}, axis=1).dropna()
    if not len(both):
        return np.nan, 0.0, 0
    ratio = float(both["above"].mean() / both["below"].mean())
    _, half, n = interval(both["above"] - ratio * both["below"])
    return ratio, half / abs(float(both["below"].mean())), n


def intervals(frame: pd.DataFrame, by: list[str], column: str) -> pd.DataFrame:
    """One row per group with mean, low, high and n over seeds."""
    rows = []
    for key, group in frame.groupby(by, sort=True, dropna=False):
        mean, half, n = interval(group[column])
        if n:
            rows.append([*key, mean, mean - half, mean + half, n])
    if not rows:  # with the types of columns that have rows
        return frame[by].iloc[:0].assign(mean=0.0, low=0.0, high=0.0, n=0)
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n"])


def with_seconds(folder: Path, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Verdicts with the seconds of their methods, where cells of the same config were run.

    Adds ``seconds``, ``seconds_low``, ``seconds_high``, ``seconds_n``, and ``again``: of training
    on the retained data; empty where there is no such cell.
    """
    names = ["data", "model", "kind", "ratio", "count", "method"]
    columns = ["seconds", "seconds_low", "seconds_high", "seconds_n", "again"]
    if not (folder / "cells.csv").is_file():
        return verdicts.assign(**dict.fromkeys(columns, np.nan))
    tables = read(folder)
    cells = finished(tables).set_index("cell", drop=False)
    cells = cells.join(tables.timings.set_index("cell")[["unlearn_seconds", "reference_seconds"]])
    for part in ("data", "model", "method"):
        starts = ("data.", "split.") if part == "data" else f"{part}."
        own = [name for name in swept(cells) if name.startswith(starts)]
        cells[part] = [f"{row[part]} {words(row, own)}".strip() for _, row in cells.iterrows()]
    found = {}
    for key, rows in cells.groupby(names, dropna=False):
        once = [name for name in ("split.seed", "seed") if name in rows]  # repeated or not
        seconds = rows.groupby(once, dropna=False)["unlearn_seconds"].mean().to_numpy()
        seconds = statistics.mean(seconds, bounds=(0, np.inf))
        found[_key(key)] = (*seconds, rows["reference_seconds"].mean())
    empty = (np.nan,) * len(columns)
    lines = [found.get(_key(row), empty) for row in verdicts[names].itertuples(index=False)]
    return verdicts.join(pd.DataFrame(lines, columns=columns, index=verdicts.index))


def _key(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(spelled(str(value)) for value in values)


def spelled(name: str) -> str:
    """A name and its settings by one spelling: a table writes 10.0 for what a config calls 10."""

    def one(word: str) -> str:
        name, equals, value = word.rpartition("=")
        try:
            return f"{name}{equals}{float(value):g}"
        except ValueError:
            return word

    return " ".join(map(one, name.split()))
