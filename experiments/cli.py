"""The commands. One entry in COMMANDS is one command; its module is imported only when called."""

import importlib
import sys
from pathlib import Path

from experiments.errors import Refused, hint

# name: (module with main(argv) -> exit code, what it does)
COMMANDS = {
    "run": ("experiments.run", "compute the cells of a config that have no result yet"),
    "plan": ("experiments.plan", "show the grid of a config and which cells exist"),
    "collect": ("experiments.collect", "gather the cells into cells.csv, metrics.csv, timings.csv"),
    "figures": ("experiments.draw", "draw a config's figures from its tables"),
    "report": ("experiments.report", "write one offline HTML page: words, figures, tables"),
    "audit": ("experiments.audit", "measure whether methods are as exact as they claim"),
    "doctor": ("experiments.doctor", "print versions, devices and known-bad combinations"),
    "data": ("experiments.datasets", "list, show or fetch data sets"),
    "verify": ("experiments.verify", "recompute a certificate from factors and retained data"),
    "bench": ("experiments.cli:bench", "measure the library against its neighbours"),
}


def usage() -> str:
    lines = [f"  {name:<9}{help_}" for name, (_, help_) in COMMANDS.items()]
    head = "usage: python -m experiments COMMAND ..."
    tail = "Each command explains itself: python -m experiments COMMAND --help"
    return "\n".join([head, "", *lines, "", tail])


def bench(argv: list[str]) -> int:
    """Hands over to ``experiments.bench.<name>``; every file there is a benchmark."""
    folder = Path(__file__).parent / "bench"
    known = sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m experiments bench {{{','.join(known)}}} ...")
        return 0
    if argv[0] not in known:
        raise Refused(f"no benchmark {argv[0]!r}{hint(argv[0], known)}")
    return importlib.import_module(f"experiments.bench.{argv[0]}").main(argv[1:]) or 0


def main(argv: list[str]) -> int:
    """Runs one command; returns the exit code (0 well, 1 some cells failed, 2 refused)."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    try:
        if argv[0] not in COMMANDS:
            raise Refused(f"no command {argv[0]!r}{hint(argv[0], COMMANDS)}")
        module, _, function = COMMANDS[argv[0]][0].partition(":")
        return getattr(importlib.import_module(module), function or "main")(argv[1:])
    except Refused as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
