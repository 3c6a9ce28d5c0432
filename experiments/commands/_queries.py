"""What a quoted number is computed by: a line of words, read from ``results/quoted.toml``.

``mean: after distance all [method=drop]`` is the mean over the cells that the filters leave. Before
the colon stands how cells become one number (``each``: one number per cell, by seed; ``pooled``:
ratio of means; ``ci95``, ``pooled95``: half widths of 95 % intervals), with ``%`` where a number is
quoted in per cent. After it stands a quantity: a stage, metric, part and k of metrics.csv;
``recovery`` or ``residual`` of a metric or part; ``cells`` or ``timings`` and a column; a table of
another command (``OTHERS``) and a column, where a ``~`` in a filter stands for a space.
Two of them may be joined by ``-`` or ``/``, cell by cell or, where their filters differ, seed by
seed. ``over`` divides one such number by another. ``{a,b}`` writes a query once for each word, the
leftmost braces varying first; where both sides of ``over`` have braces, they vary together.
``folder=a|b`` takes the cells of both; ``up`` before a query rounds up to a whole number.
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import frames, statistics
from ..errors import Refused
from ..figures import _tables, _undeleted

STAGES = ("before", "after", "reference")
PAIRED = ["data", "model", "kind", "ratio", "count", "seed"]  # what cells of two methods share
DRAWN = ["split.seed", "unlearn_seed"]  # and these, in tables that have them
PAIRS = {"recovery": _undeleted.gains, "residual": _undeleted.distances}
WAYS: dict[str, Callable] = {
    "mean": lambda s: s.mean(),
    "ci95": lambda s: _half(*_tables.interval(s)[1:]),
    "median": lambda s: s.median(),
    "min": lambda s: s.min(),
    "max": lambda s: s.max(),
    "n": lambda s: s.notna().sum(),
}
POOLED: dict[str, Callable] = {  # ratio of means, and half width of its interval
    "pooled": lambda a, b: _tables.ratio_interval(a, b)[0],
    "pooled95": lambda a, b: _half(*_tables.ratio_interval(a, b)[1:]),
}


def _half(half: float, n: int) -> float:
    """Half of an interval, which has to be one."""
    if n < statistics.LEAST:
        raise Refused(f"an interval of {n} values: none is stated below {statistics.LEAST}")
    return half


read = functools.cache(_tables.read)


OTHERS = (
    *("audit", "verdict", "evidence", "measures", "reconstruction", "advice"),
    *("sequence", "games", "components"),
    *(
        "gowalla",
        "gowalla_forgetting",
        "gowalla_exact",
        "gowalla_shards",
        "ncf",
        "erase",
    ),  # of bench
)


@functools.cache
def other(folder: Path, name: str) -> pd.DataFrame:
    """The rows of a table that another command than ``collect`` wrote."""
    return frames.read(folder / f"{name}.csv", mend="take it from its commit")


def spread(text: str) -> list[str]:
    """The query once for every word in its braces, the leftmost braces varying first."""
    if not (last := re.search(r"\{([^{}]*)\}(?!.*\{)", text)):
        return [text]
    words = [word.strip() for word in last[1].split(",")]
    return [q for word in words for q in spread(text[: last.start()] + word + text[last.end() :])]


def filters(text: str) -> dict[str, str]:
    """``method=ifru seed=1..5`` as a dictionary."""
    pairs = [part.partition("=") for part in text.split()]
    if bad := [part for part, equals, _ in pairs if not equals]:
        raise Refused(f"{bad[0]!r} is no filter; write column=value")
    return {name: value.replace("~", " ") for name, _, value in pairs}


def _column(frame: pd.DataFrame, name: str) -> str:
    """A column by its name, or by the bare name of a swept setting."""
    if name in frame:
        return name
    short = [c for c in _tables.swept(frame) if c.partition(".")[2] == name]
    if len(short) != 1:
        raise Refused(f"no column {name!r}")
    return short[0]


def _holds(column: pd.Series, wanted: str) -> pd.Series:
    """Which values are among ``a|b``, within ``1..5``, or absent where ``-`` is wanted."""
    if wanted == "-":
        return column.isna()
    low, dots, high = wanted.partition("..")
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        try:
            if dots:
                return column.between(float(low), float(high))
            return column.isin([float(word) for word in wanted.split("|")])
        except ValueError:
            raise Refused(f"{column.name}={wanted}: this column holds numbers") from None
    words = wanted.split("|")  # labels may differ in case alone; true and false are one word each
    words = [word.title() if word.lower() in ("true", "false") else word for word in words]
    return column.astype(str).isin(words)


def _narrow(frame: Any, where: dict[str, str]) -> Any:
    for name, wanted in where.items():
        if name != "folder":
            frame = frame[_holds(frame[_column(frame, name)], wanted)]
    return frame


def _series(words: list[str], tables: _tables.Tables) -> pd.Series:
    """One quantity by cell id."""
    match words:
        case [stage, metric, split, *k] if stage in STAGES and len(k) < 2:
            if not all(map(str.isdigit, k)):
                raise Refused(f"{k[0]!r} is no length of lists")
            return _tables.value(tables, stage, metric, split, int(k[0]) if k else None)
        case ["recovery", metric]:
            return _undeleted.recovery(tables, metric)
        case ["residual", split]:
            return _undeleted.local_residual(tables, split)
        case ["cells" | "timings" as table, column] if column in getattr(tables, table):
            values = getattr(tables, table).set_index("cell")[column]
            return values.map({"True": 1, "False": 0}) if values.dtype == object else values
    raise Refused(f"{' '.join(words)!r} is no quantity of these tables")


def _others(words: list[str], folder: Path, where: dict[str, str]) -> pd.DataFrame:
    rows = _narrow(other(folder, words[0]), where)
    if len(words) != 2 or words[1] not in rows:
        raise Refused(f"{' '.join(words)!r} is no column of {words[0]}.csv")
    return rows.assign(value=rows[words[1]], seed=rows.get("seed", 0))


def _cells(words: list[str], folder: Path, where: dict[str, str]) -> pd.DataFrame:
    tables = read(folder)
    cells = _narrow(tables.cells, where).set_index("cell", drop=False)
    values = {"value": _series(words, tables)}
    if words[0] in PAIRS:
        values["above"], values["below"] = PAIRS[words[0]](tables, words[1])
    return cells.assign(**{name: column.reindex(cells.index) for name, column in values.items()})


def _term(text: str, results: Path, where: dict[str, str]) -> tuple[Any, dict]:
    """The chosen cells with the quantity as ``value`` (and ``above``, ``below`` of a ratio)."""
    head, _, rest = text.strip().partition("[")
    own = filters(rest.rstrip("] "))
    where = where | own
    if "folder" not in where:
        raise Refused("no folder is given")
    words, folders = head.split(), [results / name for name in where["folder"].split("|")]
    take = _others if words[:1] and words[0] in OTHERS else _cells
    frame: Any = pd.concat([take(words, folder, where) for folder in folders])
    if not len(frame):
        raise Refused("no cell is left by these filters")
    return frame[frame["value"].notna()].sort_values("seed", kind="stable"), own


def _by(frame: pd.DataFrame, names: list[str]) -> pd.Series:
    """The values by what pairs them, which must tell the cells apart."""
    if missing := [name for name in names if name not in frame]:
        raise Refused(f"no column {missing[0]!r} by which to pair cells")
    index = [tuple(row) for row in frame[names].astype(str).to_numpy()]
    if len(set(index)) < len(index):
        raise Refused("several cells of one seed; filter until one is left to pair")
    return pd.Series(frame["value"].to_numpy(), index)


def _together(text: str, results: Path, where: dict[str, str]) -> Any:
    """A quantity, or two joined by ``-`` or ``/``."""
    first, *others = re.split(r" ([-/]) ", text)
    left, own = _term(first, results, where)
    for sign, word in zip(others[::2], others[1::2], strict=True):
        right, theirs = _term(word, results, where)
        paired = PAIRED + [name for name in DRAWN if name in left and name in right]
        names = ["cell"] if own == theirs else paired
        a, b = _by(left, names), _by(right, names)
        b = b.reindex(a.index)
        value = a - b if sign == "-" else a / b
        left = left.assign(value=value.to_numpy(), above=a.to_numpy(), below=b.to_numpy())
    return left


def _numbers(text: str, results: Path, where: dict[str, str]) -> list[float]:
    """What one query without braces and ``over`` gives: one number, or with ``each`` several."""
    way, colon, rest = text.partition(":")
    way, times = way.strip().removesuffix("%"), 100.0 if way.strip().endswith("%") else 1.0
    if not colon or way not in {*WAYS, *POOLED, "each"}:
        raise Refused(f"expected one of {', '.join((*WAYS, *POOLED, 'each'))} and a colon")
    frame = _together(rest, results, where)
    if not len(frame):
        raise Refused("the cells left by these filters have no such number")
    if way in POOLED:
        if "above" not in frame:
            raise Refused(f"{way} needs a ratio: recovery, residual or a / b")
        return [times * POOLED[way](frame["above"], frame["below"])]
    try:
        values = frame["value"].astype(float)
    except ValueError:
        raise Refused(f"{rest.strip()!r} holds words, not numbers") from None
    return [times * float(x) for x in (values if way == "each" else [WAYS[way](values)])]


def evaluate(text: str, results: Path, where: dict[str, str]) -> list[tuple[str, float]]:
    """The numbers of one line of quoted.toml, each with the query that made it.

    Args:
      text: the query.
      results: the folder of all results.
      where: filters of the quote; those in the brackets of a quantity win over them.

    Raises:
      Refused: the query cannot be read, or leaves no cell.
    """
    made = []
    try:
        sides = [spread(side) for side in text.split(" over ")]
        if len({len(side) for side in sides}) > 1:
            raise Refused("the sides of `over` have braces of different sizes")
        for queries in zip(*sides, strict=True):
            plain = [query.removeprefix("up ") for query in queries]
            first, *rest = [np.asarray(_numbers(query, results, where)) for query in plain]
            for more in rest:
                first = first / more
            first = np.ceil(first) if queries[0].startswith("up ") else first
            made += [(" over ".join(queries), float(value)) for value in first]
    except Refused as error:
        raise Refused(f"{text!r}: {error}") from None
    return made
