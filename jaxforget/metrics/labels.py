"""How well scores tell labels, or values, on some interactions."""

import jax.numpy as jnp
from jax import Array

from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, ForgetSet, Interactions


def auc(scores: Array, labels: Array, where: Array) -> Array:
    """Area under the ROC curve: ``P(score of a positive > score of a negative)``, ties count half.

    Args:
      scores: ``[T]``.
      labels: ``[T]`` positive where > 0.
      where: ``[T]`` bool, rows that count.

    Returns:
      scalar; NaN where only one class counts, for then it is not defined.

    Example:
      >>> s, y = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])
      >>> float(auc(s, y, jnp.ones(4, bool)))
      0.75
    """
    scores = jnp.where(where, scores, jnp.inf)  # after all others: their ranks do not change
    ordered = jnp.sort(scores)
    below = jnp.searchsorted(ordered, scores, side="left")
    upto = jnp.searchsorted(ordered, scores, side="right")
    rank = (below + upto + 1).astype(scores.dtype) / 2
    positive = where & (labels > 0)
    n_pos, n = (jnp.sum(x, dtype=scores.dtype) for x in (positive, where))
    pairs = n_pos * (n - n_pos)
    wins = jnp.sum(jnp.where(positive, rank, 0)) - n_pos * (n_pos + 1) / 2
    return jnp.where(pairs > 0, wins / jnp.where(pairs > 0, pairs, 1), jnp.nan)


def label_auc(factors: Factors, part: Interactions, where: Array | None = None) -> Array:
    """AUC of the labels of some interactions, all users together; ``where`` picks rows."""
    where = jnp.ones(len(part.users), bool) if where is None else where
    return auc(sddmm(part, *factors), part.values, where)


def touched(train: Interactions, forget: ForgetSet) -> tuple[Array, Array]:
    """Says which users ``[U]`` and items ``[I]`` occur in the request, whatever the labels."""
    gone = forget.before > forget.after
    users, items = jnp.zeros(train.n_users, bool), jnp.zeros(train.n_items, bool)
    return users.at[train.users].max(gone), items.at[train.items].max(gone)


def rmse(scores: Array, values: Array, where: Array) -> Array:
    """Root mean squared error over the rows that count; NaN where none does."""
    squares = jnp.where(where, (scores - values) ** 2, 0)
    return jnp.sqrt(jnp.sum(squares) / jnp.sum(where, dtype=scores.dtype))
