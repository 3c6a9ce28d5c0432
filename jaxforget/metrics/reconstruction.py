"""What one who sees a model before and after a request learns of what was deleted.

The observer holds the item tables of both, as they were served, and no user's row. These are the
best attacks that we know of, one per kind of table; there may be better ones.
"""

import jax.numpy as jnp
from jax import Array

from jaxforget.metrics.labels import auc
from jaxforget.sparse.arithmetic import ratio, times, widened


def moved_rows(before: Array, after: Array) -> Array:
    """How far the row of each item moved, for tables of factors: ``|y'_i R - y_i|``.

    Exact deletion of a user moves the items of that user most: of the equations of all others only
    the shared part changes. ``R`` is the rotation that brings the tables nearest to each other
    (Procrustes), as two trainings may end in rotated tables.

    Args:
      before: ``[I, D]`` items of the first model.
      after: ``[I, D]`` items of the second.

    Returns:
      ``[I]``, to rank items by.

    Raises:
      ValueError: the tables are not of one shape.

    Example:
      >>> before = jnp.array([[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]])
      >>> turned = before @ jnp.array([[0.0, 1.0], [-1.0, 0.0]])
      >>> bool(jnp.all(moved_rows(before, turned) < 1e-6))
      True
    """
    _same("moved_rows", before, after)
    left, _, right = jnp.linalg.svd(times(after.T, before), full_matrices=False)
    return jnp.linalg.norm(times(after, times(left, right)) - before, axis=1)


def moved_counts(before: Array, after: Array) -> Array:
    """How far the co-occurrences of each item changed, for item-item matrices of EASE.

    ``(I - B)^-1 = diag(P) (G + reg I)`` with ``G = X' X``: divided by its diagonal, row ``i`` is
    ``G_ij / (G_ii + reg)``. It changes where a deleted user had item ``i``, and nowhere else: what
    is deleted can be read off to the last item, as far as rounding allows.

    Args:
      before: ``[I, I]``, B of the first model.
      after: ``[I, I]``, of the second.

    Returns:
      ``[I]``, to rank items by.

    Raises:
      ValueError: the matrices are not of one shape.
    """
    _same("moved_counts", before, after)

    def shares(matrix: Array) -> Array:
        eye = jnp.eye(len(matrix), dtype=matrix.dtype)
        whole = jnp.linalg.inv(eye - matrix)
        return whole / jnp.diag(whole)[:, None]

    return jnp.linalg.norm(shares(after) - shares(before), axis=1)


def r_precision(scores: Array, truth: Array) -> Array:
    """Share of the R best-ranked items that are true, R being how many are true.

    Of items that tie over the last places each counts by its chance to be among them.

    Args:
      scores: ``[I]``.
      truth: ``[I]`` bool.

    Returns:
      scalar in [0, 1]; NaN where nothing is true or a score is not finite.

    Example:
      >>> round(float(r_precision(jnp.array([3.0, 2.0, 1.0]), jnp.array([True, False, True]))), 2)
      0.5
    """
    scores, truth = widened(scores), truth.astype(bool)
    n_true = jnp.sum(truth, dtype=jnp.int32)
    ordered = jnp.sort(scores, descending=True)
    least = ordered[jnp.maximum(n_true - 1, 0)]
    above, level = scores > least, scores == least
    places = n_true - jnp.sum(above, dtype=jnp.int32)
    chance = ratio(places.astype(scores.dtype), jnp.sum(level, dtype=scores.dtype))
    found = jnp.sum(truth & above, dtype=scores.dtype)
    found = found + chance * jnp.sum(truth & level, dtype=scores.dtype)
    share = ratio(found, n_true.astype(scores.dtype), otherwise=jnp.nan)
    return jnp.where(jnp.all(jnp.isfinite(scores)), share, jnp.nan)


def recovered(scores: Array, truth: Array) -> tuple[Array, Array]:
    """``r_precision`` and the AUC of items ``[I]`` ranked by scores, deleted ones being true."""
    everything = jnp.ones(len(scores), bool)
    return r_precision(scores, truth), auc(scores, truth.astype(scores.dtype), everything)


def _same(owner: str, before: Array, after: Array) -> None:
    if before.shape != after.shape:
        raise ValueError(
            f"{owner}: the tables are of {before.shape[0]} and {after.shape[0]} items and "
            f"{before.shape[1]} and {after.shape[1]} columns; both must be of the same"
        )
