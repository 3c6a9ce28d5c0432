"""Adjacency lists as LightGCN and RecEraser publish them: ``user item item ...`` on each line."""

from pathlib import Path
from typing import Any

from jaxforget.data import Source, _formats, under

SOURCES: dict[str, Source] = {}  # the user's own files


def read(root: str | Path | None, *, path: str | list[str]) -> Any:
    """Reads the raw table; ids are integers, every value is 1.

    Args:
      root: the data root.
      path: a file relative to the root, or several, put together in that order (the published
        train and test parts, say, to be split anew).

    Returns:
      A frame with the columns ``user``, ``item``, ``value``.

    Raises:
      ValueError: a bad line.
      FileNotFoundError: a file is not there.
    """
    import pandas as pd

    paths = [path] if isinstance(path, str) else path
    frames = [_formats.read_adjacency(under(root, one)) for one in paths]
    return pd.concat(frames, ignore_index=True)
