"""Host: what the makers of injected profiles share: their number, their items, a longer split."""

import jax
import numpy as np
from jax import Array

from jaxforget import _checks, _shares
from jaxforget.sparse import layout
from jaxforget.types import Interactions, Split


def number(where: str, ratio: float | None, count: int | None, n_users: int) -> int:
    """How many profiles: ``count``, or a share of the users, rounded up."""
    if ratio is None and count is not None:
        _checks.count(where, 1, count=count)
        return int(count)
    if ratio is not None and count is None:
        _checks.share(where, ratio=ratio)
        return _shares.part(ratio, n_users)
    raise ValueError(f"{where}: give a ratio or a count of profiles; got {ratio} and {count}")


def check(where: str, n_items: int, fillers: int, unpopular: float = 1.0) -> None:
    """Refuses profiles that do not fit the catalogue."""
    _checks.count(where, 1, fillers=fillers)
    if fillers >= n_items:
        raise ValueError(f"{where}: fillers must lie in [1, {n_items - 1}]; got {fillers}")
    _checks.share(where, unpopular=unpopular)


def by_popularity(where: str, key: Array, train: Interactions) -> np.ndarray:
    """The items that have a positive training value, most popular first, ties at random."""
    positive = np.asarray(train.items)[np.asarray(train.values) > 0]
    popularity = np.bincount(positive, minlength=train.n_items)
    order = np.asarray(jax.random.permutation(key, train.n_items))
    order = order[np.argsort(-popularity[order], kind="stable")]
    order = order[popularity[order] > 0]
    if not len(order):
        raise ValueError(f"{where}: no item has a positive value, so there is none to choose")
    return order


def drawn(key: Array, items: np.ndarray, count: int, n_each: int) -> np.ndarray:
    """``[count, n_each]``: for every profile as many of some items, without replacement."""
    ids = jax.numpy.asarray(items, jax.numpy.int32)
    keys = jax.random.split(key, count)
    return np.asarray(jax.lax.map(lambda k: jax.random.permutation(k, ids)[:n_each], keys))


def added(split: Split, items: np.ndarray, values: np.ndarray) -> Split:
    """A split with one more user per row of ``items`` and ``values`` in its training part."""
    count, length = items.shape
    first, n_users = split.train.n_users, split.train.n_users + count
    users = np.repeat(np.arange(first, n_users), length)
    columns = users, items.ravel(), values.ravel()
    nothing = tuple(x[:0] for x in columns)
    return Split(
        train=_extended(split.train, columns, n_users),
        valid=_extended(split.valid, nothing, n_users),
        test=_extended(split.test, nothing, n_users),
    )


def _extended(part: Interactions, columns: tuple[np.ndarray, ...], n_users: int) -> Interactions:
    """A part with more rows and more users."""
    old = part.users, part.items, part.values
    longer = [np.concatenate([np.asarray(a), b]) for a, b in zip(old, columns, strict=True)]
    return layout.build(*longer, n_users=n_users, n_items=part.n_items)
