"""Decides whether a cell's numbers can be believed; of a cell that diverged none is kept.

A cell has diverged where, at any stage (``before``, ``after``, ``reference``), a factor, a measure
or a loss is not finite, or where a score could be a million times what it is to predict: nothing
that is computed from such factors says anything.
"""

import math
from typing import Any

import numpy as np

DIVERGED = "diverged"
ABSURD = 1e6  # times the largest value of the training part, or 1
NAMED = 6  # how many numbers a reason names


def of_factors(factors: Any, values: Any) -> str | None:
    """What is wrong with the factors that a stage serves; None where they are sound.

    Args:
      factors: what serves: two matrices, users and items.
      values: of the interactions that were learnt from.
    """
    sides = [np.asarray(side) for side in factors]
    if not all(np.isfinite(side).all() for side in sides):
        return "factors not finite"
    # no score is larger than the product of the largest norms (Cauchy and Schwarz)
    with np.errstate(over="ignore"):
        squares = [np.einsum("nd,nd->n", side, side).max(initial=0.0) for side in sides]
        return of_largest(math.sqrt(squares[0]) * math.sqrt(squares[1]), values)


def of_largest(most: float, values: Any) -> str | None:
    """What is wrong with scores of which ``most`` bounds the size; NaN where one is not finite."""
    if math.isnan(most):
        return "scores not finite"
    if not most <= ABSURD * max(1.0, float(np.abs(values).max(initial=0.0))):
        return f"scores more than {ABSURD:.0e} times the values".replace("+0", "")
    return None


def of_numbers(row: dict[str, Any]) -> list[str]:
    """Names the numbers of a row that are not finite and should be.

    A metric that is NaN at every stage is not defined on these data (no negatives, an empty
    request), once the factors of all stages are known to be sound. A bound of infinity says that
    nothing is proved, which ``certified`` says too.
    """
    bad = [
        f"{stage} {name}"
        for stage, info in row["info"].items()
        for name, value in info.items()
        if isinstance(value, float)
        and not math.isfinite(value)
        and (math.isnan(value) or "certified" not in info)
    ]
    defined = {tuple(rest) for _, *rest, value in row["metrics"] if not math.isnan(value)}
    for stage, *rest, value in row["metrics"]:
        if not math.isfinite(value) and tuple(rest) in defined:
            bad.append(" ".join([stage, *(str(word) for word in rest if word is not None)]))
    return bad


def judged(row: dict[str, Any]) -> dict[str, Any]:
    """The row as it may be stored: of a cell that diverged, why and when, and no number.

    Args:
      row: a cell; ``faults`` (optional) holds what is wrong with the factors of its stages.
    """
    faults, bad = row.get("faults", []), of_numbers(row)
    row = {name: value for name, value in row.items() if name != "faults"}
    if row["status"] != "ok" or not (faults or bad):
        return row
    more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    words = [*faults, f"not finite: {', '.join(bad[:NAMED])}{more}"] if bad else faults
    return row | {"status": DIVERGED, "reason": "; ".join(words), "metrics": [], "info": {}}


def further(row: dict[str, Any]) -> bool | None:
    """Whether a cell ends further from the reference than it began; None where nobody can say."""
    far = {m[0]: m[4] for m in row["metrics"] if m[1:4] == ["all", "distance", None]}
    if far.get("before") is None or far.get("after") is None:
        return None
    return bool(far["after"] > far["before"])
