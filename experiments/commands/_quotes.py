"""Numbers that a page quotes, and the same numbers computed from the tables of results."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..errors import Refused
from ..figures import _tables
from ..figures._tables import Tables

NUMBER = re.compile(r"(?<![\w.@-])[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e-?\d+)?(?![\w])")
Where = Mapping[str, str | int | float]
STAGES = ("before", "after", "reference")


class Quote(NamedTuple):
    """A piece of one line of a page; the last numbers in it are those of ``show``, in order.

    ``computes`` reads the words of ``show``; an empty one stands for a number that is no result.
    """

    file: str
    text: str
    folder: str  # of results
    show: list[str]  # see ``computes``
    where: Where = MappingProxyType({})  # columns of cells.csv


def read(path: Path) -> list[Quote]:
    """The quotes of a file; each names what it lacks."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))["quote"]
        return [Quote(**table) for table in tables]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{path}: {error}") from None


def tables(folder: Path) -> Tables:
    """The tables of a results folder; empty ones where there is an audit alone."""
    if (folder / "audit.csv").is_file() and not (folder / "cells.csv").is_file():
        return Tables(*(pd.DataFrame(columns=names) for names in _tables.NEEDED.values()))
    return _tables.read(folder)


def place(quote: Quote, text: str) -> int:
    """The number of the one line that holds the quoted piece."""
    found = [n for n, line in enumerate(text.splitlines(), start=1) if quote.text in line]
    if len(found) != 1:
        raise Refused(f"{quote.file}: {len(found)} lines hold {quote.text!r}; quote one line")
    return found[0]


def told(text: str) -> list[tuple[str, str | None]]:
    """The numbers of a piece of text, each with what stands behind its ``±``."""
    found: list[tuple[str, str | None]] = []
    spread = False
    for match in NUMBER.finditer(text):
        if spread and found:
            found[-1] = (found[-1][0], match[0])
        else:
            found.append((match[0], None))
        spread = not spread and text[match.end() :].lstrip().startswith("±")
    return found


def agrees(said: str, computed: float) -> bool:
    """Whether a number, rounded to the digits that are said, is what was said."""
    said = said.replace(",", "")
    mantissa, _, power = said.partition("e")
    unit = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
    return abs(float(said) - computed) <= 0.5 * unit + 1e-9 * max(1.0, abs(computed))


def series(tables: Tables, words: str, where: Where) -> pd.Series:
    """One value per cell, by its id.

    ``words``: what to show, and after a bar further columns to select by, such as
    ``"recovered auc | method=ifru"``. To show are ``before``, ``after``, ``reference`` or
    ``change`` (from the undeleted model of ``retrain``) with a metric (``ndcg@10``) and perhaps a
    part (else ``test``); ``recovered METRIC``, in per cent; ``residual`` and a part (else ``all``);
    ``info COLUMN``; ``seconds NAME``. A column may be one of several: ``seed=6,7,8``.
    """
    what, _, narrow = words.partition("|")
    cells = _selected(_tables.finished(tables), _narrowed(where, narrow))
    name, *rest = what.split()
    metric, _, k = (rest[0] if rest else "").partition("@")
    part, length = rest[1] if len(rest) > 1 else "test", int(k) if k else None
    if name in STAGES:
        values = _tables.value(tables, name, metric, part, length)
    elif name == "change":
        values = _tables.value(tables, "after", metric, part, length)
        plain = _plain(tables).map(_tables.value(tables, "before", metric, part, length))
        values = values - plain.reindex(values.index)
    elif name == "recovered":
        values = 100 * _tables.recovery(tables, metric)
    elif name == "residual":
        before, after = (
            _tables.value(tables, s, "distance", metric or "all") for s in ("before", "after")
        )
        values = after / before
    elif name == "info":
        values = cells.set_index("cell")[rest[0]]
    elif name == "seconds":
        values = tables.timings.set_index("cell")[f"{rest[0]}_seconds"]
    else:
        raise Refused(f"nothing is called {name!r} in {words!r}")
    chosen = values.reindex(cells["cell"])
    if chosen.isna().any() or not len(chosen):
        raise Refused(f"{words!r} with {where}: {len(cells)} cells, {chosen.isna().sum()} unknown")
    if cells.duplicated("seed").any() and len(cells) > 1:
        raise Refused(f"{words!r} with {where}: several cells of one seed; select by more columns")
    return chosen


def _narrowed(where: Where, words: str) -> Where:
    """The columns to select by, with those behind a bar."""
    parts = [word.partition("=") for word in words.split()]
    if wrong := [word for word, equals, _ in parts if not equals]:
        raise Refused(f"{wrong[0]!r} in {words!r} is not column=value")
    return dict(where) | {column: value for column, _, value in parts}


def _plain(tables: Tables) -> pd.Series:
    """By cell id: the id of the cell of ``retrain`` with the same data, model, request and seed."""
    cells = _tables.finished(tables)
    plain = cells["cell"].where(cells["method"] == "retrain")
    same = [cells[name] for name in ("data", "model", "kind", "ratio", "count", "seed")]
    return plain.groupby(same, dropna=False).transform("first").set_axis(cells["cell"])


def _selected(cells: pd.DataFrame, where: Where) -> pd.DataFrame:
    """The cells whose columns have these values; ``""`` is an empty one."""
    for column, wanted in where.items():
        if column not in cells:
            raise Refused(f"no column {column!r}; there are {', '.join(cells)}")
        empty = cells[column].isna()
        texts = cells[column].map(lambda x: f"{x:g}" if isinstance(x, float) else str(x))
        cells = cells[empty if wanted == "" else ~empty & texts.isin(str(wanted).split(","))]
    return cells


def audited(path: Path, words: str, where: Where) -> pd.Series:
    """The one value of a column of audit.csv: ``"audit values | method=ifru"``."""
    what, _, narrow = words.partition("|")
    try:
        rows = pd.read_csv(path)
        rows = _selected(rows, _narrowed(where, narrow))
        values = rows[what.split()[1]]
    except (OSError, KeyError, ValueError) as error:
        raise Refused(f"{path}: {error}") from None
    if len(values) != 1:
        raise Refused(f"{words!r} with {where}: {len(values)} rows of {path}")
    return values


def wrong(quote: Quote, tables: Tables, folder: Path) -> list[str]:
    """The numbers of a quote that the tables do not bear, each with what they say instead."""
    said, faults = told(quote.text), []
    if len(said) < len(quote.show):
        raise Refused(f"{quote.text!r} has {len(said)} numbers; {len(quote.show)} are to be shown")
    for (number, spread), words in zip(said[-len(quote.show) :], quote.show, strict=True):
        if not words:
            continue
        computed, half, n = computes(tables, words, quote.where, folder)
        if not agrees(number, computed):
            faults.append(f"{words}: {number} is said, {computed:.6g} computed (n = {n})")
        if spread is not None and not agrees(spread, half):
            faults.append(f"{words}: ± {spread} is said, {half:.6g} computed (n = {n})")
    return faults


def computes(tables: Tables, words: str, where: Where, folder: Path) -> tuple[float, float, int]:
    """What stands for a number of a page: a mean over seeds, half of its interval, and n.

    ``median``, ``least`` or ``most`` in front of the words of ``series`` takes that instead of the
    mean; ``share METRIC`` is what is recovered as a ratio of means, in per cent; ``X less Y`` is
    the difference of two, paired by seed; ``audit COLUMN`` is of audit.csv.
    """
    kind, _, rest = words.partition(" ")
    if kind == "audit":
        return _tables.interval(audited(folder / "audit.csv", words, where))
    if kind == "share":
        before, after, goal = (series(tables, f"{s} {rest}", where).mean() for s in STAGES)
        n = len(series(tables, f"before {rest}", where))
        return float(100 * (after - before) / (goal - before)), np.nan, n
    if " less " in words:
        seed = tables.cells.set_index("cell")["seed"]
        one, other = (series(tables, side, where).rename(seed) for side in words.split(" less "))
        return _tables.interval(one - other)
    by = {"median": pd.Series.median, "least": pd.Series.min, "most": pd.Series.max}
    values = series(tables, rest if kind in by else words, where)
    mean, half, n = _tables.interval(values)
    return float(by[kind](values)) if kind in by else mean, half, n
