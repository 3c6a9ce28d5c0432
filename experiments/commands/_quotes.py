"""The numbers a page quotes: where they stand, and which quote of quoted.toml covers them."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import Refused

NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d*\.\d+|\d+)(?:e-?\d+)?"
ALONE = re.compile(rf"(?<![\w.@#])(?<![A-Za-z]-){NUMBER}(?!\w|\.\d)")
KEYS = {"file", "section", "text", "folder", "where", "numbers", "rows"}
NOT_PROSE = (
    r"(?ms)^```.*?^```",  # code
    r"`[^`\n]*`",
    r"\]\([^)\n]*\)",  # links
    r"arXiv [\d.]+",
    r"(?m)^#+ .*$",  # headings name settings
    r"(?m)^\d+\. ",  # the number of a list's line
)


class Quote(NamedTuple):
    """Some words of a page with ``#`` for every number, and the queries that make these."""

    place: str  # where in quoted.toml, for messages
    file: str
    section: str
    text: str
    where: str
    numbers: list[str]


class Spot(NamedTuple):
    """One number of a page."""

    line: int
    start: int
    text: str


def _entry(entry: dict[str, Any], place: str) -> Iterator[Quote]:
    """The quotes of one table of the file: one, or one per row."""
    rows = entry.get("rows", [{"text": entry.get("text")}])
    for key in [*entry, *(key for row in rows for key in row)]:
        if key not in KEYS:
            raise Refused(f"{place}: unknown key {key!r}")
    for row in rows:
        one = entry | row
        given = [part["where"] for part in (entry, row) if "where" in part]
        folder = [f"folder={one['folder']}"] if "folder" in one else []
        one["where"] = " ".join(str(word) for word in [*folder, *given])
        for key in ("file", "section", "text", "numbers"):
            if not isinstance(one.get(key), list if key == "numbers" else str):
                raise Refused(f"{place}: {key!r} is missing or of another type")
        yield Quote(place, *(one[key] for key in Quote._fields[1:]))


def read(path: Path) -> list[Quote]:
    """The quotes of a file.

    Raises:
      Refused: there is no such file, or a quote lacks something.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused(f"{path}: {error}") from None
    lines = [n for n, line in enumerate(text.splitlines(), 1) if line.strip() == "[[quote]]"]
    quotes = raw.get("quote", [])
    places = lines if len(lines) == len(quotes) else range(1, len(quotes) + 1)
    return [
        quote
        for number, entry in zip(places, quotes, strict=True)
        for quote in _entry(entry, f"{path}:{number}")
    ]


def sections(text: str) -> dict[str, tuple[int, int]]:
    """Where each section begins and ends; its name is its heading as far as the colon."""
    heads = [
        (m.start(), m[1].partition(":")[0].strip()) for m in re.finditer(r"(?m)^#+ (.*)$", text)
    ]
    heads = [(0, ""), *heads]
    ends = [start for start, _ in heads[1:]] + [len(text)]
    return {name: (start, end) for (start, name), end in zip(heads, ends, strict=True)}


def _line(text: str, start: int) -> int:
    return text.count("\n", 0, start) + 1


def find(quote: Quote, text: str) -> list[Spot]:
    """The numbers that stand where the quote has ``#``; a space matches the end of a line too.

    Raises:
      Refused: the words are not in the section, or more than once.
    """
    parts = sections(text)
    if quote.section not in parts:
        raise Refused(f"{quote.place}: no section {quote.section!r} in {quote.file}")
    words = r"\s+".join(
        re.escape(word).replace(r"\#", f"({NUMBER})") for word in quote.text.split()
    )
    ends = {"#": r"(?!\d|\.\d)", "|": r"(?=\s*$)"}  # a number is whole; a table's row ends
    tail = ends.get(quote.text.rstrip()[-1:], "")
    head = r"(?<![\d.])" if quote.text.lstrip().startswith("#") else ""
    found = list(
        re.compile(head + words + tail, re.MULTILINE).finditer(text, *parts[quote.section])
    )
    if len(found) != 1:
        often = f"{len(found)} times" if found else "not"
        raise Refused(
            f"{quote.place}: {quote.text!r} is {often} in {quote.file}, {quote.section!r}"
        )
    spots = range(1, len(found[0].groups()) + 1)
    return [Spot(_line(text, found[0].start(i)), found[0].start(i), found[0][i]) for i in spots]


def everything(text: str) -> list[Spot]:
    """All numbers of a page's prose and tables.

    Left out are code, links, headings, the numbers of list items and of papers, and digits that
    belong to a word, such as NDCG@10, CG-3 or 100K.
    """
    for pattern in NOT_PROSE:
        text = re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m[0]), text)
    return [Spot(_line(text, m.start()), m.start(), m[0]) for m in ALONE.finditer(text)]


def agrees(quoted: str, value: float) -> bool:
    """Whether a value is the quoted one after rounding to the digits quoted; a bare 0 is exact."""
    if quoted == "0":
        return value == 0
    mantissa, _, power = quoted.replace(",", "").partition("e")
    digits = len(mantissa.partition(".")[2])
    unit = 10.0 ** (int(power or 0) - digits)
    return abs(float(quoted.replace(",", "")) - value) <= unit * (0.5 + 1e-6)
