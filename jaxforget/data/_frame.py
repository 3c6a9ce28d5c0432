"""Host: tables with ids of any kind, numbered."""

from typing import Any

import numpy as np

from jaxforget._checks import shorten
from jaxforget.sparse.layout import build
from jaxforget.types import Interactions


def encode(frame: Any) -> tuple[Interactions, np.ndarray, np.ndarray]:
    """Numbers the ids of a raw table in the order of their first appearance.

    Args:
      frame: pandas, with the columns ``user``, ``item``, ``value``; ids of any kind.

    Returns:
      The interactions, the ``[U]`` original user ids and the ``[I]`` original item ids.

    Raises:
      ValueError: a column is missing, an id is missing, a value is not finite, or a pair occurs
        twice: ``preprocess.duplicates`` merges those.

    Example:
      >>> import pandas as pd
      >>> frame = pd.DataFrame({"user": ["b", "a"], "item": [7, 7], "value": [1.0, 2.0]})
      >>> train, users, items = encode(frame)
      >>> users.tolist(), items.tolist(), train.users.tolist()
      (['b', 'a'], [7], [0, 1])
    """
    require(frame)
    users, user_labels = number(frame["user"])
    items, item_labels = number(frame["item"])
    refuse_repeats(frame)
    values, n_users, n_items = frame["value"].to_numpy(), len(user_labels), len(item_labels)
    train = build(users, items, values, n_users=n_users, n_items=n_items)
    return train, user_labels, item_labels


def number(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the ids of a column by first appearance: codes ``[N]`` and labels.

    Raises:
      ValueError: an id is missing.
    """
    import pandas as pd

    codes, labels = pd.factorize(column)
    if (codes < 0).any():
        raise ValueError(f"row {int(np.argmin(codes))} has no {column.name} id: drop it")
    labels = np.asarray(labels)
    textual = labels.dtype == object and all(isinstance(label, str) for label in labels)
    return codes, labels.astype(str) if textual else labels


def refuse_repeats(frame: Any) -> None:
    """Raises ValueError where a (user, item) pair occurs twice, with the original ids of one."""
    repeated = frame.duplicated(["user", "item"]).to_numpy()
    if repeated.any():
        first = int(np.argmax(repeated))
        user, item = (frame[side].iloc[[first]].tolist()[0] for side in ("user", "item"))
        raise ValueError(
            f"{int(repeated.sum())} rows repeat an earlier (user, item) pair, the first of them "
            f"({shorten(user)}, {shorten(item)}): merge them first with the step duplicates "
            '(how = "sum", "mean", "first" or "last")'
        )


def require(frame: Any, *columns: str) -> None:
    """Raises ValueError where a frame lacks a column of the raw table, or one of ``columns``."""
    missing = [name for name in ("user", "item", "value", *columns) if name not in frame]
    if missing:
        raise ValueError(f"the frame lacks {', '.join(missing)}; it has {', '.join(frame)}")
