"""Rating files as raw tables: plain, ``.gz`` or a member of a ``.zip``, read in place.

A raw table is a pandas frame with the columns ``user``, ``item``, ``value`` (float32) and, where
the file has it, ``time`` (int64 where all are whole numbers, else float64); its rows are in file
order. Every row of the file is in it exactly, or the file is refused with the line.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jaxforget import _checks
from jaxforget._checks import shorten
from jaxforget.data._fields import integer
from jaxforget.data._lines import Layout, first_record, lines
from jaxforget.data._table import ROLES, finished, read


def read_delimited(
    address: str | Path,
    columns: Sequence[str] | Mapping[str, str],
    *,
    separator: str = ",",
    text: Sequence[str] = ("user", "item"),
    quote: str | None = '"',
    escape: str | None = None,
    encoding: str = "utf-8",
    incomplete: Literal["refuse", "drop"] = "refuse",
    times: Literal["unix", "iso"] = "unix",
) -> Any:
    """Reads one interaction per line; the columns are always given, never guessed.

    Args:
      address: a path, ``path.gz``, ``archive.zip!member``, or a zip with a single member.
      columns: a list names the columns of a file without a header, in file order, as
        ``"user"``, ``"item"``, ``"value"``, ``"time"`` or ``"_"`` (skip); a mapping from the names
        in the file's header to these roles reads by name. Without a value every row counts 1.
      separator: one character, no line break, or ``"::"``.
      text: the id columns to keep as text (``"0111161"`` keeps its zero); others are integers.
      quote: the quoting character; None takes quotes as they stand.
      escape: the character that protects a quote inside quotes.
      encoding: of the file.
      incomplete: ``"drop"`` leaves out the lines on which the user, item, value or time is empty.
      times: ``"unix"`` seconds, or ``"iso"`` dates such as ``2011-12-09 12:50:00``, which are read
        as UTC where they name no offset and become unix seconds.

    Returns:
      The raw table.

    Raises:
      ValueError: a damaged file or a bad line, with the file and the line, or another choice.
      FileNotFoundError: no such file.
    """
    _checks.choice("read_delimited", ("refuse", "drop"), incomplete=incomplete)
    _checks.choice("read_delimited", ("unix", "iso"), times=times)
    _checks.character("read_delimited", "::", separator=separator)
    _checks.character("read_delimited", None, quote=quote, escape=escape)
    if separator in (quote, escape):
        raise ValueError(f"read_delimited: separator {separator!r} is the quote or the escape too")
    fields = (str(address), separator, tuple(text), quote, escape, encoding)
    layout = Layout(*fields, drops=incomplete == "drop", iso=times == "iso")
    if not isinstance(columns, Mapping):
        return read(layout, list(columns), header=False)
    return _read_by_name(layout, *first_record(layout), columns)


def read_double_colon(address: str | Path, *, text: Sequence[str] = ()) -> Any:
    """Reads ``user::item::rating`` or ``user::item::rating::time``; the first line decides."""
    layout = Layout(str(address), "::", tuple(text), quote=None)
    n_columns = len(first_record(layout)[1])
    return read(layout, list(ROLES[:3] if n_columns == 3 else ROLES), header=False)


def read_recbole(
    address: str | Path,
    *,
    user: str = "user_id",
    item: str = "item_id",
    value: str | None = "rating",
    time: str | None = "timestamp",
    text: Sequence[str] = ("user", "item"),
) -> Any:
    """Reads a RecBole ``.inter`` file by the names in its header, in whatever order they stand.

    Args:
      address: as in ``read_delimited``.
      user: the field with the user id.
      item: the field with the item id.
      value: the field with the rating; where the file has none, or None, every row counts 1.
      time: the field with the unix seconds; may be absent, or None.
      text: the id columns to keep as text, as RecBole's tokens are; others are integers.

    Returns:
      The raw table.

    Raises:
      ValueError: as ``read_delimited``.
    """
    layout = Layout(str(address), "\t", tuple(text), quote=None)
    line, names = recbole_header(layout, (user, item))
    roles = {user: "user", item: "item"}
    roles |= {name: role for name, role in ((value, "value"), (time, "time")) if name in names}
    return _read_by_name(layout, line, names, roles)


def recbole_header(layout: Layout, ids: Sequence[str]) -> tuple[int, list[str]]:
    """The line of a RecBole header and its names without types; ``ids`` must hold one id."""
    line, header = first_record(layout)
    if len(header) == 1 and " " in header[0] and all(":" in x for x in header[0].split(" ")):
        raise ValueError(
            f"{layout.address}, line {line}: spaces between the fields, where RecBole has tabs: "
            "write tabs instead"
        )
    names = [name.partition(":")[0] for name in header]
    listed = [full for full, name in zip(header, names) if full.endswith("_seq") and name in ids]
    if listed:
        raise ValueError(
            f"{layout.address}, line {line}: {listed[0]} holds several ids in one field: write one "
            "row for each"
        )
    return line, names


def read_adjacency(address: str | Path) -> Any:
    """Reads ``user item item ...`` lines of integers, as LightGCN and RecEraser publish them.

    A user without items (a line with the user alone, or a blank line) adds no row.
    """
    users, items, lengths = [], [], []
    for line, content in lines(Layout(str(address))):
        fields = content.split()
        ids = [x for x in map(integer, fields) if x is not None]
        if len(ids) < len(fields):
            bad = shorten(next(field for field in fields if integer(field) is None))
            raise ValueError(f"{address}, line {line}: ids must be integers; got {bad}")
        if ids and not 0 <= min(ids) <= max(ids) < 2**63:
            bad = next(x for x in ids if not 0 <= x < 2**63)
            raise ValueError(f"{address}, line {line}: ids must lie in [0, 2**63); got {bad}")
        users.extend(ids[:1])
        items.extend(ids[1:])
        lengths.extend([len(ids) - 1] if ids else [])
    if not items:
        raise ValueError(f"{address}, line 1: no interactions in this file")
    return _of_lists(users, lengths, items)


def read_lists(address: str | Path) -> Any:
    """Reads one JSON list with a list of items for each user, numbered by position, as LCFN's.

    A user without items adds no row.
    """
    try:
        found = json.loads("".join(content for _, content in lines(Layout(str(address)))))
    except (json.JSONDecodeError, RecursionError) as fault:
        raise ValueError(f"{address}: not JSON: {fault}") from None
    if not isinstance(found, list) or not all(isinstance(own, list) for own in found):
        raise ValueError(f"{address}: must be a list that holds a list of items for each user")
    items = [item for own in found for item in own]
    bad = [x for x in items if type(x) is not int or not 0 <= x < 2**63]
    if bad or not items:
        got = shorten(bad[0]) if bad else "none"
        raise ValueError(f"{address}: items must be integers in [0, 2**63); got {got}")
    return _of_lists(range(len(found)), [len(own) for own in found], items)


def _of_lists(users: Sequence[int], lengths: list[int], items: list[int]) -> Any:
    """The raw table of lists of items one after the other, so many for each user."""
    import numpy as np
    import pandas as pd

    repeated = np.repeat(np.asarray(users, np.int64), lengths)
    return finished(pd.DataFrame({"user": repeated, "item": np.asarray(items, np.int64)}))


def read_candidates(address: str | Path) -> tuple[Any, Any]:
    """Reads the file of sampled negatives of neural collaborative filtering (He et al., WWW 2017).

    Each line is a held-out pair and the items among which it is to be found, ``(user,item)`` and
    then item, item, ... after tabs: what ``metrics.candidates.over_candidates`` takes. The file of
    MovieLens-1M names the held-out item once more in 156 of its 6,040 lines.

    Args:
      address: a path, ``path.gz``, or ``archive.zip!member``.

    Returns:
      ``[R]`` int32 users and ``[R, C]`` int32 items, the held-out one first.

    Raises:
      ValueError: a bad line, lines of different lengths, or no line at all.
      FileNotFoundError: no such file.
    """
    import numpy as np

    users, items, wanted = [], [], 0
    for line, content in lines(Layout(str(address))):
        found = re.fullmatch(r"\(([0-9]+),([0-9]+)\)((?:\t[0-9]+)+)", content.rstrip("\r\n\t "))
        where = f"{address}, line {line}"
        if not found:
            raise ValueError(f"{where}: not (user,item) and items after tabs: {shorten(content)}")
        row = [int(x) for x in (found[2], *found[3].split())]
        wanted = wanted or len(row)
        if len(row) != wanted:
            raise ValueError(f"{where}: {len(row)} items, not {wanted} as on the first line")
        if max(*row, int(found[1])) >= 2**31:
            raise ValueError(f"{where}: an id of 2**31 or more")
        users.append(int(found[1]))
        items.append(row)
    if not users:
        raise ValueError(f"{address}: no line")
    return np.asarray(users, np.int32), np.asarray(items, np.int32)


def _read_by_name(layout: Layout, line: int, names: list[str], wanted: Mapping[str, str]) -> Any:
    wrong = [name for name in wanted if names.count(name) != 1]
    if wrong:
        raise ValueError(
            f"{layout.address}, line {line}: the header must have {', '.join(wrong)} exactly once; "
            f"got {', '.join(names)}"
        )
    return read(layout, [wanted.get(name, "_") for name in names], header=True)
