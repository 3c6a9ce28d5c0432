"""The journal of a stream of requests: a line each, on disk before the request is met."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ..errors import Refused

FIRST = hashlib.sha256(b"").hexdigest()  # what the first line of a journal follows


def add(path: Path, entry: dict[str, Any]) -> None:
    """Writes a line, and returns when it is on disk."""
    with open(path, "ab") as file:
        file.write(_line(entry))
        file.flush()
        os.fsync(file.fileno())


def _line(entry: dict[str, Any]) -> bytes:
    return (json.dumps(entry) + "\n").encode()


def digest(entry: dict[str, Any]) -> str:
    return hashlib.sha256(_line(entry)).hexdigest()


def read(path: Path) -> list[dict[str, Any]]:
    """The requests of a journal; a last line that a kill has cut off is removed."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):  # it was never acknowledged: it will come again
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    entries, last = [], FIRST
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            entry = json.loads(line)
            fits = entry["follows"] == last and entry["request"] == number
        except (ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            raise Refused(f"{path}, line {number}: does not follow the line before: it was edited")
        entries.append(entry)
        last = digest(entry)
    return entries
