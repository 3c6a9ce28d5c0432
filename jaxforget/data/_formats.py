"""Rating files as raw tables: plain, ``.gz`` or a member of a ``.zip``, read in place.

A raw table is a pandas frame with the columns ``user``, ``item``, ``value`` (float32) and, where
the file has it, ``time`` (int64 where all are whole numbers, else float64); its rows are in file
order. Every row of the file is in it exactly, or the file is refused with the line.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxforget._checks import shorten
from jaxforget.data._frame import require
from jaxforget.data._lines import DAMAGE, LARGEST, Layout, first_fault, first_record, lines, opened

ROLES = ("user", "item", "value", "time")


def read_delimited(
    address: str | Path,
    columns: Sequence[str] | Mapping[str, str],
    *,
    separator: str = ",",
    text: Sequence[str] = ("user", "item"),
    quote: str | None = '"',
    escape: str | None = None,
    encoding: str = "utf-8",
) -> Any:
    """Reads one interaction per line; the columns are always given, never guessed.

    Args:
      address: a path, ``path.gz``, ``archive.zip!member``, or a zip with a single member.
      columns: a list names the columns of a file without a header, in file order, as
        ``"user"``, ``"item"``, ``"value"``, ``"time"`` or ``"_"`` (skip); a mapping from the names
        in the file's header to these roles reads by name. Without a value every row counts 1.
      separator: one character, or ``"::"``.
      text: the id columns to keep as text (``"0111161"`` keeps its zero); others are integers.
      quote: the quoting character; None takes quotes as they stand.
      escape: the character that protects a quote inside quotes.
      encoding: of the file.

    Returns:
      The raw table.

    Raises:
      ValueError: a damaged file or a bad line, with the file and the line.
      FileNotFoundError: no such file.
    """
    layout = Layout(str(address), separator, tuple(text), quote, escape, encoding)
    if not isinstance(columns, Mapping):
        return _read(layout, list(columns), header=False)
    return _read_by_name(layout, first_record(layout), columns)


def read_double_colon(address: str | Path, *, text: Sequence[str] = ()) -> Any:
    """Reads ``user::item::rating`` or ``user::item::rating::time``; the first line decides."""
    layout = Layout(str(address), "::", tuple(text), quote=None)
    n_columns = len(first_record(layout))
    return _read(layout, list(ROLES[:3] if n_columns == 3 else ROLES), header=False)


def read_recbole(
    address: str | Path,
    *,
    user: str = "user_id",
    item: str = "item_id",
    value: str | None = "rating",
    time: str | None = "timestamp",
) -> Any:
    """Reads a RecBole ``.inter`` file by the names in its header, in whatever order they stand.

    Args:
      address: as in ``read_delimited``.
      user: the field with the user id.
      item: the field with the item id.
      value: the field with the rating; where the file has none, or None, every row counts 1.
      time: the field with the unix seconds; may be absent, or None.

    Returns:
      The raw table; ids stay text, as RecBole's tokens are.

    Raises:
      ValueError: as ``read_delimited``.
    """
    layout = Layout(str(address), "\t", ("user", "item"), quote=None)
    header = first_record(layout)
    names = [name.partition(":")[0] for name in header]
    listed = [
        name for name in header if name.endswith("_seq") and name.partition(":")[0] in (user, item)
    ]
    if listed:
        raise ValueError(
            f"{layout.address}, line 1: {listed[0]} holds several ids in one field: write one row "
            "for each"
        )
    roles = {user: "user", item: "item"}
    roles |= {name: role for name, role in ((value, "value"), (time, "time")) if name in names}
    return _read_by_name(layout, names, roles)


def read_adjacency(address: str | Path) -> Any:
    """Reads ``user item item ...`` lines of integers, as LightGCN and RecEraser publish them.

    A user without items (a line with the user alone, or a blank line) adds no row.
    """
    import numpy as np
    import pandas as pd

    users, items, lengths = [], [], []
    for line, content in lines(Layout(str(address))):
        try:
            ids = [int(field) for field in content.split()]
        except ValueError as fault:
            bad = shorten(str(fault).partition(": ")[2])
            raise ValueError(f"{address}, line {line}: ids must be integers; got {bad}") from None
        if ids and not 0 <= min(ids) <= max(ids) < 2**63:
            bad = next(x for x in ids if not 0 <= x < 2**63)
            raise ValueError(f"{address}, line {line}: ids must lie in [0, 2**63); got {bad}")
        users.extend(ids[:1])
        items.extend(ids[1:])
        lengths.extend([len(ids) - 1] if ids else [])
    if not items:
        raise ValueError(f"{address}, line 1: no interactions in this file")
    users = np.repeat(np.asarray(users, np.int64), lengths)
    return _finished(pd.DataFrame({"user": users, "item": np.asarray(items, np.int64)}))


def write_recbole(frame: Any, path: str | Path) -> None:
    """Writes a raw table as a RecBole ``.inter`` file.

    Args:
      frame: pandas, with the columns ``user``, ``item``, ``value`` and perhaps ``time``.
      path: the file to write.

    Raises:
      ValueError: a missing column, or an id with a tab or a line break in it.
    """
    require(frame)
    names = {"user": "user_id:token", "item": "item_id:token"}
    names |= {"value": "rating:float", "time": "timestamp:float"}
    columns = [frame[role].astype(str) for role in names if role in frame]
    for ids in columns[:2]:
        bad = ids[ids.str.contains("[\t\r\n]", regex=True)]
        if len(bad):
            raise ValueError(f"a {ids.name} id with a tab or line break in it: {bad.iloc[0]!r}")
    rows = [[names[column.name] for column in columns], *zip(*columns, strict=True)]
    content = "".join("\t".join(row) + "\n" for row in rows)
    Path(path).write_text(content, encoding="utf-8", newline="\n")


def _read_by_name(layout: Layout, names: list[str], wanted: Mapping[str, str]) -> Any:
    wrong = [name for name in wanted if names.count(name) != 1]
    if wrong:
        raise ValueError(
            f"{layout.address}, line 1: the header must have {', '.join(wrong)} exactly once; "
            f"got {', '.join(names)}"
        )
    return _read(layout, [wanted.get(name, "_") for name in names], header=True)


def _read(layout: Layout, columns: list[str], *, header: bool) -> Any:
    roles = [column for column in columns if column != "_"]
    if not ({"user", "item"} <= set(roles) <= set(ROLES) and len(set(roles)) == len(roles)):
        raise ValueError(
            f"{layout.address}: columns must name 'user' and 'item', may name 'value' and 'time', "
            f"each once, and '_' for the others; got {columns}"
        )
    frame, problem = None, "an id or a number is missing"
    try:
        try:
            frame = _parse(layout, columns, header, time="int64")
        except ValueError:  # float64 would confuse times in nanoseconds, so it comes second
            frame = _parse(layout, columns, header, time="float64")
    except (ValueError, OverflowError, LookupError, *DAMAGE) as fault:
        problem = str(fault).strip()
    if frame is None or not (len(frame) and _all_valid(frame, layout)):
        fault = first_fault(layout, columns, header=header)
        raise ValueError(fault or f"{layout.address}: {problem}")
    return _finished(frame)


def _parse(layout: Layout, columns: list[str], header: bool, *, time: str) -> Any:
    """Reads the file by pandas, which does not say where in the file a fault is."""
    import pandas as pd

    if len(first_record(layout)) != len(columns):  # pandas would cut the lines to fit
        raise ValueError("wrong number of columns")
    names = [role if role != "_" else f"_{k}" for k, role in enumerate(columns)]
    types = dict.fromkeys(names, str) | {"value": "float64", "time": time}
    types |= {role: "int64" for role in ("user", "item") if role not in layout.text}
    names, types = [*names, "_more"], types | {"_more": str}  # what a line has beyond the columns
    with opened(layout.address) as stream:
        if layout.separator == "::":  # the C parser takes one character only
            stream = io.BytesIO(stream.read().replace(b"::", b"\t"))
        return pd.read_csv(
            stream,
            header=None,
            skiprows=int(header),
            names=names,
            dtype={name: types[name] for name in names},
            index_col=False,
            keep_default_na=False,  # a user may be called "NA"
            na_values=[],
            encoding=layout.encoding,
            **layout.dialect,
        )


def _all_valid(frame: Any, layout: Layout) -> bool:
    """Whether every field was read as it stands in the file, and is what its column holds."""
    import numpy as np

    checks = {role: (lambda column: column >= 0) for role in ("user", "item")}
    checks |= {role: (lambda column: (column != "") & column.notna()) for role in layout.text}
    checks |= {role: np.isfinite for role in ("value", "time")}
    checks["value"] = lambda column: column.abs() <= LARGEST["value"]
    words = [frame[name] for name in frame if frame[name].dtype.kind not in "iuf"]
    # a quote that is not closed on its line swallows the lines up to the next quote
    swallowed = layout.quote and any(x.str.contains("[\r\n]", na=False).any() for x in words)
    whole = frame["_more"].isin(["", np.nan]).all() and not swallowed
    return whole and all(checks[role](frame[role]).all() for role in ROLES if role in frame)


def _finished(frame: Any) -> Any:
    """The raw table: its columns in order, with their types."""
    import numpy as np

    if "value" not in frame:
        frame["value"] = np.float32(1.0)
    frame = frame[[role for role in ROLES if role in frame]].astype({"value": np.float32})
    if "time" in frame and frame["time"].dtype.kind == "f":
        times = frame["time"]
        if ((times % 1 == 0) & (times.abs() < 2**53)).all():  # these are exact
            frame = frame.astype({"time": np.int64})
    return frame
