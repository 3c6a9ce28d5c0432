"""Whose the folder of a stream of requests is: one stream's, and one process's."""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from .. import files
from ..errors import Refused
from . import _beginning

STATE, JOURNAL, TABLE = "state.npz", "journal.jsonl", "table.npz"
LOCK, BEGINNING = ".lock", ".beginning"  # the second is there while a first call writes its parts


def refuse_used(folder: Path, args: argparse.Namespace) -> None:
    """Refuses to begin a stream among other files: it would write its own over them.

    What lies beside ``BEGINNING`` are the parts of a first call that was killed.
    """
    for name in _beginning.FILES:
        path = getattr(args, name)
        if path is not None and folder.resolve() in Path(path).resolve().parents:
            raise Refused(
                f"--{name} {path} lies in {folder}, where the stream writes its own files: begin "
                "it in another folder"
            )
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if JOURNAL in there and STATE not in there:
        raise Refused(f"{folder / JOURNAL} is there, but no {STATE}: put that back")
    others = sorted(there - {LOCK})
    if STATE in there or (others and BEGINNING not in there):
        some = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise Refused(
            f"{folder} has {some}: a stream begins in a folder of its own: give one that is empty, "
            "or not there"
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second process out of the folder, where the system can."""
    if not folder.is_dir():
        raise Refused(f"{folder}: no such folder")
    with contextlib.ExitStack() as inside:
        try:
            inside.enter_context(files.locked(folder, wait=False))
        except BlockingIOError:
            raise Refused(f"{folder}: another process is serving requests there") from None
        yield
