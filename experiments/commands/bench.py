"""Measures the library against its neighbours: every file of ``bench`` is a benchmark."""

import importlib
from pathlib import Path

from ..errors import PROGRAM, Refused
from ..plugins import suggest


def main(argv: list[str]) -> int:
    """Hands over to the benchmark of the name given."""
    folder = Path(__file__).parents[1] / "bench"
    known = sorted(path.stem for path in folder.glob("[!_]*.py"))
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: {PROGRAM} bench {{{','.join(known)}}} ...")
        return 0
    if argv[0] not in known:
        raise Refused(f"no benchmark {argv[0]!r}{suggest(argv[0], known)}")
    package = __package__.rpartition(".")[0]
    return importlib.import_module(f"{package}.bench.{argv[0]}").main(argv[1:]) or 0
