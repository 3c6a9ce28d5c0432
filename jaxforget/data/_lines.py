"""Reads files line by line, plain or packed: their headers, and where the first faulty line is.

``_formats`` reads the data with pandas' C parser, which is fast but does not name the line of a
fault; this module is slow and exact.
"""

import csv
import gzip
import io
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, NamedTuple

from jaxforget._checks import shorten
from jaxforget.data._fields import LARGEST, integer, is_finite

# ratings shrink to a tenth when they are packed, files made to fill a disk to a thousandth
UNPACKED_BYTES, UNPACKED_TIMES = 2**30, 100
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)


class Layout(NamedTuple):
    """How the lines of one file are written."""

    address: str  # a path, or archive.zip!member
    separator: str = ","  # one character, or "::"
    text: Sequence[str] = ()  # which of the two id columns are text; the others are integers
    quote: str | None = '"'
    escape: str | None = None
    encoding: str = "utf-8"
    drops: bool = False  # lines on which a wanted field is empty are left out
    iso: bool = False  # times are dates, not numbers

    @property
    def dialect(self) -> dict[str, Any]:
        """The arguments of ``csv.reader``, for lines in which tabs have replaced ``::``."""
        return {
            "delimiter": "\t" if self.separator == "::" else self.separator,
            "quotechar": self.quote or '"',
            "quoting": csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            "escapechar": self.escape,
        }


@contextmanager
def opened(address: str | Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Opens ``file``, ``file.gz`` or ``archive.zip!member`` as uncompressed bytes."""
    path, bang, member = str(address).partition(".zip!")
    with ExitStack() as stack:
        if bang or path.endswith(".zip"):
            path += ".zip" if bang else ""
            archive = stack.enter_context(zipfile.ZipFile(path))
            name = _member(archive, path, member)
            try:
                stream = stack.enter_context(archive.open(name))
            except (RuntimeError, NotImplementedError) as fault:  # a password, another compression
                raise ValueError(f"{path}: {fault}: unpack it by another program") from None
        else:
            name, stream = path, stack.enter_context(open(path, "rb"))
        if name.endswith(".gz"):
            stream = stack.enter_context(gzip.open(stream))
        if name.endswith(".gz") or path.endswith(".zip"):
            most = max(UNPACKED_BYTES, UNPACKED_TIMES * Path(path).stat().st_size)
            stream = io.BufferedReader(_Limited(stream, path, most), 2**20)
        yield stream


class _Limited(io.RawIOBase):
    """Bytes of a packed file; an error where there are more of them than such a file can hold."""

    def __init__(self, stream: Any, path: str, most: int):
        self.stream, self.path, self.most, self.seen = stream, path, most, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self.stream.read1(len(buffer))  # what is there, also of a file cut short
        self.seen += len(content)
        if self.seen > self.most:
            raise ValueError(
                f"{self.path}: unpacks to more than {self.most:,} bytes, the larger of "
                f"{UNPACKED_BYTES:,} and {UNPACKED_TIMES} times its size; if it is a file of "
                "ratings, unpack it by another program"
            )
        buffer[: len(content)] = content
        return len(content)


def _member(archive: zipfile.ZipFile, path: str, member: str) -> str:
    """The member with that name; the only one where none is named."""
    names = [name for name in archive.namelist() if not name.endswith("/")]
    if member in names:
        return member
    if not member and len(names) == 1:
        return names[0]
    raise ValueError(
        f"{path}: {f'no member {member!r}' if member else f'{len(names)} members'}; write "
        f"{path}!NAME with one of {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}"
    )


def lines(layout: Layout) -> Iterator[tuple[int, str]]:
    """Yields line numbers and decoded lines; an error names the line at which it occurs."""
    line = 0
    try:
        with opened(layout.address) as stream:
            for line, text in enumerate(_pieces(stream, layout.encoding), start=1):
                yield line, text.removeprefix("\ufeff") if line == 1 else text
    except LookupError as fault:
        raise ValueError(
            f"{layout.address}: {fault}: name an encoding that Python knows, such as utf-8"
        ) from None
    except DAMAGE as fault:
        raise ValueError(
            f"{layout.address}, line {max(line, 1)}: the file is damaged or cut short ({fault}): "
            "fetch it again"
        ) from None
    except UnicodeDecodeError as fault:
        raise ValueError(
            f"{layout.address}, line {line + 1}: not {layout.encoding} text ({fault}): "
            "name its encoding"
        ) from None


def _pieces(stream: Any, encoding: str) -> Iterator[str]:
    """The decoded lines, whatever ends them: ``\\n``, ``\\r\\n`` or ``\\r`` alone."""
    if "".encode(encoding) or len("a".encode(encoding)) > 1:  # UTF-16 and such: not line by line
        with io.TextIOWrapper(stream, encoding, newline="") as texts:
            yield from texts
        return
    for raw in stream:
        text = raw.decode(encoding)
        yield from re.split(r"(?<=\r)(?!\n|$)", text) if "\r" in text[:-2] else (text,)


def records(layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yields the number and the fields of every line that is not ``blank``."""
    tabbed = layout.separator == "::"
    texts = (text.replace("::", "\t") if tabbed else text for _, text in lines(layout))
    reader = csv.reader(texts, strict=True, **layout.dialect)
    line = 1
    try:
        for fields in reader:
            if not blank(fields, layout):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as fault:
        raise ValueError(f"{layout.address}, line {line}: {fault}") from None


def blank(fields: list[str], layout: Layout) -> bool:
    """Whether a line is skipped: empty, or white space alone; with ``drops`` also empty fields."""
    if layout.drops:
        return not any(field.strip() for field in fields)
    return not fields or (len(fields) == 1 and fields[0] != "" and not fields[0].strip(" \t"))


def first_record(layout: Layout) -> tuple[int, list[str]]:
    """Returns the number and the fields of the first line that is not blank."""
    for line, fields in records(layout):
        if fields[0].lstrip().startswith(("{", "[{")):
            raise ValueError(
                f"{layout.address}, line {line}: this is JSON: {shorten(fields[0])}: write it as a "
                "table first, such as pandas.read_json(path, lines=True).to_csv(...)"
            )
        return line, fields
    raise ValueError(f"{layout.address}, line 1: the file is empty")


def first_fault(layout: Layout, columns: Sequence[str], *, header: bool) -> str | None:
    """Describes the first faulty line, with its number; None if there is none."""
    line, n_records = 0, 0
    try:
        for line, fields in records(layout):
            n_records += 1
            fault = None if header and n_records == 1 else problem(fields, columns, layout)
            if fault:
                return f"{layout.address}, line {line}: {fault}"
    except ValueError as fault:  # a damaged file; the message names the line
        return str(fault)
    if n_records <= int(header):
        return f"{layout.address}, line {line + 1}: no interactions in this file"
    return None


def problem(fields: list[str], columns: Sequence[str], layout: Layout) -> str | None:
    """What is wrong with the fields of a line."""
    if len(fields) != len(columns):
        wanted = f"{len(columns)} columns ({', '.join(columns)})"
        return f"expected {wanted}, got {len(fields)}: {shorten(','.join(fields))}"
    broken = next((field for field in fields if "\n" in field or "\r" in field), None)
    if broken is not None:
        return f"a quote is not closed on its line: {shorten(broken)}"
    if layout.drops and incomplete(fields, columns):
        return None
    for role, field in zip(columns, fields, strict=True):
        if role in layout.text and not field:
            return f"{role} is empty"
        if role in layout.text and "\0" in field:  # NumPy and pandas would cut the id there
            return f"{role} holds the character NUL; got {shorten(field)}"
        if role in ("user", "item") and role not in layout.text:
            number = integer(field)
            if number is None or not 0 <= number < 2**63:
                return f"{role} must be an integer, 0 or more; got {shorten(field)}"
        elif role == "time" and layout.iso:
            try:
                unix(field)
            except ValueError:
                return f"time must be a date such as 2011-12-09 12:50:00; got {shorten(field)}"
        elif role in ("value", "time") and not is_finite(field, LARGEST.get(role, math.inf)):
            return f"{role} must be a finite number; got {shorten(field)}"
    return None


def incomplete(fields: list[str], columns: Sequence[str]) -> bool:
    """Whether a field that is wanted holds nothing."""
    return any(role != "_" and not x.strip() for role, x in zip(columns, fields, strict=True))


def unix(date: str) -> str:
    """Seconds since 1970 of a date in ISO 8601, which is UTC where it names no offset.

    Raises:
      ValueError: it is no such date.

    Example:
      >>> unix("2010-12-01 08:26:00"), unix("1969-12-31T23:59:59.5Z")
      ('1291191960', '-0.500000')
    """
    moment = datetime.fromisoformat(date.strip())
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    micro = (moment - EPOCH) // timedelta(microseconds=1)
    whole, rest = divmod(abs(micro), 10**6)
    return f"{'-' * (micro < 0)}{whole}" + (f".{rest:06d}" if rest else "")
