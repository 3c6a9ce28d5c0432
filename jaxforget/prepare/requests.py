"""Host: deletion requests as files of original ids, numbered as the data are."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxforget.data._formats import read_delimited


def read_pairs(
    path: str | Path, user_labels: np.ndarray, item_labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a deletion request: a CSV with the header ``user,item`` and the original ids.

    Args:
      path: the CSV; ``.gz`` and ``archive.zip!member`` work.
      user_labels: ``[U]`` original user ids, as ``encode`` returned them.
      item_labels: ``[I]`` original item ids.

    Returns:
      Two int32 vectors, for ``forget.pairs``.

    Raises:
      ValueError: a bad line, or ids that are not in the data, the first few of them by name.

    Example: ``users, items = read_pairs("request.csv", user_labels, item_labels)``
    """
    labels = {"user": np.asarray(user_labels), "item": np.asarray(item_labels)}
    text = [side for side, ids in labels.items() if not np.issubdtype(ids.dtype, np.integer)]
    frame = read_delimited(path, {"user": "user", "item": "item"}, text=text)
    users, items = (_numbers(frame[side], labels[side]) for side in ("user", "item"))
    absent = np.flatnonzero((users < 0) | (items < 0))
    if len(absent):
        first = [(frame["user"][row], frame["item"][row]) for row in absent[:3].tolist()]
        listed = ", ".join(f"({user}, {item})" for user, item in first)
        raise ValueError(
            f"{path}: {len(absent)} pairs are not in the data, among them {listed}: remove them, "
            "or check that the ids are those of the data file"
        )
    return users, items


def _numbers(ids: Any, labels: np.ndarray) -> np.ndarray:
    """The number of each original id: its position among the labels, -1 where it is not there.

    Python compares integers of any width exactly, and text with text alone.
    """
    known = {label: number for number, label in enumerate(labels.tolist())}
    return np.array([known.get(x, -1) for x in ids.tolist()], np.int32)
