"""How well scores predict labels or values of given interactions."""

import jax.numpy as jnp
from jax import Array

from jaxforget import _shares, _weights
from jaxforget._settings import checked
from jaxforget.sparse.arithmetic import ratio, widened
from jaxforget.sparse.serving import Served, scores_of
from jaxforget.types import ForgetSet, Interactions


def auc(scores: Array, labels: Array, where: Array) -> Array:
    """Area under the ROC curve: ``P(score of a positive > score of a negative)``, ties count half.

    Args:
      scores: ``[T]``.
      labels: ``[T]`` positive where > 0.
      where: ``[T]`` bool, rows that count.

    Returns:
      scalar; NaN where the rows that count are all of one class, for then it is not defined, and
      where a score that counts is not finite.

    Example:
      >>> s, y = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])
      >>> float(auc(s, y, jnp.ones(4, bool)))
      0.75
    """
    scores, where = widened(scores), _mask(where)
    known = jnp.all(jnp.isfinite(scores) | ~where)
    # rows that do not count are sorted last, where they change no rank of the others
    scores = jnp.where(where, scores, jnp.inf)
    ordered = jnp.sort(scores)
    below = jnp.searchsorted(ordered, scores, side="left").astype(jnp.int32)
    upto = jnp.searchsorted(ordered, scores, side="right").astype(jnp.int32)
    positive = where & (labels > 0)
    n_positive, n = (jnp.sum(x, dtype=scores.dtype) for x in (positive, where))
    # the mean rank of tied scores, less the mean of all ranks: small numbers keep their digits
    centred = (below + upto - jnp.sum(where, dtype=jnp.int32)).astype(scores.dtype) / 2
    lead = ratio(
        jnp.sum(jnp.where(positive, centred, 0)), n_positive * (n - n_positive), otherwise=jnp.nan
    )
    return jnp.where(known, lead + 0.5, jnp.nan)


def auc_between(higher: Array, counted: Array, lower: Array, among: Array) -> Array:
    """``P(a score of one set > a score of another)``, ties count half: ``auc`` of two known sets.

    Only the other set is sorted, so that the first may be long.

    Args:
      higher: ``[N]`` scores of the one set.
      counted: ``[N]`` bool, those that count.
      lower: ``[T]`` scores of the other set.
      among: ``[T]`` bool, those that count.

    Returns:
      scalar; NaN where nothing of a set counts or where a score that counts is not finite.

    Example:
      >>> yes = jnp.ones(2, bool)
      >>> float(auc_between(jnp.array([0.35, 0.8]), yes, jnp.array([0.1, 0.4]), yes))
      0.75
    """
    higher, lower = widened(higher), widened(lower)
    counted, among = _mask(counted), _mask(among)
    known = jnp.all(jnp.isfinite(higher) | ~counted) & jnp.all(jnp.isfinite(lower) | ~among)
    ordered = jnp.sort(jnp.where(among, lower, jnp.inf))  # those that do not count stand last
    n = jnp.sum(among, dtype=jnp.int32)
    below = jnp.searchsorted(ordered, higher, side="left").astype(jnp.int32)
    upto = jnp.searchsorted(ordered, higher, side="right").astype(jnp.int32)
    # less what half of them would be: small numbers keep their digits
    centred = (below + upto - n).astype(higher.dtype) / 2
    pairs = jnp.sum(counted, dtype=higher.dtype) * n.astype(higher.dtype)
    lead = ratio(jnp.sum(jnp.where(counted, centred, 0)), pairs, otherwise=jnp.nan)
    return jnp.where(known, lead + 0.5, jnp.nan)


@checked
def tpr_at_fpr(scores: Array, labels: Array, *, fpr: float) -> Array:
    """Share of the positives above a threshold that at most a share ``fpr`` of negatives is above.

    The threshold is the ``floor(fpr n) + 1``-th largest score of the n negatives; only what is
    strictly above it counts, so that ties never flatter.

    Args:
      scores: ``[T]``.
      labels: ``[T]`` positive where > 0.
      fpr: in [0, 1]. Of a Python number the count is exact; one in an array is read with the
        precision of the scores.

    Returns:
      scalar in [0, 1]; NaN where one of the classes is empty or a score is not finite.

    Raises:
      ValueError: ``fpr`` is out of range.

    Example:
      >>> s, y = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])
      >>> float(tpr_at_fpr(s, y, fpr=0.01)), float(tpr_at_fpr(s, y, fpr=0.5))
      (0.5, 1.0)
    """
    positive, scores = labels > 0, widened(scores)
    n_negative = jnp.sum(~positive, dtype=jnp.int32)
    negatives = jnp.sort(jnp.where(positive, -jnp.inf, scores), descending=True)
    if isinstance(fpr, (int, float)):  # the decimal that was written: .53 of 100 is 53
        place = _shares.below(fpr, n_negative)
    else:
        place = jnp.floor(fpr * n_negative.astype(scores.dtype)).astype(jnp.int32)
    last = negatives[jnp.clip(place, 0, len(scores) - 1)]
    threshold = jnp.where(place < n_negative, last, -jnp.inf)
    found = jnp.sum(positive & (scores > threshold), dtype=scores.dtype)
    share = ratio(found, jnp.sum(positive, dtype=scores.dtype), otherwise=jnp.nan)
    return jnp.where((n_negative > 0) & jnp.all(jnp.isfinite(scores)), share, jnp.nan)


def label_auc(factors: Served, part: Interactions, where: Array | None = None) -> Array:
    """AUC of the labels of some interactions, all users together.

    Args:
      factors: the model.
      part: interactions; positive where their value is > 0.
      where: ``[N]`` bool, interactions that count; all of them if None.

    Returns:
      scalar, as ``auc``.
    """
    where = jnp.ones(len(part.users), bool) if where is None else where
    return auc(scores_of(factors, part), part.values, where)


def remembered(part: Interactions, train: Interactions, weights: Array) -> Array:
    """Marks held-out rows whose user and item still have a training interaction to learn from.

    The others are what is left of somebody who was erased; nothing may be steered by them.

    Args:
      part: held-out interactions over the users and items of ``train``.
      train: the training interactions.
      weights: ``[N]`` 1 = remembered, 0 = forgotten.

    Returns:
      ``[T]`` bool.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 1], [0, 0], [1.0, 1.0])
      >>> remembered(train, train, jnp.array([1.0, 0.0])).tolist()
      [True, False]
    """
    users, items = jnp.zeros(train.n_users, bool), jnp.zeros(train.n_items, bool)
    kept = _weights.floating(train, weights) > 0
    users, items = users.at[train.users].max(kept), items.at[train.items].max(kept)
    return users[part.users] & items[part.items]


def touched(train: Interactions, forget: ForgetSet) -> tuple[Array, Array]:
    """Marks users ``[U]`` and items ``[I]`` that lose an interaction, whatever its value."""
    before, after = _weights.of_request(train, forget)
    lost = before > after
    users, items = jnp.zeros(train.n_users, bool), jnp.zeros(train.n_items, bool)
    return users.at[train.users].max(lost), items.at[train.items].max(lost)


def rmse(scores: Array, values: Array, where: Array) -> Array:
    """Root mean squared error: ``sqrt(mean (scores - values)^2)`` over the rows that count.

    Args:
      scores: ``[T]``.
      values: ``[T]``.
      where: ``[T]`` bool, rows that count.

    Returns:
      scalar, in the units of the values; NaN where no row counts, or where a score that counts is
      not finite.
    """
    scores, values, where = widened(scores), widened(values), _mask(where)
    squares = jnp.sum(jnp.where(where, (scores - values) ** 2, 0))
    known = jnp.all(jnp.isfinite(scores) | ~where)
    mean = ratio(squares, jnp.sum(where, dtype=scores.dtype), otherwise=jnp.nan)
    return jnp.where(known, jnp.sqrt(mean), jnp.nan)


def _mask(where: Array) -> Array:
    """Rows that count, as bool: of integers ``~`` would be no negation."""
    return jnp.asarray(where).astype(bool)
