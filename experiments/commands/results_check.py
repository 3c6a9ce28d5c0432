"""Computes again, from the tables under results/, every number that the pages quote from them.

results/quoted.toml lists the quotes. Then it says of each results folder which commit its cells are
of, and whether its config would still make the same cells.

Exit code: 0 every number agrees, 1 some do not, 2 a quote, a page or a table is not there.
"""

import argparse
import sys
from pathlib import Path

from ..config import grid, reading
from ..errors import PROGRAM, Refused
from ..figures import _tables
from ..figures._tables import Tables
from . import _quotes


def _page(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None


def check(root: Path) -> tuple[list[str], int, dict[str, set[int]]]:
    """What is wrong; how many numbers were compared; the lines of each page that were."""
    tables: dict[str, Tables] = {}
    faults, compared, lines = [], 0, {}
    for quote in _quotes.read(root / "results" / "quoted.toml"):
        if quote.folder not in tables:
            tables[quote.folder] = _quotes.tables(root / "results" / quote.folder)
        line = _quotes.place(quote, _page(root / quote.file))
        lines.setdefault(quote.file, set()).add(line)
        compared += len(quote.show)
        found = _quotes.wrong(quote, tables[quote.folder], root / "results" / quote.folder)
        faults += [f"{quote.file}, line {line}, of results/{quote.folder}: {x}" for x in found]
    return faults, compared, lines


def origin(folder: Path, configs: Path) -> str:
    """The commits of a results folder, and whether its config still makes its cells."""
    tables = _tables.read(folder)
    commits = sorted({str(sha)[:10] for sha in tables.timings.get("git_sha", [])})
    words = f"{len(tables.cells)} cells of {', '.join(commits) or 'an unknown commit'}"
    try:
        today = {cell.id for cell in grid.cells(reading.read(str(configs / f"{folder.name}.toml")))}
    except Refused as error:
        return f"{words}; its config cannot be read: {error}"
    there = set(tables.cells["cell"])
    if gone := len(there - today):
        words += f"; {gone} of them are not those of its config today"
    if missing := len(today - there):
        words += f"; {missing} cells of its config are not there"
    return words


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} results_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", default=".", help="folder of README.md, configs/ and results/")
    root = Path(parser.parse_args(argv).root)
    faults, compared, lines = check(root)
    for folder in sorted(path.parent for path in (root / "results").glob("*/cells.csv")):
        print(f"{folder.name}: {origin(folder, root / 'configs')}")
    for file, seen in sorted(lines.items()):
        every = [n for n, x in enumerate(_page(root / file).splitlines(), 1) if _quotes.told(x)]
        print(f"{file}: {len(seen)} of {len(every)} lines with a number are checked")
    print(f"{compared} numbers compared, {len(faults)} wrong")
    for fault in faults:
        print(fault, file=sys.stderr)
    return int(bool(faults))
