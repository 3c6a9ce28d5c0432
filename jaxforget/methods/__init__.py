"""DOOR 3: one file per unlearning method; ``load(name)`` finds it by its file name."""

from collections.abc import Callable

from jaxforget import _plugins


def load(name: str) -> Callable:
    """Finds ``build`` of a method: a file here, an entry point, or ``package.module:build``.

    Raises:
      ValueError: no method has that name, or several have; the error says what to write.
    """
    return _plugins.load(name, _plugins.DOORS["methods"])
