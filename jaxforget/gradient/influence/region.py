"""The rows that a step may change."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget.gradient import losses
from jaxforget.gradient.influence import importance
from jaxforget.sparse.degrees import degrees
from jaxforget.types import Factors, ForgetSet, Interactions


class Region(NamedTuple):
    """The rows a step may change; ``rows`` where their number is static."""

    users: Array  # [U] bool
    items: Array  # [I] bool
    rows: importance.Rows | None

    def down(self, vector: Factors) -> Factors:
        """Leaves the coordinates of the region."""
        if self.rows is not None:
            return importance.take(vector, self.rows)
        pairs = zip(vector, (self.users, self.items))
        return Factors(*(jnp.where(kept[:, None], x, 0) for x, kept in pairs))

    def up(self, vector: Factors) -> Factors:
        """Puts zeros outside the region."""
        if self.rows is None:
            return vector
        sizes = len(self.users), len(self.items)
        zeros = Factors(*(jnp.zeros((n, x.shape[1]), x.dtype) for n, x in zip(sizes, vector)))
        return importance.put(zeros, self.rows, vector)


def maps(region: Region | None) -> tuple[Callable, Callable]:
    """``down`` and ``up`` of the region; None is all rows, and both change nothing."""
    return (region.down, region.up) if region is not None else (lambda x: x, lambda x: x)


def choose(train: Interactions, forget: ForgetSet, *, hops: int, keep: float,
           sizes: tuple[int, int] | None, keep_asked: bool) -> Region:  # fmt: skip
    """Chooses the rows to update by importance; see ``importance.reach``, ``select``, ``top``."""
    found = importance.reach(train, forget, hops=hops)
    if sizes is None:
        return Region(*importance.select(found, keep=keep, always=keep_asked), None)
    rows = importance.top(found, n_users=sizes[0], n_items=sizes[1])
    pairs = zip((train.n_users, train.n_items), rows)
    return Region(*(jnp.zeros(n, bool).at[r].set(True, mode="drop") for n, r in pairs), rows)


def near(loss: Any, train: Interactions, forget: ForgetSet,
         region: Region | None) -> tuple[Interactions, ForgetSet]:  # fmt: skip
    """Leaves out what does not meet the region, where that is exact: cross-entropy without a graph.

    Along a graph a row moves the scores of its neighbours' interactions too, and a drawn opponent
    may be any item: there everything stays.
    """
    local = isinstance(loss, losses.CrossEntropy) and loss.n_layers == 0
    if region is None or not local:
        return train, forget
    smaller, places = importance.meeting(train, region.users, region.items)
    read = (x.at[places].get(mode="fill", fill_value=0) for x in forget)
    return smaller, ForgetSet(*read)


def clear(new: Any, loss: Any, params: Any, train: Interactions, forget: ForgetSet,
          region: Region | None) -> Any:  # fmt: skip
    """Sets rows of ``new`` to 0 that the request leaves with nothing: retraining starts them near 0.

    By degree for cross-entropy, otherwise by slope at ``params`` (BPR moves a drawn opponent too).
    """
    if not isinstance(params, Factors):
        return new
    if isinstance(loss, losses.CrossEntropy):
        old, left = (degrees(train, weights) for weights in forget)
        gone = [(a > 0) & (b <= 0) for a, b in zip(old, left)]
    else:
        old, left = (jax.grad(loss)(params, train, weights, weights) for weights in forget)
        gone = [jnp.any(a != 0, axis=1) & jnp.all(b == 0, axis=1) for a, b in zip(old, left)]
    if region is not None:
        gone = [rows & kept for rows, kept in zip(gone, region[:2])]
    return Factors(*(jnp.where(rows[:, None], 0, x) for rows, x in zip(gone, new)))


def _chosen(scale: Factors, region: Region) -> Factors:
    """The scale on the chosen rows; 1 in unused places, which must not divide by 0."""
    return jax.tree.map(lambda x: jnp.where(x > 0, x, 1), region.down(scale))
