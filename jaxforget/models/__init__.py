"""DOOR 2: one file per recommender; ``load(name)`` finds it by its file name."""

from collections.abc import Callable

from jaxforget import _plugins


def load(name: str) -> Callable:
    """Finds ``build`` of a recommender: a file here, an entry point, or ``package.module:build``.

    Raises:
      ValueError: no recommender has that name, or several have; the error says what to write.
    """
    return _plugins.load(name, _plugins.DOORS["models"])
