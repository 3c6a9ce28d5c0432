"""Which rows of a table are of a config as it is: by what decides them, not by their names."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from .grid import Cell, identity, named

NAMES = ("data", "model", "method")  # what a row is called, with the settings that are swept
DECIDES = ("data", "split", "model", "request", "dtype")  # what makes a bank of models another one
KINDS = ("retrained", "undeleted")  # models of a bank that no method made


class Owned(NamedTuple):
    """The rows that a config makes, of one table."""

    column: str  # that says what decides a row
    cells: dict[str, Cell]  # by what stands in that column
    names: set[tuple[str, ...]]  # of all rows


def by_cell(cells: Iterable[Cell]) -> Owned:
    """Of a table whose rows are each of one cell."""
    cells = list(cells)
    names = {tuple(named(cell, part) for part in NAMES) for cell in cells}
    return Owned("cell", {cell.id: cell for cell in cells}, names)


def by_bank(cells: Iterable[Cell]) -> Owned:
    """Of a table whose rows are each of one kind of models of a bank."""
    found, names = {}, set()
    for cell in cells:
        kinds = {named(cell, "method"): cell.spec["method"]} | dict.fromkeys(KINDS)
        for kind, method in kinds.items():
            found.setdefault(settings(cell.spec, method), cell)
            names.add((named(cell, "data"), named(cell, "model"), kind))
    return Owned("settings", found, names)


def settings(spec: dict[str, Any], method: dict[str, Any] | None) -> str:
    """Names what decides models of a bank, for a row about them; without a method, of ``KINDS``.

    Seeds are those of the bank, and how many pairs are looked at is said elsewhere.
    """
    return identity({name: spec[name] for name in DECIDES} | {"method": method})
