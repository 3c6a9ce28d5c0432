"""Everything a results table holds about one model."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _checks
from jaxforget.metrics import ranking
from jaxforget.metrics.distance import distance_on, prediction_distance
from jaxforget.metrics.labels import auc, rmse, touched
from jaxforget.metrics.rank_measures import auc_unseen, hit, mrr, ndcg, precision, recall
from jaxforget.sparse.arithmetic import ratio
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, ForgetSet, Interactions, Split

AT_K = {"recall": recall, "ndcg": ndcg, "precision": precision, "hit": hit, "mrr": mrr}


def evaluate(
    factors: Factors,
    split: Split,
    forget: ForgetSet,
    *,
    ks: Sequence[int] = (10, 20),
    reference: Factors | None = None,
) -> dict[str, Array]:
    """Measures everything a results table holds, as scalars.

    A held-out row of a user or of an item that loses every remembered interaction by the request
    does not count, whatever model is judged: it is part of what has to be forgotten, and no model
    without the user could serve it.

    The name of a measure ends in ``_valid`` for the validation part and in nothing for the test
    part:

    - ``recall@k``, ``ndcg@k``, ``precision@k``, ``hit@k``, ``mrr@k`` and ``auc_unseen``: means over
      the users with a relevant held-out item, of a ranking of the catalogue without the training
      items that are still remembered (and, for the test part, without the validation items).
      Without ``ks`` no ranking is made, which takes most of the time on a large catalogue.
    - ``auc`` of the labels and ``rmse`` of the values, over all rows of the part; ``auc_or`` over
      the rows whose user or item loses an interaction by the request, ``auc_and`` over those where
      both do (AUC_0 and AUC_1 of arXiv 2307.02147, as we read it).
    - ``score_forgotten``: mean score of the forgotten pairs. ``membership``: ``P(score of a
      forgotten pair > score of a test pair)`` over positive pairs, which is 0.5 up to sampling
      error for a model that never saw a random request.
    - With ``reference``: ``distance``, ``distance_forgotten``, ``distance_retained`` and
      ``distance_test`` of the predictions relative to it, and ``overlap@k`` of the top-k lists.

    Args:
      factors: the model to judge.
      split: training, validation and test interactions.
      forget: the request, in weights of the training interactions.
      ks: lengths of the lists that users are shown.
      reference: the model to compare with, such as the retrained one.

    Returns:
      ``{name: scalar}``; NaN where a measure is not defined (one class, an empty part) or where a
      score that it reads is not finite.

    Raises:
      ValueError: the weights of the request are not one in [0, 1] per training interaction, or
        ``after`` is above ``before``. Of traced weights only the shape is known: what is measured
        with others than these is undefined.

    Source: measures as in arXiv 2307.02147 and as usual in the field.
    """
    _checks.request("evaluate", *forget, len(split.train.users))
    # arrays of numpy would be asked for entries that only the compiled loops know
    factors, forget, reference = jax.tree.map(jnp.asarray, (factors, forget, reference))
    remembered = (split.train, forget.after)
    validated = (split.valid, jnp.ones_like(split.valid.values))
    in_test, in_valid = (_counted(part, split.train, forget) for part in (split.test, split.valid))
    found = {}
    for name, part, where, hidden in (
        ("", split.test, in_test, [remembered, validated]),
        ("_valid", split.valid, in_valid, [remembered]),
    ):
        if len(part.users):
            found |= _of_labels(factors, part, where, split.train, forget, name)
        if len(part.users) and ks:
            found |= _of_rankings(factors, part, where, hidden, name, ks)
    found |= _of_forgotten(factors, split, forget, in_test)
    if reference is not None:
        found |= _against(factors, reference, split, forget, in_test, ks)
    return found


def _counted(part: Interactions, train: Interactions, forget: ForgetSet) -> Array:
    """``[T]`` whether user and item of a row keep a training interaction, or had none before."""

    def emptied(ids: Array, size: int) -> Array:
        before, after = (jnp.zeros(size, bool).at[ids].max(weights > 0) for weights in forget)
        return before & ~after

    users, items = emptied(train.users, train.n_users), emptied(train.items, train.n_items)
    return ~(users[part.users] | items[part.items])


def _of_labels(
    factors: Factors,
    part: Interactions,
    where: Array,
    train: Interactions,
    forget: ForgetSet,
    name: str,
) -> dict[str, Array]:
    """How well the scores predict the values of a part; ``name`` is its suffix."""
    scores = sddmm(part, *factors)
    users, items = touched(train, forget)
    users, items = users[part.users], items[part.items]
    return {
        f"auc{name}": auc(scores, part.values, where),
        f"rmse{name}": rmse(scores, part.values, where),
        f"auc_or{name}": auc(scores, part.values, where & (users | items)),
        f"auc_and{name}": auc(scores, part.values, where & users & items),
    }


def _of_rankings(
    factors: Factors,
    part: Interactions,
    where: Array,
    hidden: ranking.Hidden,
    name: str,
    ks: Sequence[int],
) -> dict[str, Array]:
    """Means over users of what the ranking of the catalogue is worth on a part."""
    dtype = factors.users.dtype

    def measure(ranked: ranking.Ranked) -> dict[str, Array]:
        values = {f"{m}{name}@{k}": f(ranked, k=k) for m, f in AT_K.items() for k in ks}
        values |= {f"auc_unseen{name}": auc_unseen(ranked)}
        return {key: value.astype(dtype) for key, value in values.items()}

    return ranking.over_users(measure, factors, part, hidden, where)


def _of_forgotten(
    factors: Factors, split: Split, forget: ForgetSet, counts: Array
) -> dict[str, Array]:
    """How the forgotten pairs are scored, and whether that sets them apart from test pairs."""
    forgotten, scores = forget.before - forget.after, sddmm(split.train, *factors)
    total = jnp.sum(jnp.where(forgotten > 0, forgotten * scores, 0))
    mean = ratio(total, jnp.sum(forgotten), otherwise=jnp.nan)
    if not len(split.test.users):
        return {"score_forgotten": mean}
    scores = jnp.concatenate([scores, sddmm(split.test, *factors)])
    labels = jnp.concatenate([forgotten, jnp.zeros_like(split.test.values)])
    positive = jnp.concatenate([split.train.values, split.test.values]) > 0
    compared = jnp.concatenate([forgotten > 0, counts])
    return {"score_forgotten": mean, "membership": auc(scores, labels, compared & positive)}


def _against(
    factors: Factors,
    reference: Factors,
    split: Split,
    forget: ForgetSet,
    counts: Array,
    ks: Sequence[int],
) -> dict[str, Array]:
    """How far the predictions and the lists are from those of another model."""
    parts = {
        "forgotten": (split.train, forget.before - forget.after),
        "retained": (split.train, forget.after),
        "test": (split.test, counts.astype(factors.users.dtype)),
    }
    found = {"distance": prediction_distance(factors, reference)}
    for name, (pairs, weights) in parts.items():
        found[f"distance_{name}"] = distance_on(factors, reference, pairs, weights)
    if ks:
        shared = ranking.overlap(factors, reference, [(split.train, forget.after)], ks=ks)
        found |= {f"overlap@{k}": value for k, value in shared.items()}
    return found
