"""One file per figure: ``draw(tables) -> (matplotlib Figure, the plotted numbers)``.

Other packages add theirs by an entry point ``jaxforget.figures``; a config may also name one as
``"package.module:draw"``. Such a function raises ``ValueError`` where the tables lack its numbers.
"""

import re
from collections.abc import Callable

from .. import plugins
from ..errors import Refused
from . import _tables


def load(name: str) -> Callable:
    """The ``draw`` of a figure; what is wrong with its tables is a ``Refused`` of one line."""
    draw = plugins.load(name, plugins.FIGURES)

    def checked(tables):
        if _tables.finished(tables).empty:
            raise Refused(f"figure {name}: no cell has numbers; all failed, diverged or skipped")
        try:
            return draw(tables)
        except ValueError as error:
            if draw.__module__.startswith(f"{__name__}."):  # ours raise Refused: this is a defect
                raise
            raise Refused(f"figure {name}: {error}") from error

    return checked


def stem(name: str) -> str:
    """The name of a figure's files."""
    return re.sub(r"\W+", "_", name)
