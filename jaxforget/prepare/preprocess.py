"""Host: named steps from raw table to raw table, applied in the order they are listed.

Raw tables are pandas frames with the columns ``user``, ``item``, ``value`` and perhaps ``time``. No
step changes the frame that it is given; each refuses a missing id, and a value that is no finite
number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxforget import _checks
from jaxforget._plugins import check_settings, suggest
from jaxforget.data._frame import finite, require
from jaxforget.prepare import _negatives


def apply(frame: Any, steps: Sequence[Mapping[str, Any]]) -> Any:
    """Applies steps given by name, as a config writes them.

    Args:
      frame: a raw table.
      steps: mappings with the name of a step under ``"use"`` and its settings beside it.

    Returns:
      A new raw table; the given one is unchanged.

    Raises:
      ValueError: an unknown step or setting (with the nearest known one), or one a step refuses.

    Example:
      >>> import pandas as pd
      >>> frame = pd.DataFrame({"user": [1, 1], "item": [1, 2], "value": [2.0, 5.0]})
      >>> apply(frame, [{"use": "binarise", "threshold": 4}]).item.tolist()
      [2]
    """
    for number, step in enumerate(steps, start=1):
        name = step.get("use", "")
        settings = {key: value for key, value in step.items() if key != "use"}
        if name not in STEPS:
            raise ValueError(f"step {number}: no step {name!r}{suggest(name, STEPS)}")
        check_settings(STEPS[name], settings, f"step {name!r}", given=1)
        frame = STEPS[name](frame, **settings)
    return frame


def k_core(frame: Any, *, k: int, by: Literal["both", "user", "item"] = "both") -> Any:
    """Keeps the rows of users and items with at least ``k`` rows among those that are kept.

    With ``by="both"`` the removal is repeated until no row is removed any more; the result does
    not depend on the order. Rows are counted, so a repeated pair counts as often as it occurs.

    Args:
      frame: a raw table.
      k: rows needed, 1 or more.
      by: which side must have them.

    Returns:
      The rows that stay, in their order.

    Raises:
      ValueError: ``k`` is not a positive integer, no row is left, or another ``by``.
    """
    require(frame)
    _checks.count("k_core", 1, k=k)
    _checks.choice("k_core", ("both", "user", "item"), by=by)
    import pandas as pd

    sides = [pd.factorize(frame[side])[0] for side in ("user", "item") if by in ("both", side)]
    kept = np.arange(len(frame))
    before = -1
    while len(kept) != before:
        before = len(kept)
        for codes in sides:
            present = codes[kept]
            kept = kept[np.bincount(present, minlength=1)[present] >= k]
    if len(frame) and not len(kept):
        raise ValueError(
            f"k_core: of {len(frame)} rows none is left with k={k}, by={by!r}: choose a smaller k"
        )
    return frame.iloc[kept].reset_index(drop=True)


def binarise(
    frame: Any,
    *,
    threshold: float,
    strict: bool = False,
    negatives: Literal["drop", "keep"] = "drop",
) -> Any:
    """Turns values into labels: 1 where value >= threshold, else 0.

    Args:
      frame: a raw table.
      threshold: a finite number, in the units of the values.
      strict: 1 where value > threshold instead.
      negatives: ``"drop"`` removes the rows of label 0, ``"keep"`` keeps them.

    Returns:
      The table with values 0 and 1 only.

    Raises:
      ValueError: the threshold is not finite, or another ``negatives``.
    """
    require(frame)
    _checks.choice("binarise", ("drop", "keep"), negatives=negatives)
    _checks.finite("binarise", threshold=threshold)
    positive = frame["value"] > threshold if strict else frame["value"] >= threshold
    labelled = frame.assign(value=positive.astype(np.float32))
    return labelled[positive].reset_index(drop=True) if negatives == "drop" else labelled


def duplicates(frame: Any, *, how: Literal["error", "first", "last", "sum", "mean", "keep"]) -> Any:
    """Decides about (user, item) pairs that occur more than once.

    Args:
      frame: a raw table.
      how: ``"error"`` refuses them, ``"keep"`` leaves them, ``"first"`` and ``"last"`` keep that
        row of a pair; ``"sum"`` and ``"mean"`` merge the values into the first row, with the
        latest time.

    Returns:
      The table, the kept rows in their order.

    Raises:
      ValueError: ``how="error"`` and a pair is repeated (it is named), or another ``how``.
    """
    require(frame)
    _checks.choice("duplicates", ("error", "first", "last", "sum", "mean", "keep"), how=how)
    pair = ["user", "item"]
    if how == "keep":
        return frame
    repeated = frame.duplicated(pair, keep="last" if how == "last" else "first")
    if how == "error" and repeated.any():
        user, item = frame.loc[repeated.idxmax(), pair]
        raise ValueError(
            f"{int(repeated.sum())} rows repeat an earlier (user, item) pair, the first of them "
            f'({user}, {item}): choose duplicates how="first", "last", "sum", "mean" or "keep"'
        )
    if how in ("sum", "mean") and "time" in frame:
        finite(frame["time"], "time", dates=True)
    kept = frame[~repeated].copy()
    if how in ("sum", "mean"):
        groups = frame.groupby(pair, sort=False)  # in order of first appearance, like ``kept``
        kept["value"] = groups["value"].agg(how).to_numpy().astype(np.float32)
        if "time" in frame:
            kept["time"] = groups["time"].max().to_numpy()
    return kept.reset_index(drop=True)


def zeros(frame: Any, *, how: Literal["drop", "keep"] = "drop") -> Any:
    """Removes the rows of value 0, or keeps them: in the kernels value 0 means "not there".

    Args:
      frame: a raw table.
      how: ``"drop"`` or ``"keep"``.

    Returns:
      The rows that stay, in their order.

    Raises:
      ValueError: another ``how``.
    """
    require(frame)
    _checks.choice("zeros", ("drop", "keep"), how=how)
    return frame if how == "keep" else frame[frame["value"] != 0].reset_index(drop=True)


def positive(frame: Any) -> Any:
    """Removes the rows whose value is 0 or less, such as returned or cancelled purchases.

    Args:
      frame: a raw table.

    Returns:
      The rows that stay, in their order.

    Raises:
      ValueError: none stays.
    """
    require(frame)
    kept = frame[frame["value"] > 0].reset_index(drop=True)
    if len(frame) and not len(kept):
        raise ValueError(f"positive: none of {len(frame)} rows has a value above 0")
    return kept


def log1p(frame: Any) -> Any:
    """Replaces every value by ``ln(1 + value)``, as is usual for play counts and hours.

    Args:
      frame: a raw table.

    Returns:
      The table with the new values.

    Raises:
      ValueError: a value is -1 or less.
    """
    require(frame)
    low = frame["value"].min()
    if low <= -1:
        raise ValueError(f"log1p needs values above -1; the smallest is {low}")
    narrow = str(frame["value"].dtype).lower() not in ("float32", "float64")  # or integers
    values = frame["value"].astype(np.float64) if narrow else frame["value"]
    return frame.assign(value=np.log1p(values).astype(np.float32))


def sampled_negatives(frame: Any, *, seed: int, per_positive: int = 1) -> Any:
    """Adds pairs that the table lacks, with value 0: so many for each row with a value above 0.

    The items of a user are drawn without repeats from the items of the table that the user has no
    row with; every set of them has the same chance. The split comes after the steps, so that no
    part holds as a negative what another part holds as a like.

    Args:
      frame: a raw table.
      seed: of the draws, in ``[0, 2**32)``.
      per_positive: negatives for each row with a value above 0.

    Returns:
      The rows of the table and after them the negatives, with the time of their positive if there
      are times.

    Raises:
      ValueError: a setting is out of range, an id is missing, or a user (named) has too few items.

    Example:
      >>> import pandas as pd
      >>> likes = pd.DataFrame({"user": [1, 2], "item": [7, 9], "value": [1.0, 1.0]})
      >>> sampled_negatives(likes, seed=0).to_dict("list")
      {'user': [1, 2, 1, 2], 'item': [7, 9, 9, 7], 'value': [1.0, 1.0, 0.0, 0.0]}
    """
    require(frame)
    _checks.count("sampled_negatives", 0, seed=seed)
    _checks.between("sampled_negatives", 0, 2**32 - 1, seed=seed)
    _checks.count("sampled_negatives", 1, per_positive=per_positive)
    import pandas as pd

    rows, items = _negatives.draw(frame, seed=seed, per_positive=per_positive)
    added = frame.iloc[rows].assign(item=items)
    added["value"] = np.zeros(len(added), frame["value"].dtype)
    return pd.concat([frame, added], ignore_index=True)


STEPS = {
    step.__name__: step
    for step in (k_core, binarise, duplicates, zeros, positive, log1p, sampled_negatives)
}
