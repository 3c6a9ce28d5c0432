"""Everything a results table holds about one model."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _checks, _weights
from jaxforget.metrics import _fits, distance, ranking
from jaxforget.metrics.labels import auc, auc_between, rmse, touched
from jaxforget.metrics.rank_measures import auc_unseen, hit, mrr, ndcg, precision, recall
from jaxforget.sparse import serving
from jaxforget.sparse.arithmetic import ratio, wide, widened
from jaxforget.sparse.serving import Served
from jaxforget.types import ForgetSet, Interactions, Split

AT_K = {"recall": recall, "ndcg": ndcg, "precision": precision, "hit": hit, "mrr": mrr}


def evaluate(
    factors: Served,
    split: Split,
    forget: ForgetSet,
    *,
    ks: Sequence[int] = (10, 20),
    reference: Served | None = None,
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
      factors: the model to judge: ``Factors``, or what scores on demand (``serving.OnDemand``).
      split: training, validation and test interactions.
      forget: the request, in weights of the training interactions.
      ks: lengths of the lists that users are shown.
      reference: the model to compare with, such as the retrained one.

    Returns:
      ``{name: scalar}``; NaN where a measure is not defined (one class, an empty part) or where a
      score that it reads is not finite.

    Raises:
      ValueError: the weights of the request are not one in [0, 1] per training interaction, or
        ``after`` is above ``before``; or a model has other numbers of users and items than the
        split. Of traced weights only the shape is known: what is measured with others than these
        is undefined.

    Source: measures as in arXiv 2307.02147 and as usual in the field.
    """
    _checks.request("evaluate", *forget, len(split.train.users))
    goal = factors if reference is None else reference
    _fits.check("evaluate", factors, train=split.train, reference=goal)
    # arrays of numpy would be asked for entries that only the compiled loops know
    factors, reference = jax.tree.map(jnp.asarray, (factors, reference))
    forget = _weights.of_request(split.train, forget)
    remembered = (split.train, forget.after)
    validated = (split.valid, jnp.ones_like(split.valid.values))
    in_test, in_valid = (_counted(part, split.train, forget) for part in (split.test, split.valid))
    scores = _scores(factors, split)
    found = {}
    for name, part, where, hidden in (
        ("", split.test, in_test, [remembered, validated]),
        ("_valid", split.valid, in_valid, [remembered]),
    ):
        if len(part.users):
            own = scores.valid if name else scores.test
            found |= _of_labels(own, part, where, split.train, forget, name)
        if len(part.users) and ks:
            found |= _of_rankings(factors, part, where, hidden, name, ks)
    found |= _of_forgotten(scores, split, forget, in_test)
    if reference is not None:
        found["distance"] = distance.prediction_distance(factors, reference)
        found |= _on_parts(scores, _scores(reference, split), reference, forget, in_test)
        if ks:
            shared = ranking.overlap(factors, reference, [remembered], ks=ks)
            found |= {f"overlap@{k}": value for k, value in shared.items()}
    return found


class Scores(NamedTuple):
    """What a model predicts for the pairs of each part of a split."""

    train: Array
    valid: Array
    test: Array


def _scores(served: Served, split: Split) -> Scores:
    return Scores(*(serving.scores_of(served, part) for part in split))


def _counted(part: Interactions, train: Interactions, forget: ForgetSet) -> Array:
    """``[T]`` whether user and item of a row keep a training interaction, or had none before."""

    def emptied(ids: Array, size: int) -> Array:
        before, after = (jnp.zeros(size, bool).at[ids].max(weights > 0) for weights in forget)
        return before & ~after

    users, items = emptied(train.users, train.n_users), emptied(train.items, train.n_items)
    return ~(users[part.users] | items[part.items])


def _of_labels(
    scores: Array,
    part: Interactions,
    where: Array,
    train: Interactions,
    forget: ForgetSet,
    name: str,
) -> dict[str, Array]:
    """How well the scores predict the values of a part; ``name`` is its suffix."""
    users, items = touched(train, forget)
    users, items = users[part.users], items[part.items]
    return {
        f"auc{name}": auc(scores, part.values, where),
        f"rmse{name}": rmse(scores, part.values, where),
        f"auc_or{name}": auc(scores, part.values, where & (users | items)),
        f"auc_and{name}": auc(scores, part.values, where & users & items),
    }


def _of_rankings(
    factors: Served,
    part: Interactions,
    where: Array,
    hidden: ranking.Hidden,
    name: str,
    ks: Sequence[int],
) -> dict[str, Array]:
    """Means over users of what the ranking of the catalogue is worth on a part."""
    dtype = serving.precision(factors)

    def measure(ranked: ranking.Ranked) -> dict[str, Array]:
        values = {f"{m}{name}@{k}": f(ranked, k=k) for m, f in AT_K.items() for k in ks}
        values |= {f"auc_unseen{name}": auc_unseen(ranked)}
        return {key: value.astype(dtype) for key, value in values.items()}

    return ranking.over_users(measure, factors, part, hidden, where)


def _of_forgotten(
    scores: Scores, split: Split, forget: ForgetSet, counts: Array
) -> dict[str, Array]:
    """How the forgotten pairs are scored, and whether that sets them apart from test pairs."""
    forgotten = forget.before - forget.after
    forgotten = widened(forgotten)
    own = widened(scores.train)
    total = jnp.sum(jnp.where(forgotten > 0, forgotten * own, 0))
    mean = ratio(total, jnp.sum(forgotten), otherwise=jnp.nan)
    if not len(split.test.users):
        return {"score_forgotten": mean}
    ours, others = ((part.values > 0) for part in (split.train, split.test))
    above = auc_between(scores.train, ours & (forgotten > 0), scores.test, others & counts)
    return {"score_forgotten": mean, "membership": above}


def _on_parts(
    scores: Scores, others: Scores, reference: Served, forget: ForgetSet, counts: Array
) -> dict[str, Array]:
    """How far the predictions for some pairs are from those of another model."""
    pairs = {
        "forgotten": (scores.train, others.train, forget.before - forget.after),
        "retained": (scores.train, others.train, forget.after),
        "test": (scores.test, others.test, counts.astype(wide(scores.test.dtype))),
    }
    typical = distance.mean_square(reference)
    return {f"distance_{name}": distance.of_scores(*x, typical) for name, x in pairs.items()}
