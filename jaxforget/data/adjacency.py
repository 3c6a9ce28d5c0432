"""Adjacency lists: ``user item item ...`` on each line, as LightGCN and RecEraser publish them.

Or one list of lists in JSON, as LCFN publishes them: the position of a list is its user.
"""

from pathlib import Path
from typing import Any

from jaxforget.data import Source, _formats, under

SOURCES: dict[str, Source] = {}  # the user's own files


def read(root: str | Path | None, *, path: str | list[str]) -> Any:
    """Reads the raw table; ids are integers, every value is 1.

    Args:
      root: the data root.
      path: a file relative to the root, or several, put together in that order (the published
        train and test parts, say, to be split anew). ``.json`` and ``.json.gz`` are lists of lists.

    Returns:
      A frame with the columns ``user``, ``item``, ``value``.

    Raises:
      ValueError: a bad line, or JSON that is no list of lists of ids.
      FileNotFoundError: a file is not there.
    """
    import pandas as pd

    paths = [path] if isinstance(path, str) else path
    frames = [_read(under(root, one)) for one in paths]
    return pd.concat(frames, ignore_index=True)


def _read(address: str) -> Any:
    lists = address.removesuffix(".gz").endswith(".json")
    return _formats.read_lists(address) if lists else _formats.read_adjacency(address)
