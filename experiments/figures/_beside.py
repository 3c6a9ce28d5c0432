"""The tables that other commands than ``collect`` write into a folder of results."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from .. import frames
from ..config import owned
from ..config.grid import Cell, named
from ..config.owned import Owned
from ..errors import PROGRAM, Refused
from . import _tables


class Side(NamedTuple):
    """What a figure or a page needs of such a table."""

    command: str  # that writes it
    owned: Callable[[list[Cell]], Owned]
    columns: tuple[str, ...]
    numbers: tuple[str, ...]  # columns, where they are there, that hold nothing else


ESTIMATES = tuple(
    name + end
    for name in ("left", "told", "excess", "harm", "utility")
    for end in ("", "_low", "_high")
)
GROUP = ("data", "model", "kind", "ratio", "count", "method")
MORE = ("undeleted", "noise", "declared")
FOUND = ("r_precision", "popularity_r_precision")
SIDES = {
    "audit": Side(
        "audit",
        owned.by_cell,
        (*("data", "model", "method", "verdict", "values", "pairs", "retrained"), *MORE),
        (),
    ),
    "verdict": Side(
        "evidence",
        owned.by_bank,
        (*GROUP, "claim", "verdict", *ESTIMATES[:3], "n_models"),
        ("ratio", "count", *ESTIMATES, "n_models"),
    ),
    "reconstruction": Side(
        "reconstruct",
        owned.by_cell,
        ("data", "model", "method", "release", "kind", "count", *FOUND),
        ("count", *FOUND),
    ),
}


def read(folder: Path, name: str) -> pd.DataFrame:
    """One of these tables.

    Raises:
      Refused: it is not there, or is none.
    """
    path, side = folder / f"{name}.csv", SIDES[name]
    first = f"first: {PROGRAM} {side.command} {folder.name}"
    if not path.is_file():
        raise Refused(f"{path} is not there; {first}")
    mend = f"move it away; {first}"
    return frames.read(path, side.columns, numbers=side.numbers, mend=mend)


def check(folder: Path, names: Iterable[str], planned: list[Cell]) -> None:
    """Refuses those of these tables that are there and cannot be shown with a config.

    A table that is not there is another matter: its figure does not apply.

    Raises:
      Refused: one is damaged, or holds rows of other settings than the config's, or of other data
        than the cells beside it.
    """
    for name in names:
        if not (folder / f"{name}.csv").is_file():
            continue
        if name == "cells":
            _tables.read(folder, planned)
            continue
        rows, side = read(folder, name), SIDES[name]
        ours = side.owned(planned)
        others = len(rows) - int(_of_config(rows, ours, planned).sum())
        if others:
            raise Refused(
                f"{folder / name}.csv: {others} of {len(rows)} rows are of other settings than "
                "this config's; give the settings they were made with, or move the table away and "
                f"run: {PROGRAM} {side.command} {folder.name}"
            )
        if _of_other_data(folder, rows):
            raise Refused(
                f"{folder / name}.csv: is of other data than the cells beside it; move it away, "
                f"and: {PROGRAM} {side.command} {folder.name}"
            )


def _of_config(rows: pd.DataFrame, ours: Owned, planned: list[Cell]) -> pd.Series:
    """Which rows are of a config as it is.

    A table of an earlier version does not say: of it those are not that name a setting which the
    config does not sweep so.
    """
    if ours.column in rows:
        return rows[ours.column].isin([*ours.cells])
    good = pd.Series(True, rows.index)
    for part in owned.NAMES:
        labels = {str(cell.axes[part]) for cell in planned}
        named_so = {_tables.spelled(named(cell, part)) for cell in planned}
        for name in rows[part].astype(str).unique():
            label, _, settings = name.partition(" ")
            if settings and label in labels and _tables.spelled(name) not in named_so:
                good &= rows[part].astype(str) != name
    return good


def _of_other_data(folder: Path, rows: pd.DataFrame) -> bool:
    """Whether a row has another hash of its data than its cell, where both say one."""
    if not {"cell", "data_hash"} <= {*rows} or not (folder / "cells.csv").is_file():
        return False
    cells = frames.read(folder / "cells.csv", ["cell"])
    if "data_hash" not in cells:
        return False
    now = rows["cell"].map(cells.drop_duplicates("cell").set_index("cell")["data_hash"])
    return bool((now.notna() & rows["data_hash"].notna() & (now != rows["data_hash"])).any())
