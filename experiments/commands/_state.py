"""The saved state of a stream of requests, and the table that it is about: written, and checked."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..files import archive
from . import _served_table
from ._asked import SIDES

TABLES = ("factors", "rest", "rhs")  # of a session, each with a table for each side
HOW = ("objective", "tol", "check", "budget", "suffix", "text", "dtype", "began", "settings")
ARRAYS = ("done", "journal", "table", "weights", "how")
OLD = "of an earlier version, or damaged: begin a stream from its model in another folder"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def packed(how: dict[str, Any]) -> bytes:
    """The settings of a stream as bytes; those of the model's file keep their types."""
    plain = {name: value for name, value in how.items() if name != "settings"}
    return json.dumps(plain).encode() + b"\n" + archive(how["settings"])


def unpacked(content: bytes) -> dict[str, Any]:
    """The settings of a stream.

    Raises:
      ValueError: some are missing.
    """
    plain, _, settings = content.partition(b"\n")
    with np.load(io.BytesIO(settings), allow_pickle=False) as arrays:
        how = json.loads(plain) | {"settings": dict(arrays)}
    if lacking := [name for name in HOW if name not in how]:
        raise ValueError(f"its settings lack {', '.join(lacking)}: {OLD}")
    return how


def read(path: Path) -> dict[str, Any]:
    """The arrays of a state: all that a session goes on from, of shapes that belong together.

    Nothing is filled in for what is missing: without its weights a session would know everybody
    again who was erased.

    Raises:
      ValueError: one is missing, or none of its kind.
    """
    from jaxforget.data import _whole

    with _whole.arrays(path) as arrays:
        state = dict(arrays)
    names = [*ARRAYS, *(f"{name}_{side}" for name in (*TABLES, "unfit") for side in SIDES)]
    if lacking := [name for name in names if name not in state]:
        raise ValueError(f"{path}: lacks {', '.join(lacking)}: {OLD}")
    for side in SIDES:
        shapes = {state[f"{name}_{side}"].shape for name in TABLES}
        rows = {shape[:1] for shape in shapes} | {state[f"unfit_{side}"].shape}
        if len(shapes) > 1 or len(rows) > 1 or state[f"unfit_{side}"].dtype != bool:
            raise ValueError(
                f"{path}: its tables of {side}s are of different shapes: it is damaged"
            )
    if state["done"].shape or state["done"].dtype.kind not in "iu" or state["done"] < 0:
        raise ValueError(f"{path}: done must be a number of requests: it is damaged")
    return state


def table_bytes(table: Any) -> bytes:
    """The interactions of a stream, and the ids of its rows, as a file."""
    train = table.train
    arrays = {"users": train.users, "items": train.items, "values": train.values}
    arrays |= {"user_labels": table.users, "item_labels": table.items}
    arrays["shape"] = np.array([train.n_users, train.n_items])
    return archive(arrays)


def read_table(path: Path, wanted: str) -> Any:
    """What ``table_bytes`` wrote.

    Raises:
      ValueError: its digest is not ``wanted``: ids that were exchanged would name somebody else.
    """
    from jaxforget.sparse import layout

    content = path.read_bytes()
    if digest(content) != wanted:
        raise ValueError(f"{path}: not the table with which the stream began: put that back")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        columns = [arrays[name] for name in ("users", "items", "values")]
        n_users, n_items = arrays["shape"].tolist()
        labels = [arrays[f"{side}_labels"] for side in SIDES]
    train = layout.build(*columns, n_users=n_users, n_items=n_items)
    return _served_table.Table(train, *labels)
