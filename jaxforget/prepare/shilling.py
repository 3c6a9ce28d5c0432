"""Host: shilling attacks, profiles injected to promote one item, and the request to forget them."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget import _checks, _shares
from jaxforget.prepare import _profiles
from jaxforget.types import ForgetSet, Interactions, Split


class Attack(NamedTuple):
    """A split whose training part holds injected profiles."""

    split: Split  # all three parts count the injected users; their ids follow the genuine ones
    target: Array  # int32 scalar, the promoted item
    genuine: Array  # [U] bool, False for an injected user


def inject(
    key: Array,
    split: Split,
    *,
    kind: Literal["random", "bandwagon"],
    ratio: float | None = None,
    count: int | None = None,
    fillers: int,
    unpopular: float,
) -> Attack:
    """Adds shilling profiles to the training part; validation and test rows are unchanged.

    A profile is a new user with the target item at the highest training value and ``fillers``
    other items. ``random``: fillers drawn uniformly, with values drawn from those of the training
    interactions. ``bandwagon``: half of the fillers, rounded down, are the most popular items at
    the highest value, the rest as in ``random``. Popularity counts positive training values.

    Args:
      key: typed JAX key; consumed.
      split: the genuine interactions.
      kind: the attack.
      ratio: profiles as a share of the users, in (0, 1], rounded up.
      count: how many profiles instead. Give exactly one of the two.
      fillers: items of a profile beside the target, 1 or more.
      unpopular: the target is drawn from this share, in (0, 1], of the items that have a positive
        value, those with the fewest.

    Returns:
      The attack; forget it with ``request``.

    Raises:
      ValueError: another kind, a number out of range, no positive value, or too few items with one
        for the popular half of ``bandwagon``.

    Example:
      >>> from jaxforget.sparse import layout
      >>> part = layout.build([0, 0, 1], [0, 1, 2], [1.0, 1.0, 1.0])
      >>> attack = inject(jax.random.key(0), Split(part, part, part), kind="random", count=2,
      ...                 fillers=1, unpopular=1.0)
      >>> attack.split.train.n_users, len(attack.split.train.users), attack.genuine.tolist()
      (4, 7, [True, True, False, False])

    Source: Mobasher, Burke, Bhaumik, Williams, ACM Trans. Internet Technol. 7(4), 2007; Lam, Riedl,
    WWW 2004.
    """
    train = split.train
    _checks.choice("inject", ("random", "bandwagon"), kind=kind)
    _profiles.check("inject", train.n_items, fillers, unpopular)
    count = _profiles.number("inject", ratio, count, train.n_users)
    target_key, items_key, values_key = jax.random.split(key, 3)
    target, popular = _target(target_key, train, unpopular)
    half = fillers // 2 if kind == "bandwagon" else 0
    chosen = popular[popular != target][:half]
    if len(chosen) < half:
        raise ValueError(
            f"inject: bandwagon takes half of {fillers} fillers from the items with a positive "
            f"value beside the target, of which there are {len(chosen)}: give fewer fillers"
        )
    items = _items(items_key, train.n_items, target, chosen, count, fillers)
    values = _values(values_key, train, items.shape, 1 + len(chosen))
    attacked = _profiles.added(split, items, values)
    genuine = jnp.arange(attacked.train.n_users) < train.n_users
    return Attack(attacked, jnp.asarray(target, jnp.int32), genuine)


def request(train: Interactions, genuine: Array) -> ForgetSet:
    """Forgets every interaction of the injected users."""
    kept = genuine[train.users].astype(train.values.dtype)
    return ForgetSet(jnp.ones_like(kept), kept)


def _target(key: Array, train: Interactions, unpopular: float) -> tuple[int, np.ndarray]:
    """The promoted item, and all that have a positive value, most popular first, ties at random."""
    ties_key, choice_key = jax.random.split(key)
    order = _profiles.by_popularity("inject", ties_key, train)
    last = _shares.part(unpopular, len(order))  # the target is among so many at the end
    return int(order[len(order) - 1 - int(jax.random.randint(choice_key, (), 0, last))]), order


def _items(
    key: Array, n_items: int, target: int, chosen: np.ndarray, count: int, fillers: int
) -> np.ndarray:
    """Items of every profile, ``[count, 1 + fillers]``: target, chosen ones, then random ones."""
    others = np.setdiff1d(np.arange(n_items), np.append(chosen, target))
    random = _profiles.drawn(key, others, count, fillers - len(chosen))
    fixed = np.tile(np.append(target, chosen).astype(np.int32), (count, 1))
    return np.concatenate([fixed, random], axis=1)


def _values(key: Array, train: Interactions, shape: tuple[int, ...], n_highest: int) -> np.ndarray:
    """Values of every profile: the highest first ``n_highest`` times, then those of random rows."""
    values = np.asarray(train.values)
    drawn = values[np.asarray(jax.random.randint(key, shape, 0, len(values)))]
    return np.where(np.arange(shape[1])[None] < n_highest, values.max(), drawn)
