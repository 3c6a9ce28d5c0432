"""Raw tables written as files of RecBole."""

from pathlib import Path
from typing import Any

from jaxforget._checks import shorten
from jaxforget.data._fields import LARGEST
from jaxforget.data._frame import as_pandas, finite, number, require
from jaxforget.data._whole import written


def write_recbole(frame: Any, path: str | Path) -> None:
    """Writes a raw table as a RecBole ``.inter`` file, whole or not at all.

    Args:
      frame: pandas, Polars or Arrow, with the columns ``user``, ``item``, ``value`` and perhaps
        ``time``.
      path: the file to write.

    Raises:
      ValueError: a column, an id, a value or a time is missing; ids that are neither all text nor
        all integers; a value or a time that is no finite number, or a value that is no float32;
        or an id that is empty, below 0, or has a tab or a line break in it.
      OSError: it cannot be written, and what was there is as it was.
    """
    frame = as_pandas(frame)
    require(frame)
    content = recbole_text(frame).encode()
    with written(path) as file:
        file.write(content)


def recbole_text(frame: Any) -> str:
    """What ``write_recbole`` writes, of the columns that a pandas frame has."""
    names = {"user": "user_id:token", "item": "item_id:token"}
    names |= {"value": "rating:float", "time": "timestamp:float"}
    for role in [name for name in names if name in frame]:
        if role in ("user", "item"):
            number(frame[role])  # 1.0 would be another id than 1 when it is read again
        else:
            finite(frame[role], role)
    if "value" in frame and (most := frame["value"].astype(float).abs().max()) > LARGEST["value"]:
        raise ValueError(f"a value of size {most:g}, which no float32 holds")
    columns = [frame[role].astype(str) for role in names if role in frame]
    for ids in columns[:2]:
        bad = ids[ids.str.contains("[\t\r\n]", regex=True) | (ids == "")]
        if len(bad):
            got = shorten(bad.iloc[0])
            raise ValueError(f"a {ids.name} id that is empty or has a tab or line break: {got}")
        if frame[ids.name].dtype.kind == "i" and (frame[ids.name] < 0).any():
            raise ValueError(f"a {ids.name} id below 0: {frame[ids.name].min()}")
    rows = [[names[column.name] for column in columns], *zip(*columns, strict=True)]
    return "".join("\t".join(row) + "\n" for row in rows)
