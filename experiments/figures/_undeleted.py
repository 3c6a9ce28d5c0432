"""What a method is measured against: the model before the request, as its own training makes it.

A method with a training of its own (SISA, RecEraser, certified ALS) has another model before the
request, which says what the method costs, not what doing nothing would leave. Of a plainly trained
model alone is the objective known before the request: by that such cells are told apart.
"""

import numpy as np
import pandas as pd

from . import _tables
from ._tables import Tables

LINE = "undeleted"  # how the line of these models is called, and how its name begins


def _plain(tables: Tables, cells: pd.DataFrame) -> pd.Series:
    """Which cells train as their model does, by cell id."""
    losses = _tables.value(tables, "before", "loss", "retained")
    return pd.Series(cells["cell"].isin(losses.index).to_numpy(), cells["cell"])


def _alike(cells: pd.DataFrame) -> list[np.ndarray]:
    """What the cells of one undeleted model share: data, model, request and seeds."""
    ours = [name for name in _tables.swept(cells) if not _tables.of_method(name)]
    names = [*_tables.GROUP, *ours, "kind", "ratio", "count", "seed"]
    return [cells[name].to_numpy() for name in names]


def before(tables: Tables, metric: str, split: str, k: int | None = None) -> pd.Series:
    """One metric by cell id, of the plainly trained model before the request of the cell.

    A method that trains otherwise takes it from a method that does not, of the same data, model,
    request and seeds; where there is none, it has no such number.
    """
    cells = _tables.finished(tables)
    own = _tables.value(tables, "before", metric, split, k).reindex(cells["cell"])
    own = own.astype(float).where(_plain(tables, cells))
    return own.fillna(own.groupby(_alike(cells), dropna=False).transform("first"))


def known(tables: Tables, cells: pd.DataFrame) -> pd.Series:
    """Whether there is a plainly trained model of the data, model, request and seeds of a cell."""
    finished = _tables.finished(tables)
    plain = _plain(tables, finished)
    there = plain.groupby(_alike(finished), dropna=False).transform("any").astype(bool)
    return there.reindex(cells["cell"])


def without(tables: Tables, cells: pd.DataFrame) -> list[str]:
    """Words on the methods among these cells that have no such model; none where all have."""
    lacking = ~known(tables, cells).to_numpy(bool)
    names = sorted(set(cells.loc[lacking, "method"]))
    return [f"no plainly trained model to measure {', '.join(names)} by"] if names else []


def once(tables: Tables, cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """One cell per group and seed; its ``... before`` is what the undeleted model has.

    Where a group has no plainly trained model, it is what the first line's own model has before the
    request, and the column ``whose`` names that line.

    Args:
      tables: all that was measured.
      cells: those shown, with their ``line`` and the columns that ``with_metric`` adds.
      by: the columns that make the groups, of one undeleted model per seed.
    """
    there, parts = known(tables, cells), []
    for _, group in cells.groupby(by, sort=False, dropna=False):
        one = group.drop_duplicates("seed")
        plain = bool(there.reindex(one["cell"]).any())
        first = one["line"].iloc[0]
        one = one.assign(whose=np.nan if plain else first)
        for name in [name for name in one if name.endswith(" before")]:
            if plain:
                one[name] = one[f"{name.removesuffix(' before')} {LINE}"]
            else:
                one[name] = one[name].where(one["line"] == first)
        parts.append(one)
    return pd.concat(parts) if parts else cells.assign(whose=np.nan)


def intervals(once: pd.DataFrame, by: list[str], name: str) -> pd.DataFrame:
    """The intervals of a quantity before the request, as rows of a line."""
    lines = [LINE if pd.isna(whose) else f"{LINE} ({whose})" for whose in once["whose"]]
    return _tables.intervals(once.assign(line=lines), [*by, "line"], f"{name} before")


def rows(numbers: pd.DataFrame) -> pd.DataFrame:
    """The rows of the undeleted models among those of all lines."""
    return numbers[numbers["line"].astype(str).str.fullmatch(rf"{LINE}( \(.*\))?")]


def label(line: str) -> str:
    """What a legend calls such a line."""
    return line.replace(LINE, f"{LINE} model")


def gains(tables: Tables, metric: str) -> tuple[pd.Series, pd.Series]:
    """By cell id: ``after - before`` and ``reference - before`` on test, the shares of recovery."""
    after, goal = (_tables.value(tables, s, metric, "test") for s in ("after", "reference"))
    undeleted = before(tables, metric, "test")
    return after - undeleted, goal - undeleted


def recovery(tables: Tables, metric: str) -> pd.Series:
    """By cell id: ``(after - before) / (reference - before)`` on test, 1 where all is recovered."""
    gain, goal = gains(tables, metric)
    return gain / goal


def distances(tables: Tables, split: str = "all") -> tuple[pd.Series, pd.Series]:
    """By cell id: the distance to the reference after unlearning, and of the undeleted model."""
    return _tables.value(tables, "after", "distance", split), before(tables, "distance", split)


def local_residual(tables: Tables, split: str = "all") -> pd.Series:
    """By cell id: distance to the reference after unlearning, as a share of the undeleted model's.

    Of the method ``retrain`` it is how far two retrainings lie apart, below which no method can be
    expected to come.
    """
    after, undeleted = distances(tables, split)
    return after / undeleted
