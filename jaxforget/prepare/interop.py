"""Host: exchange with pandas, SciPy, RecBole and ``implicit``, NumPy arrays in and out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxforget import _checks
from jaxforget.data._formats import read_recbole as from_recbole
from jaxforget.data._formats import write_recbole as to_recbole
from jaxforget.data._frame import encode, require
from jaxforget.data._lines import DAMAGE
from jaxforget.prepare.requests import read_pairs
from jaxforget.sparse import layout
from jaxforget.types import Factors, Interactions

__all__ = [
    "encode",
    "from_frame",
    "from_implicit",
    "from_recbole",
    "from_scipy",
    "implicit_arrays",
    "load_factors",
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
      frame: pandas, with the columns ``user``, ``item``, ``value``.
      n_users: number of users; the largest id + 1 if None.
      n_items: likewise for items.
      repeats: what to do with a pair that occurs more than once, as in ``layout.build``.

    Returns:
      The interactions.

    Raises:
      ValueError: a column is missing, or as ``layout.build``.
    """
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


def implicit_arrays(factors: Factors, *, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Factors as ``implicit`` names the arrays of its models.

    Args:
      factors: of a model.
      dtype: of the arrays; the models of ``implicit`` serve float32.
    """
    return {
        "user_factors": np.ascontiguousarray(factors.users, dtype=dtype),
        "item_factors": np.ascontiguousarray(factors.items, dtype=dtype),
    }


def from_implicit(model: Any) -> Factors:
    """Takes the factors of a fitted ``implicit`` model, or of the ``.npz`` it saved.

    Args:
      model: an object with ``user_factors`` and ``item_factors`` (of the CPU or the GPU kind), or
        the path of a saved one.

    Returns:
      Factors as NumPy arrays.

    Raises:
      ValueError: there are no such arrays, or their widths differ.
    """
    if isinstance(model, (str, Path)):
        return load_factors(model)
    arrays = {name: getattr(model, name, None) for name in ("user_factors", "item_factors")}
    return _factors(arrays, type(model).__name__)


def save_factors(
    path: str | Path,
    factors: Factors,
    *,
    dtype: Any = np.float32,
    like: str | Path | None = None,
    settings: Mapping[str, float] | None = None,
) -> None:
    """Writes factors as an ``.npz`` that ``implicit``'s ``AlternatingLeastSquares.load`` reads.

    ``implicit`` solves for users anew with the settings of the file, or else its defaults.

    Args:
      path: of the file, as it stands: no suffix is added.
      factors: of a model.
      dtype: of the file; the receipt of a certified deletion needs float64.
      like: the file that the model came from: its settings are kept.
      settings: such as ``{"regularization": 0.1, "alpha": 2.0}``; they come before ``like``.

    Raises:
      ValueError: ``like`` is no file of factors, or of another width.
    """
    width = factors.items.shape[1]
    kept: dict[str, Any] = {"factors": width} if like is None else _settings(like, width)
    arrays: dict[str, Any] = kept | dict(settings or {}) | implicit_arrays(factors, dtype=dtype)
    with open(path, "wb") as file:  # given a name, NumPy might add a suffix to it
        np.savez(file, **arrays)


def load_factors(path: str | Path) -> Factors:
    """Reads an ``.npz`` of ``save_factors`` or of ``implicit``; runs no code from the file.

    Returns:
      Factors as NumPy arrays, in the precision of the file.

    Raises:
      ValueError: not such a file, or one with the array names that jaxforget 0.1 gave receipts.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if {"users", "items"} <= set(arrays) and "user_factors" not in arrays:
                raise ValueError(
                    f"{path}: its arrays are called users and items, as jaxforget 0.1 wrote them; "
                    "save them again as user_factors=old['users'], item_factors=old['items']"
                )
            return _factors({name: arrays[name] for name in arrays if "factors" in name}, path)
    except (OSError, EOFError, ValueError, TypeError, AttributeError, *DAMAGE) as fault:
        if isinstance(fault, FileNotFoundError) or str(fault).startswith(str(path)):
            raise
        raise ValueError(f"{path}: not an .npz of factors: {fault}") from fault


def _settings(path: str | Path, width: int) -> dict[str, np.ndarray]:
    """What a file of factors holds beside them."""
    if (there := load_factors(path).items.shape[1]) != width:
        raise ValueError(f"{path}: has {there} factors, the model to be written {width}")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays if not name.endswith("_factors")}


def _kept(train: Interactions, weights: Any) -> Any:
    """Index of the interactions that have a weight."""
    if weights is None:
        return slice(None)
    _checks.weights("weights", weights, len(train.users))
    return np.asarray(weights) != 0


def _factors(arrays: Mapping[str, Any], origin: Any) -> Factors:
    users, items = (_to_numpy(arrays.get(name)) for name in ("user_factors", "item_factors"))
    if users.ndim != 2 or items.ndim != 2 or users.shape[1] != items.shape[1]:
        raise ValueError(
            f"{origin}: user_factors and item_factors must be [U, D] and [I, D]; got shapes "
            f"{users.shape} and {items.shape}"
        )
    for name, rows in (("user_factors", users), ("item_factors", items)):
        if rows.dtype.kind != "f":
            raise ValueError(f"{origin}: {name} must be floating-point numbers; got {rows.dtype}")
        if not np.isfinite(rows).all():
            raise ValueError(
                f"{origin}: {name} must be finite; row "
                f"{int(np.argmin(np.isfinite(rows).all(axis=1)))} is not: train again"
            )
    return Factors(users, items)


def _to_numpy(array: Any) -> Any:
    """A NumPy array of what may be ``implicit``'s array on a GPU; of no dimension for None."""
    return np.asarray(array.to_numpy() if hasattr(array, "to_numpy") else array)
