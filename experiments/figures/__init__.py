"""One file per figure: ``draw(tables) -> (matplotlib Figure, the plotted numbers)``."""

import importlib
from collections.abc import Callable


def load(name: str) -> Callable:
    """The ``draw`` of the figure with this file name."""
    return importlib.import_module(f"experiments.figures.{name}").draw
