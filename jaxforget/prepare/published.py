"""Host: splits that were published as files, one for each part."""

from typing import Any, Literal

import numpy as np

from jaxforget.data._frame import require
from jaxforget.prepare.split import TEST, TRAIN, VALID, Prepared, numbered
from jaxforget.types import Split


def join(train: Any, valid: Any | None, test: Any) -> Any:
    """One raw table of a published split, with the part of each row in the column ``part``.

    Preprocessing steps are applied to the whole; ``split_parts`` takes it apart again.

    Args:
      train: a raw table.
      valid: a raw table, or None where the split has no such part.
      test: a raw table.

    Returns:
      The rows of all three, in that order; ``part`` is 0, 1 or 2.

    Raises:
      ValueError: one has other columns than the training table, or ids of another type.
    """
    import pandas as pd

    tables = {TRAIN: train, VALID: train.iloc[:0] if valid is None else valid, TEST: test}
    for part, table in tables.items():
        if (kinds := table.dtypes.to_dict()) != train.dtypes.to_dict():
            raise ValueError(
                f"the {Split._fields[part]} file has other columns than the training file: "
                f"{_told(kinds)}, not {_told(train.dtypes.to_dict())}"
            )
    parts = [table.assign(part=np.int8(part)) for part, table in tables.items()]
    return pd.concat(parts, ignore_index=True)


def split_parts(frame: Any, *, cold: Literal["drop", "keep"] = "drop") -> Prepared:
    """Numbers the ids of a split that was published as files; nothing is drawn.

    Args:
      frame: a raw table with the column ``part``, as ``join`` makes it.
      cold: as in ``split_frame``, but training rows are in the order of the table.

    Returns:
      As ``split_frame``.

    Raises:
      ValueError: no column ``part``, another value in it than 0, 1 and 2, no training rows, or a
        pair that occurs twice, in one part or in two.
    """
    require(frame, "part")
    part = frame["part"].to_numpy()
    if not np.isin(part, (TRAIN, VALID, TEST)).all():
        raise ValueError("part must be 0 (training), 1 (validation) or 2 (test) in every row")
    rows = [np.flatnonzero(part == p) for p in (TRAIN, VALID, TEST)]
    if not len(rows[TRAIN]):
        raise ValueError("the training part is empty")
    return numbered(frame, rows, cold)


def _told(kinds: dict[str, Any]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
