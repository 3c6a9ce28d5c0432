"""Everything a results table holds about one model."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from jaxforget.metrics import ranking
from jaxforget.metrics.distance import distance_on, prediction_distance
from jaxforget.metrics.labels import auc, label_auc, rmse, touched
from jaxforget.metrics.rankings import auc_unseen, hit, mrr, ndcg, precision, recall
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, ForgetSet, Split


def evaluate(
    factors: Factors,
    split: Split,
    forget: ForgetSet,
    *,
    ks: Sequence[int] = (10, 20),
    reference: Factors | None = None,
) -> dict[str, Array]:
    """Measures everything a results table holds, as scalars.

    Rankings hide what is still remembered of training (and, for the test part, the validation
    part), and average over users with a relevant held-out item. Names say on which cells:
    ``ndcg@10`` and ``rmse`` on test, ``ndcg_valid@10`` on validation; without ``ks`` no ranking is
    made, which is most of the time on a large catalogue. ``auc`` compares the labels
    of test rows, ``auc_or`` those of rows whose user or item occurs in the request and ``auc_and``
    those of rows where both do (read as AUC_0 and AUC_1 of arXiv 2307.02147); ``auc_unseen`` sets test items with items a user never met. ``score_forgotten`` is
    the mean score of forgotten pairs; ``membership`` is ``P(score of a forgotten pair > score of a
    test pair)``: 0.5 for a model that never saw a random request, up to its sampling error.
    With ``reference``: ``distance*`` relative to it, and ``overlap@k`` of the top-k lists.

    Returns:
      ``{name: scalar}``; NaN where a measure is not defined (one class, an empty part).
    """
    remembered = (split.train, forget.after)
    found = {}
    for name, part in (("", split.test), ("_valid", split.valid)):
        if len(part.users):
            hidden = [remembered] + (
                [] if name else [(split.valid, jnp.ones_like(split.valid.values))]
            )
            found |= _on_part(factors, part, hidden, name, ks)
            users, items = touched(split.train, forget)
            users, items = users[part.users], items[part.items]
            found[f"auc_or{name}"] = label_auc(factors, part, users | items)
            found[f"auc_and{name}"] = label_auc(factors, part, users & items)
    forgotten = forget.before - forget.after
    scores = sddmm(split.train, *factors)
    total = jnp.sum(forgotten)
    found["score_forgotten"] = jnp.where(
        total > 0, jnp.sum(forgotten * scores) / jnp.where(total > 0, total, 1), jnp.nan
    )
    if len(split.test.users):
        both = jnp.concatenate([scores, sddmm(split.test, *factors)])
        asked = jnp.concatenate([forgotten, jnp.zeros_like(split.test.values)])
        positive = jnp.concatenate([split.train.values, split.test.values]) > 0
        counted = jnp.concatenate([forgotten > 0, jnp.ones(len(split.test.users), bool)])
        found["membership"] = auc(both, asked, counted & positive)
    if reference is not None:
        found |= _against(factors, reference, split, forget, ks)
    return found


def _on_part(factors, part, hidden, name, ks):
    scores, all_rows = sddmm(part, *factors), jnp.ones(len(part.users), bool)
    at_k = {"recall": recall, "ndcg": ndcg, "precision": precision, "hit": hit, "mrr": mrr}

    def measure(ranked):
        values = {f"{m}{name}@{k}": f(ranked, k=k) for m, f in at_k.items() for k in ks}
        values |= {f"auc_unseen{name}": auc_unseen(ranked)}
        return {key: value.astype(scores.dtype) for key, value in values.items()}

    rows = {
        f"auc{name}": auc(scores, part.values, all_rows),
        f"rmse{name}": rmse(scores, part.values, all_rows),
    }
    return rows | (ranking.over_users(measure, factors, part, hidden) if ks else {})


def _against(factors, reference, split, forget, ks):
    cells = {
        "forgotten": (split.train, forget.before - forget.after),
        "retained": (split.train, forget.after),
        "test": (split.test, jnp.ones_like(split.test.values)),
    }
    found = {"distance": prediction_distance(factors, reference)}
    found |= {f"distance_{k}": distance_on(factors, reference, *c) for k, c in cells.items()}
    if not ks:
        return found
    shared = ranking.overlap(factors, reference, [(split.train, forget.after)], ks=ks)
    return found | {f"overlap@{k}": value for k, value in shared.items()}
