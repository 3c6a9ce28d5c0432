"""The journal of a stream of requests: a line each, on disk before the request is met."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ..errors import Refused
from ._asked import SIDES

PLAIN = {"request": int, "lines": int, "follows": str, "read": int, "digest": str}


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


def read(path: Path, first: str, sizes: dict[str, int]) -> list[dict[str, Any]]:
    """The requests of a journal; a last line that a kill has cut off is removed.

    Args:
      path: of the journal; none is there before the first request.
      first: what its first line follows, the digest of how the stream began.
      sizes: how many rows each side has.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    entries, last = [], first
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not _sound(entry, sizes):
            raise Refused(f"{path}, line {number}: is no request of this stream: it was edited")
        if entry["follows"] != last or entry["request"] != number:
            before = "the line before" if number > 1 else "the beginning of this stream"
            raise Refused(f"{path}, line {number}: does not follow {before}: it was edited")
        entries.append(entry)
        last = digest(entry)
    if len(whole) < len(content):  # it was never acknowledged: it will come again
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    return entries


def _sound(entry: Any, sizes: dict[str, int]) -> bool:
    """Whether a line has the fields of a request, and names rows that there are."""
    if not isinstance(entry, dict) or not any(side in entry for side in SIDES):
        return False
    if any(type(entry.get(name)) is not kind for name, kind in PLAIN.items()):
        return False
    named = {side: entry[side] for side in SIDES if side in entry}
    if set(entry) != {*PLAIN, *named} or not all(type(ids) is list for ids in named.values()):
        return False
    rows = [type(x) is int and 0 <= x < sizes[side] for side, ids in named.items() for x in ids]
    return all(rows) and len({len(ids) for ids in named.values()}) == 1
