"""Recomputes the numbers that the pages quote from the committed tables.

results/quoted.toml says which numbers of which page come from which rows. A quoted number must be
the computed one after rounding to the digits quoted. Then, for every folder of results, the
commits that its cells come from, and whether its config would make the same cells today.

Exit code: 0 all quoted numbers hold, 1 some do not (a line each), 2 a quote cannot be computed.
"""

import argparse
from collections import Counter, defaultdict
from pathlib import Path

from .. import frames
from ..config import grid, reading
from ..errors import PROGRAM, Refused
from . import _queries, _quotes

# tables that stand in a folder without cells
ALONE = ("audit", "verdict", "reconstruction", "sequence", "games")


def _values(quote: _quotes.Quote, results: Path) -> list[tuple[str, float]]:
    """What a quote's queries give, in order."""
    try:
        where = _queries.filters(quote.where)
        return [pair for text in quote.numbers for pair in _queries.evaluate(text, results, where)]
    except Refused as error:
        raise Refused(f"{quote.place}: {error}") from None


def check(quotes: list[_quotes.Quote], results: Path) -> tuple[list[str], dict[str, set[int]]]:
    """The lines to print for wrong numbers, and where the covered numbers of each page stand."""
    wrong, covered = [], defaultdict(set)
    pages = {file: page(file) for file in dict.fromkeys(quote.file for quote in quotes)}
    for quote in quotes:
        spots, values = _quotes.find(quote, pages[quote.file]), _values(quote, results)
        if len(spots) != len(values):
            raise Refused(
                f"{quote.place}: {quote.text!r} has {len(spots)} numbers, the queries {len(values)}"
            )
        for spot, (query, value) in zip(spots, values, strict=True):
            covered[quote.file].add(spot.start)
            if not _quotes.agrees(spot.text, value):
                where = f"{quote.file}:{spot.line}: {quote.text!r}"
                wrong.append(f"{where} quotes {spot.text}, computed {value:.6g} ({query})")
    return wrong, covered


def page(file: str) -> str:
    """The text of a page."""
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file}: {error}") from None


def _commits(folder: Path) -> str:
    """The commits that timings.csv names, the most frequent first."""
    table = frames.read(folder / "timings.csv", ["git_sha"], dtype=str)
    counts = Counter(sha[:7] for sha in table["git_sha"].fillna("unknown"))
    return ", ".join(f"{sha} ({n})" for sha, n in counts.most_common())


def provenance(folder: Path) -> str:
    """One line about a folder: its commits, and whether its config makes these cells today."""
    if not (folder / "cells.csv").is_file():
        path = next(folder / f"{n}.csv" for n in ALONE if (folder / f"{n}.csv").is_file())
        table = frames.read(path, dtype=str)
        named = sorted(set(table["commit"].str[:7])) if "commit" in table else ["no commit named"]
        return f"{folder.name}: {', '.join(named)}"
    try:
        now = {cell.id for cell in grid.cells(reading.read(f"configs/{folder.name}.toml"))}
    except Refused as error:
        return f"{folder.name}: {_commits(folder)}; ids not compared: {error}"
    ours = set(frames.read(folder / "cells.csv", ["cell"])["cell"])
    words = "ids as today" if ours <= now else f"ids differ: {len(ours - now)} of {len(ours)}"
    missing = f"; {len(now - ours)} of {len(now)} cells not computed" if now - ours else ""
    return f"{folder.name}: {_commits(folder)}; {words}{missing}"


def coverage(covered: dict[str, set[int]], *, every: bool) -> list[str]:
    """How many numbers of each page are checked, and how many in which lines are not."""
    lines = []
    for file, starts in covered.items():
        text = page(file)
        rest = [s for s in _quotes.everything(text) if s.start not in starts]
        held = {s.line for s in rest}
        lines.append(
            f"{file}: {len(starts)} numbers checked; {len(rest)} numbers in {len(held)} lines "
            "are not checked"
        )
        content = text.splitlines()
        lines += [f"  {n}: {content[n - 1]}" for n in sorted(held)] if every else []
    return lines


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} results-check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--quotes", default="results/quoted.toml", help="which numbers are quoted")
    parser.add_argument("--results", default="results", help="folder of all results")
    parser.add_argument("--unchecked", action="store_true", help="print the lines not checked")
    arguments = parser.parse_args(argv)
    results = Path(arguments.results)
    wrong, covered = check(_quotes.read(Path(arguments.quotes)), results)
    for line in wrong:
        print(line)
    for table in sorted({p.parent for n in ("cells", *ALONE) for p in results.glob(f"*/{n}.csv")}):
        print(provenance(table))
    for line in coverage(covered, every=arguments.unchecked):
        print(line)
    print(f"{len(wrong)} quoted numbers are wrong" if wrong else "all checked numbers hold")
    return int(bool(wrong))
