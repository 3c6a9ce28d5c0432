"""The commands. One entry of COMMANDS is one command, a file of its name in ``commands``."""

import importlib
import sys

from .errors import PROGRAM, Refused
from .plugins import suggest

# name of a file in commands/, which has main(argv) -> exit code: what it does
COMMANDS = {
    "run": "compute the cells of a config that have no result yet",
    "plan": "show the grid of a config and which cells exist",
    "collect": "gather the cells into cells.csv, metrics.csv, timings.csv",
    "figures": "draw a config's figures from its tables",
    "report": "write one offline HTML page: words, figures, tables",
    "audit": "measure whether methods are as exact as they claim",
    "doctor": "print versions, devices and known-bad combinations",
    "data": "list, show or fetch data sets",
    "verify": "recompute a certificate from factors and retained data",
    "keygen": "make a key that signs receipts",
    "bench": "measure the library against its neighbours",
}

EXTRA = ("matplotlib", "msgspec", "tqdm", "pooch")  # what the library alone does not install


def usage() -> str:
    """The page of ``--help``."""
    lines = [f"  {name:<9}{about}" for name, about in COMMANDS.items()]
    head = f"usage: {PROGRAM} COMMAND ..."
    tail = f"Each command explains itself: {PROGRAM} COMMAND --help"
    return "\n".join([head, "", *lines, "", tail])


def main(argv: list[str]) -> int:
    """Runs one command; returns the exit code (0 well, 1 some cells failed, 2 refused)."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    try:
        if argv[0] not in COMMANDS:
            raise Refused(f"no command {argv[0]!r}{suggest(argv[0], COMMANDS)}")
        return importlib.import_module(f".commands.{argv[0]}", __package__).main(argv[1:])
    except Refused as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        print(
            f"error: {error.name} is not installed; pip install 'jaxforget[experiments]'",
            file=sys.stderr,
        )
        return 2
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
