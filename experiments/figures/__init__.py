"""One file per figure: ``draw(tables) -> (matplotlib Figure, the plotted numbers)``.

A figure of the tables of another command than ``collect`` is given their folder: its file says
``OF_FOLDER = True``, and ``TABLES`` which of the tables that are known here it reads.

Other packages add theirs by an entry point ``jaxforget.figures``; a config may also name one as
``"package.module:draw"``. Such a function raises ``ValueError`` where the tables lack its numbers.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from .. import plugins
from ..errors import Refused
from . import _tables


def load(name: str) -> Callable:
    """The ``draw`` of a figure; what is wrong with its tables is a ``Refused`` of one line."""
    draw = plugins.load(name, plugins.FIGURES)

    def checked(tables):
        if not of_folder(name) and _tables.finished(tables).empty:
            raise Refused(f"figure {name}: no cell has numbers; all failed, diverged or skipped")
        try:
            return draw(tables)
        except ValueError as error:
            if draw.__module__.startswith(f"{__name__}."):  # ours raise Refused: this is a defect
                raise
            raise Refused(f"figure {name}: {error}") from error

    return checked


def of_folder(name: str) -> bool:
    """Whether a figure reads tables of its own in the results folder."""
    return getattr(_module(name), "OF_FOLDER", False)


def sides(name: str) -> tuple[str, ...]:
    """The tables of the results folder that a figure reads by itself."""
    return getattr(_module(name), "TABLES", ())


def _module(name: str) -> ModuleType:
    return sys.modules[plugins.load(name, plugins.FIGURES).__module__]


def note(stem: Path) -> Path:
    """Where it is written why a figure was not drawn."""
    return stem.with_suffix(".note")


def stem(name: str) -> str:
    """The name of a figure's files."""
    return re.sub(r"\W+", "_", name)
