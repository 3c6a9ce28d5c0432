"""Host: profiles planted to test a method: canaries, and profiles that are to do harm when deleted.

Shilling attacks, which promote an item, are in ``shilling``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget import _shares
from jaxforget.prepare import _profiles
from jaxforget.types import Interactions, Split


class Canaries(NamedTuple):
    """A split with planted profiles, parts of which are to be forgotten."""

    split: Split  # all three parts count the planted users; their ids follow the genuine ones
    genuine: Array  # [U] bool, False for a planted user
    users: Array  # [P] int32, of the pairs that are to be forgotten
    items: Array  # [P] int32
    pool: Array  # [I] bool, the items that profiles were drawn from


class Corruption(NamedTuple):
    """A split with planted profiles, all of which are to be forgotten."""

    split: Split
    genuine: Array  # [U] bool


def canaries(
    key: Array,
    split: Split,
    *,
    ratio: float | None = None,
    count: int | None = None,
    fillers: int,
    unpopular: float,
) -> Canaries:
    """Adds users whose items have nothing to do with each other, to see what a model memorises.

    A profile is ``fillers`` items drawn uniformly, at the highest training value, from the share
    ``unpopular`` of the items that have a positive value, those with the fewest. The request names
    half of each profile, rounded down. As every other item of the pool could as well have been in
    the profile, the rank of a forgotten one among them says whether it is remembered
    (``metrics.canaries.rank_exposure``).

    Args:
      key: typed JAX key; consumed.
      split: the genuine interactions; validation and test rows are unchanged.
      ratio: profiles as a share of the users, in (0, 1], rounded up.
      count: how many profiles instead. Give exactly one of the two.
      fillers: items of a profile, 2 or more, and fewer than the pool has.
      unpopular: share of the items, in (0, 1].

    Returns:
      The split and the request: ``forget.pairs(train, users, items)``.

    Raises:
      ValueError: a number out of range, or no positive value.

    Example:
      >>> from jaxforget.sparse import layout
      >>> part = layout.build([0, 0, 1, 1], [0, 1, 2, 3], [1.0, 1.0, 1.0, 1.0])
      >>> some = canaries(jax.random.key(0), Split(part, part, part), count=1, fillers=2,
      ...                 unpopular=1.0)
      >>> some.split.train.n_users, some.users.tolist(), some.pool.tolist()
      (3, [2], [True, True, True, True])

    Source: Carlini et al., The Secret Sharer, USENIX Security 2019, for profiles instead of text.
    """
    train = split.train
    _profiles.check("canaries", train.n_items, fillers, unpopular)
    count = _profiles.number("canaries", ratio, count, train.n_users)
    ties_key, items_key = jax.random.split(key)
    known = _profiles.by_popularity("canaries", ties_key, train)
    pool = known[len(known) - _shares.part(unpopular, len(known)) :]
    if not 1 < fillers < len(pool):
        raise ValueError(
            f"canaries: fillers must lie in [2, {len(pool) - 1}], half to be forgotten and fewer "
            f"than the {len(pool)} items that they are drawn from; got {fillers}"
        )
    items = _profiles.drawn(items_key, pool, count, fillers)
    planted = _profiles.added(split, items, _highest(train, items.shape))
    asked = items[:, : fillers // 2]
    users = np.repeat(np.arange(train.n_users, train.n_users + count), asked.shape[1])
    return Canaries(
        planted,
        jnp.arange(planted.train.n_users) < train.n_users,
        jnp.asarray(users, jnp.int32),
        jnp.asarray(asked.ravel(), jnp.int32),
        jnp.zeros(train.n_items, bool).at[pool].set(True),
    )


def corruption(
    key: Array, split: Split, *, ratio: float | None = None, count: int | None = None, fillers: int
) -> Corruption:
    """Adds users whose deletion is meant to do harm: they like what everybody likes.

    A profile is ``fillers`` items at the highest training value, drawn uniformly from the
    ``2 * fillers`` most popular ones (positive training values). Such profiles fit the model that
    is trained with them, and make no recommendation worse. When they are deleted, the rows of the
    items that most users read have to move, and a method that moves them too far harms everybody.

    Args:
      key: typed JAX key; consumed.
      split: the genuine interactions; validation and test rows are unchanged.
      ratio: profiles as a share of the users, in (0, 1], rounded up.
      count: how many profiles instead. Give exactly one of the two.
      fillers: items of a profile, 1 or more, and at most those that have a positive value.

    Returns:
      The split; forget it with ``shilling.request``.

    Raises:
      ValueError: a number out of range, or no positive value.

    Example:
      >>> from jaxforget.sparse import layout
      >>> part = layout.build([0, 0, 1], [0, 1, 1], [1.0, 1.0, 1.0])
      >>> some = corruption(jax.random.key(0), Split(part, part, part), count=2, fillers=1)
      >>> some.genuine.tolist()
      [True, True, False, False]

    Source: the attack of arXiv 2603.18570 on graph networks, whose profiles are optimised against
    a surrogate model; these follow a rule, so that no surrogate favours a method.
    """
    train = split.train
    _profiles.check("corruption", train.n_items, fillers)
    count = _profiles.number("corruption", ratio, count, train.n_users)
    ties_key, items_key = jax.random.split(key)
    popular = _profiles.by_popularity("corruption", ties_key, train)[: 2 * fillers]
    if len(popular) < fillers:
        raise ValueError(
            f"corruption: fillers must be at most {len(popular)}, the items with a positive value; "
            f"got {fillers}"
        )
    items = _profiles.drawn(items_key, popular, count, fillers)
    planted = _profiles.added(split, items, _highest(train, items.shape))
    return Corruption(planted, jnp.arange(planted.train.n_users) < train.n_users)


def _highest(train: Interactions, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(train.values)
    return np.full(shape, values.max(), values.dtype)
