"""The tables of benchmarks: runs of some rows leave all others as they are.

``Rows`` is of those that take long: a row that is there stands. ``Measured`` is of those that are
measured anew: a row of the same key is replaced.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import statistics
from ..lab import provenance, tables

MADE = ("commit", "jaxlib", "device")


class Rows:
    """Rows by what decides their numbers; each is computed once, by whichever run comes first."""

    def __init__(self, path: str, keys: list[str], values: list[str]):
        """Opens the table, or begins it; ``keys`` decide a row, ``values`` are measured."""
        self.path, self.keys, self.columns = Path(path), keys, [*keys, *values, *MADE]
        tables.there(self.path, self.columns)  # other columns are refused before all else

    def get(self, key: dict[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The row of this key, computed and written now where there is none."""
        for row in tables.there(self.path, self.columns):
            if tables.keyed(row, self.keys) == tables.keyed(key, self.keys):
                return row
        facts = provenance.lasting()
        made = (provenance.commit(), facts["jaxlib"], facts["device_kind"])
        row = {**key, **compute(), **dict(zip(MADE, made, strict=True))}
        tables.add(self.path, self.columns, self.keys, [row])
        told = (f"{k} {v:.4g}" if isinstance(v, float | int) else str(v) for k, v in row.items())
        print("  ".join([*told][: -len(MADE)]), flush=True)
        return row


class Measured:
    """A table whose rows a run adds, or measures anew, among those of other runs."""

    def __init__(self, path: str, columns: list[str], key: list[str]):
        """Opens the table, or begins it; ``key`` are the columns that tell rows apart.

        Raises:
          Refused: the file has other columns.
        """
        self.path, self.columns, self.key = Path(path), columns, key
        tables.there(self.path, columns)  # other columns are refused before anything is measured

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Those that are there now."""
        return tables.there(self.path, self.columns)

    def put(self, *lines: list[Any]) -> None:
        """Writes the table with these rows, each a value per column."""
        rows = [dict(zip(self.columns, line, strict=True)) for line in lines]
        tables.add(self.path, self.columns, self.key, rows)


def tell(rows: list[dict[str, Any]], names: dict[str, str]) -> None:
    """Prints the mean and the interval of some columns, each under its title."""
    for column, title in names.items():
        found = statistics.mean([row[column] for row in rows], bounds=(0, 1))
        print(f"{title} {found.value:.4f} [{found.low:.4f}, {found.high:.4f}], n = {found.n}")
