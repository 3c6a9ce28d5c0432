"""The three tables of an experiment as frames, and the intervals that figures and pages share."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..errors import PROGRAM, Refused

GROUP = ["data", "model"]  # one panel or row of panels


class Tables(NamedTuple):
    """cells.csv, metrics.csv and timings.csv; all that a figure may see."""

    cells: pd.DataFrame
    metrics: pd.DataFrame
    timings: pd.DataFrame


def read(folder: Path) -> Tables:
    """Reads the tables of one results folder."""
    frames = []
    for name in Tables._fields:
        path = folder / f"{name}.csv"
        if not path.is_file():
            raise Refused(f"{path} is not there; first: {PROGRAM} collect {folder.name}")
        frames.append(pd.read_csv(path, dtype={"cell": str, "reason": str}))
    return Tables(*frames)


def swept(cells: pd.DataFrame) -> list[str]:
    """Columns of swept settings; the info of fit, unlearn and reference is none."""
    info = ("fit.", "unlearn.", "reference.")
    return [c for c in cells.columns if "." in c and not c.startswith(info)]


def finished(tables: Tables) -> pd.DataFrame:
    """The cells with numbers."""
    return tables.cells[tables.cells["status"] == "ok"].copy()


def words(row: pd.Series, names: list[str]) -> str:
    """The settings a row has among these columns: max_sweeps=5 tol=0.001."""
    given = [(name.partition(".")[2], row[name]) for name in names if pd.notna(row[name])]
    return " ".join(f"{n}={v:g}" if isinstance(v, float) else f"{n}={v}" for n, v in given)


def left_out(tables: Tables) -> int:
    """How many cells have no numbers: failed, skipped or diverged."""
    return int((tables.cells["status"] != "ok").sum())


def value(tables: Tables, stage: str, metric: str, split: str, k: int | None = None) -> pd.Series:
    """One metric by cell id."""
    rows = tables.metrics
    keep = (rows["stage"] == stage) & (rows["metric"] == metric) & (rows["split"] == split)
    keep &= rows["k"].isna() if k is None else rows["k"] == k
    return rows[keep].set_index("cell")["value"]


def recovery(tables: Tables, metric: str) -> pd.Series:
    """By cell id: ``(after - before) / (reference - before)`` on test, 1 where all is recovered."""
    before, after, goal = (
        value(tables, s, metric, "test") for s in ("before", "after", "reference")
    )
    return (after - before) / (goal - before)


def local_residual(tables: Tables) -> pd.Series:
    """By cell id: distance to the reference after unlearning, as a share of that before.

    Of the method ``retrain`` it is how far two retrainings lie apart, below which no method can be
    expected to come.
    """
    before, after = (value(tables, stage, "distance", "all") for stage in ("before", "after"))
    return after / before


def first_k(tables: Tables, metric: str) -> int:
    """The first k of the config, which is the one that figures show."""
    return int(tables.metrics.loc[tables.metrics["metric"] == metric, "k"].iloc[0])


def interval(values: pd.Series) -> tuple[float, float, int]:
    """Mean, half width of the 95 % Student interval (0 for a single value), and n."""
    from scipy.special import stdtrit

    values = np.asarray(values.dropna(), float)
    n = len(values)
    if n < 2:
        return (float(values[0]) if n else np.nan), 0.0, n
    return float(values.mean()), float(stdtrit(n - 1, 0.975) * values.std(ddof=1) / n**0.5), n


def intervals(frame: pd.DataFrame, by: list[str], column: str) -> pd.DataFrame:
    """One row per group with mean, low, high and n over seeds."""
    rows = []
    for key, group in frame.groupby(by, sort=True, dropna=False):
        mean, half, n = interval(group[column])
        if n:
            rows.append([*key, mean, mean - half, mean + half, n])
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n"])
