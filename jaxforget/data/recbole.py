"""Any RecBole atomic file: ``name.inter``, with tabs and a header of ``name:type`` fields."""

from pathlib import Path
from typing import Any

from jaxforget.data import Source, _formats, under

SOURCES: dict[str, Source] = {}  # the user's own files


def read(
    root: str | Path | None,
    *,
    path: str,
    user: str = "user_id",
    item: str = "item_id",
    value: str | None = "rating",
    time: str | None = "timestamp",
) -> Any:
    """Reads the raw table; ids are text.

    Args:
      root: the data root.
      path: the ``.inter`` file, relative to the root; ``.gz`` and ``archive.zip!member`` work.
      user: the field with the user id.
      item: the field with the item id.
      value: the field with the rating; where the file has none, or None, every row counts 1.
      time: the field with the unix seconds; may be absent, or None.

    Returns:
      A frame with the columns ``user``, ``item``, ``value`` and perhaps ``time``.

    Raises:
      ValueError: a header without the named fields, or a bad line.
      FileNotFoundError: the file is not there.
    """
    return _formats.read_recbole(under(root, path), user=user, item=item, value=value, time=time)
