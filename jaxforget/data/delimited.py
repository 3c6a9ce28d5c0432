"""Any file with one interaction per line; its columns, separator and quotes are settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jaxforget.data import Source, _formats, under

SOURCES: dict[str, Source] = {}  # the user's own files


def read(
    root: str | Path | None,
    *,
    path: str,
    columns: list[str] | dict[str, str],
    separator: str = ",",
    text: Sequence[str] = ("user", "item"),
    quote: str | None = '"',
    escape: str | None = None,
    encoding: str = "utf-8",
    incomplete: Literal["refuse", "drop"] = "refuse",
    times: Literal["unix", "iso"] = "unix",
) -> Any:
    """Reads the raw table.

    Args:
      root: the data root.
      path: the file, relative to the root; ``.gz`` and ``archive.zip!member`` work.
      columns: a list names the columns of a file without a header, in file order, as
        ``"user"``, ``"item"``, ``"value"``, ``"time"`` or ``"_"`` (skip); a table from the names
        in the file's header to these reads by name. Without a value every row counts 1.
      separator: one character, or ``"::"``.
      text: the id columns to keep as text; the others are integers.
      quote: the quoting character; None takes quotes as they stand.
      escape: the character that protects a quote inside quotes.
      encoding: of the file.
      incomplete: ``"drop"`` leaves out the lines on which the user, item, value or time is empty.
      times: ``"unix"`` seconds, or ``"iso"`` dates such as ``2011-12-09 12:50:00``, which are read
        as UTC where they name no offset and become unix seconds.

    Returns:
      A frame with the columns ``user``, ``item``, ``value`` and perhaps ``time``.

    Raises:
      ValueError: columns that name no user or item, or a bad line.
      FileNotFoundError: the file is not there.
    """
    return _formats.read_delimited(
        under(root, path),
        columns,
        separator=separator,
        text=text,
        quote=quote,
        escape=escape,
        encoding=encoding,
        incomplete=incomplete,
        times=times,
    )
