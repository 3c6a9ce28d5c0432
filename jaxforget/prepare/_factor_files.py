"""Host: factors as arrays and files, with the names that ``implicit`` gives them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxforget.data import _whole
from jaxforget.data._lines import DAMAGE
from jaxforget.types import Factors

TABLES = ("user_factors", "item_factors")
UNWRITABLE = ("file", "allow_pickle")  # arguments of numpy.savez


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
    arrays = {name: getattr(model, name, None) for name in TABLES}
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

    ``implicit`` solves for users anew with the settings of the file, or else its defaults. A file
    that was there is replaced once the new one is whole.

    Args:
      path: of the file, as it stands: no suffix is added.
      factors: of a model.
      dtype: of the file; a receipt is about the numbers as they are there.
      like: the file that the model came from: its settings, which are single values, are kept.
      settings: such as ``{"regularization": 0.1, "alpha": 2.0}``; they come before ``like``.

    Raises:
      ValueError: ``like`` is no file of factors, or of another width, or has other arrays: they may
        hold what the new factors have forgotten.
      OSError: it cannot be written, and what was there is as it was.
    """
    width = factors.items.shape[1]
    kept: dict[str, Any] = {"factors": width} if like is None else load_settings(like)
    if like is not None and (there := load_factors(like).items.shape[1]) != width:
        raise ValueError(f"{like}: has {there} factors, the model to be written {width}")
    if others := [name for name, array in kept.items() if np.ndim(array)]:
        raise ValueError(
            f"{like}: has {', '.join(others)} beside its settings, which may hold what was "
            "forgotten: give what is to be kept as settings"
        )
    arrays: dict[str, Any] = kept | dict(settings or {}) | implicit_arrays(factors, dtype=dtype)
    with _whole.written(path) as file:  # given a name, NumPy might add a suffix to it
        np.savez(file, **arrays)


def load_factors(path: str | Path) -> Factors:
    """Reads an ``.npz`` of ``save_factors`` or of ``implicit``; runs no code from the file.

    Returns:
      Factors as NumPy arrays, in the precision of the file.

    Raises:
      ValueError: not such a file, or one with the array names that jaxforget 0.1 gave receipts.
    """
    try:
        with _whole.arrays(path) as arrays:
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


def load_settings(path: str | Path) -> dict[str, np.ndarray]:
    """What an ``.npz`` of factors holds beside them, such as ``regularization`` and ``alpha``.

    Raises:
      ValueError: as ``load_factors``; or there is an array that could not be kept: a third table of
        factors, or one with a name that NumPy cannot write.
    """
    load_factors(path)
    with _whole.arrays(path) as arrays:
        lost = [x for x in arrays if x.endswith("_factors") and x not in TABLES] + [
            x for x in arrays if x in UNWRITABLE
        ]
        if lost:
            raise ValueError(
                f"{path}: {', '.join(lost)} beside {' and '.join(TABLES)} would be lost or spoil "
                "the file: take it out, or rename what is no table of factors"
            )
        return {name: arrays[name] for name in arrays if name not in TABLES}


def from_arrays(arrays: Mapping[str, Any], origin: Any = "arrays") -> Factors:
    """Takes ``user_factors [U, D]`` and ``item_factors [I, D]`` from a mapping of arrays.

    Args:
      arrays: of whatever origin, such as a checkpoint reduced to two tables.
      origin: what to call them in an error.

    Raises:
      ValueError: one is missing, no table of finite floating-point numbers, or their widths differ.
    """
    return _factors(arrays, origin)


def _factors(arrays: Mapping[str, Any], origin: Any) -> Factors:
    users, items = (_to_numpy(arrays.get(name)) for name in TABLES)
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
