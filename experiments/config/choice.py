"""Which cells of a grid are meant: what --only and --shard say."""

import hashlib

from ..errors import Refused
from ..plugins import suggest
from .grid import Cell


def _axis(name: str, known: set[str]) -> str:
    """An axis by its name, or by the bare name of a swept setting."""
    if name in known:
        return name
    short = [n for n in known if n.partition(".")[2] == name]
    if len(short) != 1:
        bare = known | {n.partition(".")[2] for n in known if "." in n}
        raise Refused(f"--only {name}: no such axis{suggest(name, bare)}")
    return short[0]


def only(cells: list[Cell], wanted: list[str]) -> list[Cell]:
    """The cells that ``axis=value[,value]...`` names; several axes must all hold."""
    known = {name for cell in cells for name in cell.axes} | {"cell"}
    choice: dict[str, set[str]] = {}
    for part in ",".join(wanted).split(",") if wanted else []:
        name, equals, value = part.rpartition("=")
        if equals:
            last = choice.setdefault(_axis(name, known), set())
        elif not choice:
            raise Refused(f"--only {part}: expected axis=value, such as method=retrain")
        last.add(value)

    def texts(cell: Cell, name: str) -> set[str]:
        value = cell.id if name == "cell" else cell.axes.get(name)
        return {str(value), f"{value:g}"} if isinstance(value, float) else {str(value)}

    for name, values in choice.items():
        there = set().union(*(texts(cell, name) for cell in cells))
        for value in values - there:
            raise Refused(f"--only {name}={value}: not in the grid{suggest(value, there)}")
        cells = [cell for cell in cells if texts(cell, name) & values]
    return cells


def shard(cells: list[Cell], text: str | None) -> list[Cell]:
    """Part i of n, by hash of what shares a fit: no fit is computed by two parts."""
    index, count = part_of(text)

    def part(cell: Cell) -> int:
        key = cell.key("data", "split", "model", "seed")
        return int(hashlib.sha256(key.encode()).hexdigest(), 16) % count

    return [cell for cell in cells if part(cell) == index]


def part_of(text: str | None) -> tuple[int, int]:
    """i and n of --shard i/n; all in one part where it was not given."""
    index, _, count = (text or "0/1").partition("/")
    if not (index.isdecimal() and count.isdecimal() and 0 <= int(index) < int(count)):
        raise Refused(f"--shard {text}: expected i/n with 0 <= i < n, such as 0/4")
    return int(index), int(count)
