"""Host: shilling attacks, profiles injected to promote one item, and the request to forget them."""

import math
from fractions import Fraction
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget.sparse import layout
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
      unpopular: the target is drawn among this share of the items met with a positive value,
        those met least often; in (0, 1].

    Returns:
      the attack; forget it with ``request``.

    Raises:
      ValueError: another kind, or a number out of range.

    Example:
      >>> from jaxforget.sparse import layout
      >>> part = layout.build([0, 0, 1], [0, 1, 2], [1.0, 1.0, 1.0])
      >>> found = inject(jax.random.key(0), Split(part, part, part), kind="random", count=2,
      ...                fillers=1, unpopular=1.0)
      >>> found.split.train.n_users, len(found.split.train.users), found.genuine.tolist()
      (4, 7, [True, True, False, False])

    Source: Mobasher, Burke, Bhaumik, Williams, ACM Trans. Internet Technol. 7(4), 2007; Lam, Riedl, WWW 2004.
    """
    train = split.train
    if kind not in ("random", "bandwagon"):
        raise ValueError(f'kind must be "random" or "bandwagon"; got {kind!r}')
    if not 0 < fillers < train.n_items:
        raise ValueError(f"fillers must lie in [1, {train.n_items - 1}]; got {fillers}")
    if not 0 < unpopular <= 1:
        raise ValueError(f"unpopular must lie in (0, 1]; got {unpopular}")
    count = _count(ratio, count, train.n_users)
    of_target, of_profiles, of_values = jax.random.split(key, 3)
    target, popular = _target(of_target, train, unpopular)
    chosen = popular[popular != target][: fillers // 2 if kind == "bandwagon" else 0]
    items = _profiles(of_profiles, train.n_items, target, chosen, count, fillers)
    values = _values(of_values, train, items.shape, 1 + len(chosen))
    genuine = np.arange(train.n_users + count) < train.n_users
    added = np.repeat(np.flatnonzero(~genuine), items.shape[1]), items.ravel(), values.ravel()
    parts = [_with(train, *added, len(genuine))]
    parts += [_with(part, *(x[:0] for x in added), len(genuine)) for part in split[1:]]
    return Attack(Split(*parts), jnp.asarray(target, jnp.int32), jnp.asarray(genuine))


def request(train: Interactions, genuine: Array) -> ForgetSet:
    """Forgets every interaction of the injected users."""
    kept = genuine[train.users].astype(train.values.dtype)
    return ForgetSet(jnp.ones_like(kept), kept)


def _count(ratio, count, n_users):
    """How many profiles."""
    if (ratio is None) == (count is None):
        raise ValueError(f"give a ratio or a count of profiles; got {ratio} and {count}")
    if count is not None and (not isinstance(count, int) or count < 1):
        raise ValueError(f"count must be an integer, 1 or more; got {count!r}")
    if ratio is not None and not 0 < ratio <= 1:
        raise ValueError(f"ratio must lie in (0, 1]; got {ratio}")
    return count or math.ceil(Fraction(ratio).limit_denominator(10**9) * n_users)


def _target(key, train, unpopular):
    """The promoted item, and all items that were met, the most popular first, ties at random."""
    of_ties, of_choice = jax.random.split(key)
    met = np.bincount(
        np.asarray(train.items)[np.asarray(train.values) > 0], minlength=train.n_items
    )
    order = np.asarray(jax.random.permutation(of_ties, train.n_items))
    order = order[np.argsort(-met[order], kind="stable")]
    order = order[met[order] > 0]
    if not len(order):
        raise ValueError("no item was met with a positive value: nothing to attack")
    among = int(np.ceil(unpopular * len(order)))
    return int(order[len(order) - 1 - int(jax.random.randint(of_choice, (), 0, among))]), order


def _profiles(key, n_items, target, chosen, count, fillers):
    """Items of every profile, ``[count, 1 + fillers]``: the target, the chosen, then random ones."""
    others = np.setdiff1d(np.arange(n_items), np.append(chosen, target))
    free = fillers - len(chosen)
    drawn = jax.lax.map(
        lambda k: jax.random.permutation(k, jnp.asarray(others, jnp.int32))[:free],
        jax.random.split(key, count),
    )
    fixed = np.tile(np.append(target, chosen).astype(np.int32), (count, 1))
    return np.concatenate([fixed, np.asarray(drawn)], axis=1)


def _values(key, train, shape, n_highest):
    """The highest value for the target and the chosen, values of the training set for the rest."""
    given = np.asarray(train.values)
    drawn = given[np.asarray(jax.random.randint(key, shape, 0, len(given)))]
    return np.where(np.arange(shape[1])[None] < n_highest, given.max(), drawn)


def _with(part, users, items, values, n_users):
    """A part with more rows and more users."""
    ours = (np.asarray(x) for x in (part.users, part.items, part.values))
    columns = [np.concatenate(pair) for pair in zip(ours, (users, items, values), strict=True)]
    return layout.build(*columns, n_users=n_users, n_items=part.n_items)
