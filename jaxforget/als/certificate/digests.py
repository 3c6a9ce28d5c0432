"""Host: what a receipt names things by: SHA-256 of arrays, of requests, of data, of itself."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxforget.types import Interactions


def hash_arrays(*arrays: ArrayLike) -> str:
    """SHA-256 of arrays: their types, shapes and bytes, as hexadecimal digits."""
    state = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(array.tobytes())
    return state.hexdigest()


def hash_pairs(users: ArrayLike, items: ArrayLike, values: ArrayLike | None = None) -> str:
    """SHA-256 of a set of (user, item) pairs, with their values or without, in whatever order."""
    user_ids, item_ids = np.asarray(users, np.int64), np.asarray(items, np.int64)
    order = np.lexsort((item_ids, user_ids))
    more = () if values is None else (np.asarray(values, np.float64)[order],)
    return hash_arrays(user_ids[order], item_ids[order], *more)


def hash_data(train: Interactions, weights: ArrayLike) -> str:
    """SHA-256 of the remembered interactions and of the numbers of users and items."""
    remembered = np.asarray(weights) > 0
    size = np.array([train.n_users, train.n_items], np.int64)
    columns = (train.users, np.int64), (train.items, np.int64), (train.values, np.float64)
    return hash_arrays(size, *(np.asarray(column, dtype)[remembered] for column, dtype in columns))


def digest(receipt: Mapping[str, Any]) -> str:
    """SHA-256 of a receipt without its digest and signature, whatever the order of its keys."""
    return hashlib.sha256(canonical(receipt, without=("digest", "signature"))).hexdigest()


def canonical(receipt: Mapping[str, Any], *, without: tuple[str, ...]) -> bytes:
    """The bytes of a receipt that a digest or a signature is made from.

    Example:
      >>> canonical({"b": 1, "a": 2.5, "digest": "..."}, without=("digest",))
      b'{"a": 2.5, "b": 1}'
    """
    stated = {name: value for name, value in receipt.items() if name not in without}
    return json.dumps(stated, sort_keys=True, allow_nan=False).encode()
