"""One file as a raw table by pandas, every field checked against what stands in the file."""

import csv
import io
import warnings
from decimal import Decimal
from typing import Any

from jaxforget.data import _doubt
from jaxforget.data._fields import LARGEST
from jaxforget.data._lines import (
    DAMAGE,
    Layout,
    first_fault,
    first_record,
    incomplete,
    opened,
    problem,
    records,
    unix,
)

ROLES = ("user", "item", "value", "time")


def read(layout: Layout, columns: list[str], *, header: bool) -> Any:
    """The raw table of a file whose columns are named; ValueError with the first faulty line."""
    roles = [column for column in columns if column != "_"]
    if not ({"user", "item"} <= set(roles) <= set(ROLES) and len(set(roles)) == len(roles)):
        raise ValueError(
            f"{layout.address}: columns must name 'user' and 'item', may name 'value' and 'time', "
            f"each once, and '_' for the others; got {columns}"
        )
    frame, reason = None, "an id or a number is missing"
    try:
        _doubt.check(layout, columns, header=header)
        frame = _parse(layout, columns, header)
        if not _plain(frame, layout) and not first_fault(layout, columns, header=header):
            # every field is sound, but some number is too large for the type that pandas chose
            frame = _parse(layout, columns, header, wide=True)
    except (ValueError, OverflowError, LookupError, *DAMAGE) as fault:
        reason = str(fault).strip()
    sound = frame is not None and len(frame) > 0 and _plain(frame, layout)
    sound = sound and _all_valid(frame, layout)
    if not sound or _huge(frame):
        fault = first_fault(layout, columns, header=header)
        if fault or not sound:
            raise ValueError(fault or f"{layout.address}: {reason}")
    assert frame is not None
    if "time" in frame and frame["time"].dtype.kind == "f":
        frame["time"] = _times(frame["time"].to_numpy(), layout, columns, header)
    return finished(frame)


def _parse(layout: Layout, columns: list[str], header: bool, *, wide: bool = False) -> Any:
    """Reads the file by pandas, which does not say where in the file a fault is.

    The types of numbers are those that pandas finds: told to read integers, it takes ``5.0``,
    ``1e3`` and ``TRUE`` for some, and rounds the others of the column to 53 bits. ``wide`` names
    the type of values and times, for fields that are known to be numbers.
    """
    line, first = first_record(layout)
    if len(first) != len(columns):  # pandas would cut the lines to fit
        raise ValueError("wrong number of columns")
    names = [role if role != "_" else f"_{k}" for k, role in enumerate(columns)]
    numbers = {role for role in ROLES if role not in layout.text}
    types: dict[str, Any] = {name: str for name in names if name not in numbers}
    types |= {name: "float64" for name in ("value", "time") if wide and name in names}
    names, types = [*names, "_more"], types | {"_more": str}  # what a line has beyond the columns
    # pandas skips a header by counting lines, blank ones and those inside quotes too
    marks = (layout.quote or '"', "\r", "\n")
    odd = header and (line > 1 or any(mark in name for name in first for mark in marks))
    if layout.drops or layout.iso or odd:
        plain, content = Layout(layout.address), io.BytesIO(_rewritten(layout, columns, header))
        return _table(content, plain, types, names, False)
    with opened(layout.address) as stream:
        if layout.separator == "::":  # the C parser takes one character only
            stream = io.BytesIO(stream.read().replace(b"::", b"\t"))
        return _table(stream, layout, types, names, header)


def _table(stream: Any, layout: Layout, types: Any, names: list[str], header: bool) -> Any:
    """The columns of a file as they stand, each of its type."""
    import pandas as pd

    with warnings.catch_warnings():  # a column of several types, which is refused
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)
        return pd.read_csv(
            stream,
            header=None,
            skiprows=int(header),
            names=names,
            dtype=types,
            index_col=False,
            keep_default_na=False,  # a user may be called "NA"
            na_values=[],
            encoding=layout.encoding,
            **layout.dialect,
        )


def _rewritten(layout: Layout, columns: list[str], header: bool) -> bytes:
    """The complete lines as CSV, dates as unix seconds: then they are read as any other file."""
    text = io.StringIO()
    out = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    time = columns.index("time") if layout.iso and "time" in columns else None
    for number, (line, fields) in enumerate(records(layout)):
        if header and number == 0:
            continue
        if fault := problem(fields, columns, layout):
            raise ValueError(f"{layout.address}, line {line}: {fault}")
        if layout.drops and incomplete(fields, columns):
            continue
        if time is not None:
            fields[time] = unix(fields[time])
        out.writerow(fields)
    return text.getvalue().encode()


def _plain(frame: Any, layout: Layout) -> bool:
    """Whether every number stands in the file as one: ids as integers of 64 bits."""
    kinds = {"user": "i", "item": "i", "value": "if", "time": "if"}
    numbers = [role for role in ROLES if role in frame and role not in layout.text]
    return all(frame[role].dtype.kind in kinds[role] for role in numbers)


def _times(times: Any, layout: Layout, columns: list[str], header: bool) -> Any:
    """Times that pandas has read as floating-point numbers, as they stand in the file.

    Raises:
      ValueError: a time has more digits than such a number keeps (nanoseconds do), while others
        are no whole numbers of 64 bits.
    """
    import numpy as np

    if layout.iso or not (np.abs(times) >= 2**53).any():
        return times
    found = []
    for number, (line, fields) in enumerate(records(layout)):
        if not ((header and number == 0) or (layout.drops and incomplete(fields, columns))):
            found.append((line, Decimal(fields[columns.index("time")].strip())))
    if all(time == time.to_integral_value() and -(2**63) <= time < 2**63 for _, time in found):
        return np.array([int(time) for _, time in found], np.int64)
    for line, time in found:
        if abs(time) >= 2**53 and Decimal(repr(float(time))) != time:
            raise ValueError(
                f"{layout.address}, line {line}: the time {time} would lose digits beside times "
                "that are no whole numbers of 64 bits: write all of them so"
            )
    return times


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


def _huge(frame: Any) -> bool:
    """Whether ids are near the end of 64 bits, where versions of pandas differ."""
    return any(frame[x].dtype.kind in "iu" and frame[x].max() >= 10**18 for x in ("user", "item"))


def finished(frame: Any) -> Any:
    """The raw table: its columns in order, with their types."""
    import numpy as np

    if "value" not in frame:
        frame["value"] = np.float32(1.0)
    frame = frame[[role for role in ROLES if role in frame]].astype({"value": np.float32})
    assert frame is not None
    if "time" in frame and frame["time"].dtype.kind == "f":
        times = frame["time"]
        if ((times % 1 == 0) & (times.abs() < 2**53)).all():  # these are exact
            frame = frame.astype({"time": np.int64})
    return frame
