"""Host: tables with ids of any kind, numbered."""

from typing import Any

import numpy as np

from jaxforget._checks import shorten
from jaxforget.sparse.layout import build
from jaxforget.types import Interactions

NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty")
DATES = ("datetime64", "datetime", "date")


def encode(frame: Any) -> tuple[Interactions, np.ndarray, np.ndarray]:
    """Numbers the ids of a raw table in the order of their first appearance.

    Args:
      frame: pandas, Polars or Arrow, with the columns ``user``, ``item``, ``value``; ids of any
        kind.

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
    frame = as_pandas(frame)
    require(frame)
    users, user_labels = number(frame["user"])
    items, item_labels = number(frame["item"])
    refuse_repeats(frame)
    values, n_users, n_items = frame["value"].to_numpy(), len(user_labels), len(item_labels)
    train = build(users, items, values, n_users=n_users, n_items=n_items)
    return train, user_labels, item_labels


def as_pandas(frame: Any) -> Any:
    """A frame of pandas, from one, or from a table that can become one (Polars, Arrow).

    Raises:
      ValueError: it is neither.
    """
    import pandas as pd

    if isinstance(frame, pd.DataFrame):
        return frame
    if not hasattr(frame, "to_pandas"):
        raise ValueError(
            f"a table must be a frame of pandas, Polars or Arrow; got {type(frame).__name__}"
        )
    return frame.to_pandas()


def number(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the ids of a column by first appearance: codes ``[N]`` and labels.

    Raises:
      ValueError: an id is missing or holds the character NUL, or the ids are not all text or all
        integers.
    """
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind not in ("string", "integer", "empty"):
        bad = _of_another_kind(column)
        got = shorten(column.iloc[[bad]].tolist()[0])
        raise ValueError(
            f"row {bad}: {column.name} ids must be all text or all integers; got "
            f"{got} in a column that pandas calls {kind}: read the column "
            "as one kind, for a floating-point number may have lost its digits"
        )
    codes, labels = pd.factorize(column)
    if (codes < 0).any():
        raise ValueError(f"row {int(np.argmin(codes))} has no {column.name} id: drop it")
    labels = np.asarray(labels)
    cut = [label for label in labels if "\0" in label] if kind == "string" else []
    if cut:  # NumPy cuts a NUL off the end of text: two people would be one
        raise ValueError(
            f"the {column.name} id {shorten(str(cut[0]))} holds the character NUL: take it out"
        )
    if kind == "integer" and labels.dtype == object:  # Python's integers, of any size
        labels = np.array([int(label) for label in labels])
    return codes, labels.astype(str) if kind == "string" else labels


def _of_another_kind(column: Any) -> int:
    """The first row whose id is not of the kind of the first row's: text, or an integer."""
    kinds = [
        str if isinstance(x, str) else int if isinstance(x, (int, np.integer)) else type(x)
        for x in column.tolist()
    ]
    first = kinds[0] if kinds[0] in (str, int) else None
    return next((n for n, kind in enumerate(kinds) if kind is not first), 0)


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
    """Refuses what is no raw table: a missing value is no dislike, a missing id is nobody.

    Raises:
      ValueError: a column of the raw table, or one of ``columns``, is not there; or a row has no
        id, or a value that is no finite number (the first such row is named).
    """
    missing = [name for name in ("user", "item", "value", *columns) if name not in frame]
    if missing:
        there = ", ".join(map(str, frame))
        raise ValueError(f"the frame lacks {', '.join(missing)}; it has {there}")
    for side in ("user", "item"):
        present(frame[side], side)
    finite(frame["value"], "value")


def present(ids: Any, side: str) -> None:
    """Raises ValueError where an id is missing, with the first such row."""
    import pandas as pd

    bad = np.asarray(pd.isna(ids))
    if bad.any():
        raise ValueError(f"row {int(np.argmax(bad))} has no {side} id: drop it")


def finite(column: Any, what: str, *, dates: bool = False) -> None:
    """Refuses a column of other things than finite numbers or, where ``dates`` says so, dates.

    Raises:
      ValueError: a row is missing, infinite or of another kind; the first such row is named.

    Example:
      >>> import pandas as pd
      >>> finite(pd.Series([3, None]), "time", dates=True)
      Traceback (most recent call last):
      ValueError: row 1: time must be a finite number or a date; got nan in a column of float64: \
drop the row, or mend the column
    """
    import pandas as pd

    kind_of, kind = pd.api.types.infer_dtype, column.dtype.kind
    if kind in "biuf":
        plain = isinstance(column.dtype, np.dtype)
        bad = ~np.isfinite(column.to_numpy() if plain else column.to_numpy(float, na_value=np.nan))
    else:
        allowed = NUMBERS + DATES if dates else NUMBERS
        bad = (column.isna() | column.isin([np.inf, -np.inf])).to_numpy(bool)
        if not bad.any() and kind_of(column) not in allowed:
            kinds = [kind_of([entry]) for entry in column.tolist()]
            bad = np.array([x != kinds[0] or x not in allowed for x in kinds])
            bad[0] |= not bad.any()  # the column as a whole
    if bad.any():
        row = int(np.argmax(bad))
        wanted = "a finite number or a date" if dates else "a finite number"
        raise ValueError(
            f"row {row}: {what} must be {wanted}; got {shorten(column.iloc[[row]].tolist()[0])} in "
            f"a column of {column.dtype}: drop the row, or mend the column"
        )
