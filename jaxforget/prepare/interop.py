"""Host: exchange with pandas, SciPy, RecBole and ``implicit``, NumPy arrays in and out."""

from typing import Any

import numpy as np

from jaxforget import _checks
from jaxforget.data._formats import read_recbole as from_recbole
from jaxforget.data._frame import as_pandas, encode, require
from jaxforget.data._written import write_recbole as to_recbole
from jaxforget.prepare._factor_files import (
    from_arrays,
    from_implicit,
    implicit_arrays,
    load_factors,
    load_settings,
    save_factors,
)
from jaxforget.prepare.requests import read_pairs
from jaxforget.sparse import layout
from jaxforget.types import Interactions

__all__ = [
    "encode",
    "from_arrays",
    "from_frame",
    "from_implicit",
    "from_recbole",
    "from_scipy",
    "implicit_arrays",
    "load_factors",
    "load_settings",
    "read_pairs",
    "save_factors",
    "to_frame",
    "to_recbole",
    "to_scipy",
]


def from_frame(
    frame: Any,
    *,
    n_users: int | None = None,
    n_items: int | None = None,
    repeats: layout.Repeats = "refuse",
) -> Interactions:
    """Reads a frame whose ids are numbers from 0 already; others go through ``encode``.

    Args:
      frame: pandas, Polars or Arrow, with the columns ``user``, ``item``, ``value``.
      n_users: number of users; the largest id + 1 if None.
      n_items: likewise for items.
      repeats: what to do with a pair that occurs more than once, as in ``layout.build``.

    Returns:
      The interactions.

    Raises:
      ValueError: a column is missing, or as ``layout.build``.
    """
    frame = as_pandas(frame)
    require(frame)
    users, items, values = (frame[name].to_numpy() for name in ("user", "item", "value"))
    return layout.build(users, items, values, n_users=n_users, n_items=n_items, repeats=repeats)


def to_frame(
    train: Interactions,
    *,
    users: np.ndarray | None = None,
    items: np.ndarray | None = None,
    weights: Any = None,
) -> Any:
    """Writes the interactions as a frame with the columns ``user``, ``item``, ``value``.

    Args:
      train: the interactions.
      users: ``[U]`` original ids to write instead of the numbers.
      items: ``[I]`` likewise.
      weights: ``[N]``; rows of weight 0 are left out, as if never loaded.

    Returns:
      A frame, sorted by (user, item).
    """
    import pandas as pd

    kept = _kept(train, weights)
    ids = [np.asarray(train.users)[kept], np.asarray(train.items)[kept]]
    original = [
        numbers if labels is None else np.asarray(labels)[numbers]
        for numbers, labels in zip(ids, (users, items), strict=True)
    ]
    values = np.asarray(train.values)[kept]
    return pd.DataFrame({"user": original[0], "item": original[1], "value": values})


def from_scipy(matrix: Any, *, repeats: layout.Repeats = "sum") -> Interactions:
    """Reads the stored cells of a SciPy sparse matrix ``[U, I]``, stored zeros included.

    Args:
      matrix: of any format.
      repeats: what to do with a cell that is stored more than once, as in ``layout.build``. SciPy
        itself takes the sum for the value of such a cell, and so does the default.

    Returns:
      The interactions.

    Raises:
      ValueError: as ``layout.build``.
    """
    cells = matrix.tocoo()
    n_users, n_items = cells.shape
    return layout.build(
        cells.row, cells.col, cells.data, n_users=n_users, n_items=n_items, repeats=repeats
    )


def to_scipy(train: Interactions, weights: Any = None) -> Any:
    """Writes the interactions as a ``[U, I]`` ``csr_matrix``, the form that ``implicit`` takes.

    Args:
      train: the interactions.
      weights: ``[N]``; interactions of weight 0 are left out, as if never loaded.
    """
    import scipy.sparse

    kept = _kept(train, weights)
    per_user = np.bincount(np.asarray(train.users)[kept], minlength=train.n_users)
    indptr = np.append(0, np.cumsum(per_user)).astype(np.int32)
    # copies: what JAX gives is read-only, and the loops of ``implicit`` refuse that
    cells = (np.array(train.values)[kept], np.array(train.items)[kept], indptr)
    return scipy.sparse.csr_matrix(cells, shape=(train.n_users, train.n_items))


def _kept(train: Interactions, weights: Any) -> Any:
    """Index of the interactions that have a weight."""
    if weights is None:
        return slice(None)
    _checks.weights("weights", weights, len(train.users))
    return np.asarray(weights) != 0
