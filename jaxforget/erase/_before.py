"""Who was erased from a model before, read from its factors and the data."""

import numpy as np

from jaxforget.types import Factors


def erased(factors: Factors, pulls: Factors) -> tuple[np.ndarray, np.ndarray]:
    """Which users, and which items, have a row of zeros where the data want another.

    Whoever was erased has such a row, and training on the interactions brings the person back. A
    row may be 0 for other reasons: all of a side are, or it has no interactions, or all of these
    are with zeros or count 0.

    Args:
      factors: the served model.
      pulls: the right-hand sides of its equations, ``exchange(train, terms.target, factors)``.

    Returns:
      ``[U]`` and ``[I]`` booleans.
    """
    found = []
    for side, pull in zip(factors, pulls, strict=True):
        rows, wanted = (np.asarray(table).any(axis=1) for table in (side, pull))
        found.append(~rows & wanted & rows.any())
    return found[0], found[1]
