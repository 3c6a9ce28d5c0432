"""The rows that a step may change, and the rows that a request leaves with nothing."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxforget import _checks, _varying
from jaxforget.gradient.influence import importance
from jaxforget.sparse.degrees import degrees
from jaxforget.types import Factors, ForgetSet, Interactions, Model


class Region(NamedTuple):
    """The rows a step may change; ``rows`` lists them where their number is static."""

    users: Array  # [U] bool
    items: Array  # [I] bool
    rows: importance.Rows | None

    def down(self, vector: Factors) -> Factors:
        """Leaves the coordinates of the region: ``[K, D]`` listed rows, or zeros elsewhere."""
        if self.rows is not None:
            return importance.take(vector, self.rows)
        return Factors(
            jnp.where(self.users[:, None], vector.users, 0),
            jnp.where(self.items[:, None], vector.items, 0),
        )

    def up(self, vector: Factors) -> Factors:
        """Puts zeros outside the region: ``[U, D]`` and ``[I, D]`` from what ``down`` gave."""
        if self.rows is None:
            return vector
        sizes = len(self.users), len(self.items)
        zeros = (jnp.zeros((n, x.shape[1]), x.dtype) for n, x in zip(sizes, vector))
        return importance.put(Factors(*zeros), self.rows, vector)


def maps(region: Region | None) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """``down`` and ``up`` of the region; None is all rows, and both change nothing."""
    if region is None:
        return (lambda x: x), (lambda x: x)
    return region.down, region.up


def of_request(train: Interactions, forget: ForgetSet) -> Region:
    """The rows of the users and items that occur in the request."""
    scores = importance.reach(train, forget, hops=0)
    return Region(*importance.select(scores, keep=1.0), rows=None)


def chooser(
    owner: str,
    *,
    hops: int | None,
    keep: float | None,
    keep_request: bool | None,
    sizes: tuple[int, int] | None,
) -> Callable[[Interactions, ForgetSet], Region | None]:
    """Checks the settings that choose rows, and returns ``(train, forget) -> Region``.

    Args:
      owner: the method, for messages.
      hops: rows reached in so many steps along the interactions; None: every row, and the other
        settings would not be read.
      keep: share of the reached rows in (0, 1], the most important ones; 1 if None.
      keep_request: whether the request's own rows stay whatever their score; True if None.
      sizes: numbers of users and items instead of ``keep`` and ``keep_request``: static, so that
        the vectors of a solver have that size.

    Raises:
      ValueError: a setting is out of range, or would not be read.
    """
    if hops is None:
        why = "hops=None, which updates every row (give hops=0 or more)"
        _checks.unread(owner, why, keep=keep, keep_request=keep_request, sizes=sizes)
        return lambda train, forget: None
    _checks.not_negative(owner, hops=hops)
    if sizes is not None:
        _checks.unread(owner, "sizes", keep=keep, keep_request=keep_request)
    if keep is not None and not 0 < keep <= 1:
        raise _checks.SettingError(f"{owner}: keep must lie in (0, 1]; got {keep}")
    share, always = 1.0 if keep is None else keep, keep_request is not False

    def choose(train: Interactions, forget: ForgetSet) -> Region:
        scores = importance.reach(train, forget, hops=hops)
        if sizes is None:
            return Region(*importance.select(scores, keep=share, always=always), rows=None)
        rows = importance.top(scores, n_users=sizes[0], n_items=sizes[1])
        users, items = (
            jnp.zeros(n, bool).at[r].set(True, mode="drop")
            for n, r in zip((train.n_users, train.n_items), rows)
        )
        return Region(users, items, rows)

    return choose


def near(
    model: Model, train: Interactions, forget: ForgetSet, region: Region | None
) -> tuple[Interactions, ForgetSet]:
    """Leaves out the interactions that do not meet the region, where that changes no product.

    Along a graph a row moves the scores of its neighbours' interactions too, and a drawn opponent
    may be any item: there everything stays.
    """
    loss = model.margins
    if region is None or loss is None or loss.n_layers > 0 or loss.draws_items:
        return train, forget
    smaller, origin = importance.meeting(train, region.users, region.items)
    read = (x.at[origin].get(mode="fill", fill_value=0) for x in forget)
    return smaller, ForgetSet(*read)


def clear(
    model: Model,
    new: Any,
    params: Any,
    train: Interactions,
    forget: ForgetSet,
    region: Region | None,
) -> Any:
    """Sets the rows of ``new`` to 0 that the request leaves with nothing.

    Retraining starts such a row near 0 and never moves it. Where an interaction moves no other
    rows than its own, these are the rows that lose their last interaction; otherwise (BPR) those
    whose slope at ``params`` vanishes. A model whose parameters are no rows stays as it is.
    """
    if not model.by_row:
        return new
    if model.margins is not None and not model.margins.draws_items:
        old, left = (degrees(train, weights) for weights in forget)
        emptied = [(a > 0) & (b <= 0) for a, b in zip(old, left)]
    else:
        old, left = (
            _varying.grad(model.loss)(params, train, weights, weights) for weights in forget
        )
        emptied = [jnp.any(a != 0, axis=1) & jnp.all(b == 0, axis=1) for a, b in zip(old, left)]
    if region is not None:
        emptied = [rows & chosen for rows, chosen in zip(emptied, region[:2])]
    return Factors(*(jnp.where(rows[:, None], 0, x) for rows, x in zip(emptied, new)))
