"""The tables that other commands than ``collect`` write into a folder of results."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from .. import frames
from ..errors import PROGRAM, Refused
from . import _tables


class Side(NamedTuple):
    """What a figure or a page needs of such a table."""

    command: str  # that writes it
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
        (*("data", "model", "method", "verdict", "values", "pairs", "retrained"), *MORE),
        (),
    ),
    "verdict": Side(
        "evidence",
        (*GROUP, "claim", "verdict", *ESTIMATES[:3], "n_models"),
        ("ratio", "count", *ESTIMATES, "n_models"),
    ),
    "reconstruction": Side(
        "reconstruct",
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


def check(folder: Path, names: Iterable[str]) -> None:
    """Refuses those of these tables that are there and are damaged, before a figure is drawn.

    A table that is not there is another matter: its figure does not apply.
    """
    for name in names:
        if (folder / f"{name}.csv").is_file():
            _tables.read(folder) if name == "cells" else read(folder, name)
