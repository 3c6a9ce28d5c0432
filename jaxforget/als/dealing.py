"""Host: deals the rows of a model to the devices of a mesh, each with its own interactions.

Each of ``P`` devices holds ``R`` rows of a side, in the table ``[P R, D]`` in which ``mesh`` keeps
the factors, and their interactions: every interaction is held twice, once by each side.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget import _checks
from jaxforget.sparse import layout
from jaxforget.types import Interactions, Side


class OneSide(NamedTuple):
    """The rows of one side, dealt to the devices; every array has the devices as its first axis."""

    train: Interactions  # [P, ...] of each device: its rows are users, all rows of the other, items
    slots: Array  # [P, M] int32, which interaction each of a device's is; N for padding
    rows: Array  # [P, R] int32, which row of the side each of a device's is; their number: padding


class Dealt(NamedTuple):
    """Both sides of the interactions."""

    users: OneSide
    items: OneSide


def deal(train: Interactions, n_devices: int) -> Dealt:
    """Deals rows by the length of their histories, so that all devices have like much to do.

    The longest history goes to the first device, the next to the second, and so on to the last and
    back again: numbers of rows are equal, sums of lengths nearly so.

    Args:
      train: the interactions.
      n_devices: of the mesh, at least 1.

    Returns:
      ``Dealt``, on the default device; ``mesh.spread`` makes an objective of it.

    Example:
      >>> train = layout.build([0, 0, 1, 2], [0, 1, 1, 0], [1.0, 1.0, 1.0, 1.0])
      >>> deal(train, 2).users.rows.tolist()  # user 0 has as many interactions as the two others
      [[0, 3], [1, 2]]
    """
    _checks.count("dealing.deal", 1, n_devices=n_devices)
    users, items = np.asarray(train.users), np.asarray(train.items)
    values, order = np.asarray(train.values), np.asarray(train.by_item.order)
    of_users, of_items = (
        _rows(np.diff(np.asarray(side.indptr)), n_devices)
        for side in (train.by_user, train.by_item)
    )
    users = _places(of_users, train.n_users)[users]
    items = _places(of_items, train.n_items)[items]
    by_item = (items[order], users[order], values[order], order)
    return Dealt(
        _one_side(users, items, values, np.arange(len(users)), of_users, of_items.size),
        _one_side(*by_item, of_items, of_users.size),
    )


def deal_users(train: Interactions, n_devices: int) -> OneSide:
    """Deals the users alone, for items that every device holds whole; see ``mesh_users``.

    Args:
      train: the interactions.
      n_devices: of the mesh, at least 1.

    Returns:
      ``OneSide``, each device's interactions in the order of users and in that of items.
    """
    _checks.count("dealing.deal_users", 1, n_devices=n_devices)
    users, items = np.asarray(train.users), np.asarray(train.items)
    rows = _rows(np.diff(np.asarray(train.by_user.indptr)), n_devices)
    places = _places(rows, train.n_users)[users]
    slots = np.arange(len(users))
    side = _one_side(places, items, np.asarray(train.values), slots, rows, train.n_items)
    return side._replace(train=_by_item_too(side.train))


def _by_item_too(train: Interactions) -> Interactions:
    """Adds the order of items to each device's interactions; its padding counts as the last's."""
    items, n_items = np.array(train.items), train.n_items
    for row, indptr in zip(items, np.asarray(train.by_user.indptr), strict=True):
        row[indptr[-1] :] = n_items - 1
    order = np.argsort(items, axis=1, kind="stable").astype(np.int32)
    users = np.take_along_axis(np.asarray(train.users), order, axis=1)
    counts = np.stack([np.bincount(row, minlength=n_items) for row in items])
    indptr = np.pad(np.cumsum(counts, axis=1), ((0, 0), (1, 0))).astype(np.int32)
    order, indptr, users = map(jnp.asarray, (order, indptr, users))
    nothing = jnp.zeros((len(items), 0), jnp.int32)
    side = Side(order, indptr, users, nothing, nothing, ())
    return dataclasses.replace(train, items=jnp.asarray(items), by_item=side)


def _rows(lengths: np.ndarray, n_devices: int) -> np.ndarray:
    """``[P, R]`` the rows of each device."""
    each = -(-len(lengths) // n_devices)
    rows = np.full(each * n_devices, len(lengths))
    rows[: len(lengths)] = np.argsort(-lengths, kind="stable")
    turns = rows.reshape(each, n_devices)
    turns[1::2] = turns[1::2, ::-1]  # back again, so that no device always gets the longer one
    return np.ascontiguousarray(turns.T).astype(np.int32)


def _places(rows: np.ndarray, n_rows: int) -> np.ndarray:
    """``[n_rows]`` where each row stands in the table ``[P R, D]``."""
    places = np.zeros(n_rows + 1, np.int32)  # the last one takes the padding
    places[rows.ravel()] = np.arange(rows.size, dtype=np.int32)
    return places[:-1]


def _one_side(own, column, values, slots, rows, n_other: int) -> OneSide:
    """The interactions of every device, sorted by its rows; all have the same shapes.

    ``own`` and ``column`` are places in the tables of this side and of the other one.
    """
    n_devices, each = rows.shape
    device, row = np.divmod(own, each)
    order = np.lexsort((column, row, device))
    counts = np.bincount(device, minlength=n_devices)
    parts = np.split(order, np.cumsum(counts)[:-1])
    lengths = [np.bincount(row[part], minlength=each) for part in parts]
    widths = layout.widths_of(np.concatenate(lengths)) if len(own) else ()
    most = int(counts.max(initial=0))

    def padded(array: np.ndarray, fill: int) -> Any:  # of numpy until all are stacked
        return np.pad(array, (0, most - len(array)), constant_values=fill).astype(array.dtype)

    nothing: Any = np.zeros(0, np.int32)
    no_rows: Any = np.zeros(n_other + 1, np.int32)
    empty = Side(nothing, no_rows, nothing, nothing, nothing, ())
    devices = []
    for part, length in zip(parts, lengths, strict=True):
        indptr: Any = np.append(0, np.cumsum(length)).astype(np.int32)
        own_order: Any = np.arange(most, dtype=np.int32)
        columns = padded(column[part].astype(np.int32), 0)
        side = Side(
            own_order,
            indptr,
            columns,
            *layout.rank(np, indptr, widths),
            widths,
        )
        devices.append(
            Interactions(
                padded(row[part].astype(np.int32), each - 1), columns, padded(values[part], 0),
                side, empty, n_users=each, n_items=n_other,
            )
        )  # fmt: skip
    stacked = jax.tree.map(lambda *arrays: jnp.asarray(np.stack(arrays)), *devices)
    which = np.stack([padded(slots[part].astype(np.int32), len(own)) for part in parts])
    return OneSide(stacked, jnp.asarray(which), jnp.asarray(rows))
