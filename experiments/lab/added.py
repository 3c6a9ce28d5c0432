"""A table that several runs add to, all of one config as it is and of the same data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..config.grid import Cell
from ..config.owned import NAMES, Owned
from ..errors import Refused
from . import store, tables
from .setup import Laboratory


class Added:
    """Adds rows to a table, and refuses to mix them with others that are called alike.

    Rows of the same names are averaged or compared by whoever reads the table; so all of them must
    be of cells of this config, and each of the data that are there now. Rows that are called
    otherwise stay as they are.
    """

    def __init__(
        self, lab: Laboratory, path: Path, columns: list[str], key: Sequence[str], owned: Owned
    ):
        """``key``: the columns that tell apart the rows that replace each other.

        Raises:
          Refused: what is there already cannot be added to; nothing has been computed yet.
        """
        self.path, self.columns, self.key, self.owned = path, columns, key, owned
        self._hash: Callable[[Cell], str] = lambda cell: lab.materials.prepared(cell).hash
        self._good: set[tuple] = set()
        self._check(tables.spelled(path, columns))

    def stamp(self, decides: str) -> dict[str, str]:
        """What a row says of itself: what decides it, and the hash of its data as they are now."""
        digest = self._hash(self.owned.cells[decides])[: store.DIGITS]
        return {self.owned.column: decides, "data_hash": digest}

    def rows(self) -> list[dict[str, Any]]:
        """All that is there now."""
        return tables.there(self.path, self.columns)

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Puts rows into the table, beside what any other run has added since."""
        tables.add(self.path, self.columns, self.key, rows, self._check)

    def _check(self, rows: list[dict[str, str]]) -> None:
        for row in rows:
            decides, was = row[self.owned.column], row["data_hash"]
            names = tuple(row[name] for name in NAMES)
            if (decides, was, names) in self._good:
                continue
            if decides not in self.owned.cells and names in self.owned.names:
                raise Refused(
                    f"{self.path}: its rows of {' '.join(names)} are of other settings, requests "
                    "or seeds than this config's: give those that they were made with, or move the "
                    "table away"
                )
            if decides in self.owned.cells and was != (now := self.stamp(decides)["data_hash"]):
                raise Refused(
                    f"{self.path}: {self.owned.column} {decides} was computed on other data "
                    f"(sha256 {was[:12]}, now {now[:12]}); restore the data, or move the table "
                    "away and compute all again"
                )
            self._good.add((decides, was, names))
