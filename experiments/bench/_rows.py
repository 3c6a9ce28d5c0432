"""The tables of benchmarks: runs of some rows leave all others as they are.

``Rows`` is of those that take long: a row that is there stands. ``Measured`` is of those that are
measured anew: a row of the same key is replaced.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import files, frames, statistics
from ..errors import Refused
from ..lab import provenance
from ..lab.tables import by, csv, keyed

MADE = ("commit", "jaxlib", "device")


class Rows:
    """Rows by what decides their numbers; each is computed once, by whichever run comes first."""

    def __init__(self, path: str, keys: list[str], values: list[str]):
        """Opens the table, or begins it; ``keys`` decide a row, ``values`` are measured."""
        self.path, self.keys, self.columns = Path(path), keys, [*keys, *values, *MADE]
        self.rows = []
        if self.path.exists():
            table = frames.read(self.path)
            if list(table) != self.columns:
                raise Refused(f"{path}: has other columns: move it away, or name another by --out")
            self.rows = table.to_dict("records")

    def get(self, key: dict[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The row of this key, computed and written now where there is none."""
        for row in self.rows:
            if all(_same(row[name], key[name]) for name in self.keys):
                return row
        facts = provenance.lasting()
        made = (provenance.commit(), facts["jaxlib"], facts["device_kind"])
        row = {**key, **compute(), **dict(zip(MADE, made, strict=True))}
        self.rows.append(row)
        lines = [[one[name] for name in self.columns] for one in self.rows]
        files.write_atomically(self.path, csv(self.columns, lines))
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
        self.rows = by(self.path, columns, key)

    def put(self, *lines: list[Any]) -> None:
        """Writes the table with these rows, each a value per column."""
        for line in lines:
            row = dict(zip(self.columns, line, strict=True))
            self.rows[keyed(row, self.key)] = row
        every = [[row[name] for name in self.columns] for row in self.rows.values()]
        files.write_atomically(self.path, csv(self.columns, every))


def tell(rows: list[dict[str, Any]], names: dict[str, str]) -> None:
    """Prints the mean and the interval of some columns, each under its title."""
    for column, title in names.items():
        found = statistics.mean([row[column] for row in rows], bounds=(0, 1))
        print(f"{title} {found.value:.4f} [{found.low:.4f}, {found.high:.4f}], n = {found.n}")


def _same(a: Any, b: Any) -> bool:
    """Equal, or equal as numbers of a table are written."""
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return f"{a:.9g}" == f"{b:.9g}"
