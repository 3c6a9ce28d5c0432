"""Which files pandas may read otherwise than they stand there: a quick look at their bytes."""

import codecs
from collections.abc import Sequence

import numpy as np

from jaxforget.data._lines import Layout, opened, problem, records

PLAIN = ("utf-8", "utf-8-sig", "ascii", "iso8859-1", "cp1252")  # a byte below 128 is ASCII


def check(layout: Layout, columns: Sequence[str], *, header: bool) -> None:
    """Refuses what pandas would read otherwise than it stands there.

    It glues on what follows a closing quote (``"5"3`` becomes 53), and ends a field at a NUL.

    Raises:
      ValueError: there is such a line; the first one is named.
    """
    if not _doubtful(layout):
        return
    for number, (line, fields) in enumerate(records(layout)):  # strict about quotes
        if "\0" in "".join(fields) and not (header and number == 0):
            if fault := problem(fields, columns, layout):
                raise ValueError(f"{layout.address}, line {line}: {fault}")


def _doubtful(layout: Layout) -> bool:
    """Whether a look at a file leaves it open: unless each quote, in turn, begins and ends a field.

    A file of the faithful kind is not read line by line, which takes several times as long.
    """
    if codecs.lookup(layout.encoding).name not in PLAIN:
        return True
    ends = b"\r\n" + (layout.separator.encode() if len(layout.separator) == 1 else b"")
    with opened(layout.address) as stream:
        rest = stream.read(3).removeprefix(codecs.BOM_UTF8)
        while more := stream.read(2**22):
            rest += more
            cut = max(rest.rfind(b"\n"), rest.rfind(b"\r")) + 1
            if _unclear(rest[:cut], layout, ends):
                return True
            rest = rest[cut:]
    return _unclear(rest, layout, ends)


def _unclear(content: bytes, layout: Layout, ends: bytes) -> bool:
    """Whether whole lines hold a NUL, an escape, or a quote that is not at the end of a field."""
    if b"\0" in content or (layout.escape and layout.escape.encode() in content):
        return True
    quote = (layout.quote or "").encode()
    if not quote or quote not in content:
        return False
    found = np.frombuffer(b"\n" + content + b"\n", np.uint8)
    quotes = np.flatnonzero(found == ord(quote))
    outside = found[quotes + np.resize([-1, 1], len(quotes))]
    return bool(len(quotes) % 2 or not np.isin(outside, list(ends)).all())
