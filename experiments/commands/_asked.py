"""The lines of a list of requests, read as `erase` reads them, and what a journal knows of them."""

import csv
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..errors import Refused

SIDES = ("user", "item")


class Line(NamedTuple):
    """One line of a list."""

    ids: list[str | int]  # one per column
    number: int  # of its record, the header and blank lines not counted
    digest: str  # of the header and all records up to this one


class Asked:
    """A list of requests, in a file or on standard input."""

    def __init__(self, address: str, text: Sequence[str]):
        """Opens nothing yet; ``text`` says which ids are text, the others are integers."""
        self.address, self.text = address, text
        self.columns: list[str] = []  # known from the first line on
        self.open_end: int | None = None  # the line that was left, as it has no end

    def lines(self) -> Iterator[Line]:
        """The records in order, as they come.

        A last line without its end may be half written, and name somebody else than it will: it
        is left, and ``open_end`` says so.

        Raises:
          Refused: a line that is none of a list of requests.
        """
        from jaxforget.data._lines import Layout, blank, problem

        layout, digest, number = Layout("requests", text=self.text), "", 0
        for line, fields in self._records():
            if blank(fields, layout):
                continue
            if not self.columns:
                if set(fields) - set(SIDES) or len(set(fields)) < len(fields):
                    told = f"must be user, item, or user,item; got {fields}"
                    raise Refused(f"requests, line {line}: {told}")
                self.columns, ids = fields, fields
            else:
                if fault := problem(fields, self.columns, layout):
                    raise Refused(f"requests, line {line}: {fault}")
                number += 1
                whole = (side not in self.text for side in self.columns)
                ids = [int(field) if as_int else field for field, as_int in zip(fields, whole)]
            digest = hashlib.sha256(f"{digest}{json.dumps(ids)}".encode()).hexdigest()
            if number:
                yield Line(ids, number, digest)
        if not self.columns and not self.open_end:
            raise Refused("requests, line 1: must be user, item, or user,item; got nothing")

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """The fields of all lines, with the numbers of the lines."""
        reader = csv.reader(self._ended(), strict=True)
        try:
            for fields in reader:
                yield reader.line_num, fields
        except csv.Error as fault:
            raise Refused(f"requests, line {reader.line_num}: {fault}") from fault
        except ValueError as fault:  # no text, or a damaged archive
            raise Refused(f"requests: {fault}") from fault

    def _ended(self) -> Iterator[str]:
        from jaxforget.data import _lines

        source = enumerate(sys.stdin, 1)
        if self.address != "-":
            source = _lines.lines(_lines.Layout(self.address))
        for line, text in source:
            if not text.endswith(("\n", "\r")):
                self.open_end = line
                return
            yield text.removeprefix("\ufeff") if line == 1 else text


def met(lines: list[Line], journal: list[dict]) -> int:
    """How many lines at the beginning of a list are in a journal already."""
    known = {(entry.get("read"), entry.get("digest")) for entry in journal}
    return max((line.number for line in lines if (line.number, line.digest) in known), default=0)


def batches(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    """Lists of ``size`` lines, the last one shorter; where a line is refused, those before it."""
    chunk = []
    try:
        for line in lines:
            chunk.append(line)
            if len(chunk) == size:
                yield chunk
                chunk = []
    except Refused:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk
