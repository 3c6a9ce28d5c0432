"""The commands. One entry of COMMANDS is one command, a file of its name in ``commands``."""

import contextlib
import importlib
import io
import os
import sys
from typing import Any

from . import files
from .errors import PROGRAM, Refused
from .plugins import suggest

# name of a file in commands/ (with _ for -), which has main(argv) -> exit code: what it does
COMMANDS = {
    "run": "compute the cells of a config that have no result yet",
    "plan": "show the grid of a config and which cells exist",
    "train": "train one model over the devices of all processes, and unlearn from it",
    "collect": "gather the cells into cells.csv, metrics.csv, timings.csv",
    "restore": "make cells from those tables, so that a run goes on",
    "figures": "draw a config's figures from its tables",
    "report": "write one offline HTML page: words, figures, tables",
    "oracles": "train the banks of models that evidence is judged by",
    "requests": "write a request that is hard to meet, such as what was memorised",
    "reconstruct": "measure what two releases of a model reveal of what was deleted",
    "games": "ask whether a forgotten pair leaves a trace: was it ever there?",
    "sequence": "meet a request one person after the other, and look at the model in between",
    "evidence": "judge methods by those banks: distances, attacks, a verdict",
    "audit": "measure whether methods are as exact as they claim",
    "results-check": "recompute every number that the pages quote from the tables",
    "doctor": "print versions, devices and known-bad combinations",
    "data": "list, show or fetch data sets",
    "erase": "erase people, items or pairs from a model that is serving",
    "serve-requests": "meet deletion requests one after another, with a journal",
    "verify": "recompute a certificate from factors and retained data",
    "keygen": "make a key that signs receipts",
    "bench": "measure the library against its neighbours",
}

EXTRA = ("matplotlib", "msgspec", "tqdm", "pooch")  # what the library alone does not install


CODES = """exit codes:
  0  done
  1  done, but some cells have no numbers: failed or diverged (run), missing (collect); an audit
     found a claim broken; a receipt was not verified; a quoted number is not that of the tables;
     a list of requests was not met to its end
  2  refused: something given cannot be used; one line says what, and nothing was written
  130  interrupted"""


class Outlet:
    """Standard output or error that goes on, unread, when its reader (such as ``head``) has left.

    A run computes its cells and a command returns its own exit code, whoever reads along.
    """

    def __init__(self, stream: Any):
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except BrokenPipeError:
            self.leave()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except BrokenPipeError:
            self.leave()

    def leave(self) -> None:
        """What is still to be written, now or when Python ends, goes nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)


def usage() -> str:
    """The page of ``--help``."""
    lines = [f"  {name:<16}{about}" for name, about in COMMANDS.items()]
    head = f"usage: {PROGRAM} COMMAND ..."
    tail = f"Each command explains itself: {PROGRAM} COMMAND --help"
    return "\n".join([head, "", *lines, "", CODES, "", tail])


def main(argv: list[str]) -> int:
    """Runs one command; returns the exit code, of those that ``--help`` lists."""
    out, err = Outlet(sys.stdout or io.StringIO()), Outlet(sys.stderr or io.StringIO())
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = _main(argv)
            out.flush()
            return code
        except OSError as error:  # a full disk, a folder that is read-only, a file in its place
            if error.errno is None:
                raise
            if error.filename is None:  # standard output itself, as nothing else has no name
                out.leave()
            return _refuse(f"{error.filename or argv[0]}: {files.reason(error)}")
        finally:
            out.flush()
            err.flush()


def _main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    try:
        if argv[0] not in COMMANDS:
            raise Refused(f"no command {argv[0]!r}{suggest(argv[0], COMMANDS)}")
        module = argv[0].replace("-", "_")
        return importlib.import_module(f".commands.{module}", __package__).main(argv[1:])
    except Refused as error:
        return _refuse(str(error))
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        return _refuse(f"{error.name} is not installed; pip install 'jaxforget[experiments]'")
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _refuse(text: str) -> int:
    """Says what is wrong, in one line; returns the exit code."""
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return 2
