"""How good a model is, and how near to the model that never saw the forgotten interactions."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from jaxforget import ranking
from jaxforget.ranking import Ranked
from jaxforget.sparse import sddmm
from jaxforget.types import Factors, ForgetSet, Interactions, Split

# --- on rows ------------------------------------------------------------------------------------


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


# --- on rankings: [R, L] ranks of held-out items -> [R] ------------------------------------------


def recall(ranked: Ranked, *, k: int) -> Array:
    """Share of a user's relevant items among the first k: ``hits / relevant``."""
    return _hits(ranked, k) / _at_least_one(ranked)


def precision(ranked: Ranked, *, k: int) -> Array:
    """Share of the first k that are relevant: ``hits / k``."""
    return _hits(ranked, k) / k


def hit(ranked: Ranked, *, k: int) -> Array:
    """1 if any of the first k is relevant, else 0."""
    return (_hits(ranked, k) > 0).astype(float)


def mrr(ranked: Ranked, *, k: int) -> Array:
    """Reciprocal of the place of the first relevant item, 0 if it is not among the first k."""
    inside = ranked.relevant & (ranked.ranks < k)
    return jnp.max(jnp.where(inside, 1 / (ranked.ranks.astype(float) + 1), 0), axis=1, initial=0)


def ndcg(ranked: Ranked, *, k: int) -> Array:
    """``sum_hits 1 / log2(place + 1)`` over its largest possible value, binary relevance."""
    gain = 1 / jnp.log2(ranked.ranks.astype(float) + 2)
    found = jnp.sum(jnp.where(ranked.relevant & (ranked.ranks < k), gain, 0), axis=1)
    ideal = jnp.cumsum(1 / jnp.log2(jnp.arange(k, dtype=float) + 2))
    count = jnp.minimum(jnp.sum(ranked.relevant, axis=1), k)
    return found / ideal[jnp.maximum(count, 1) - 1]


def auc_unseen(ranked: Ranked) -> Array:
    """``P(relevant item ranked above an item the user never met)``, per user."""
    n = jnp.sum(ranked.relevant, axis=1).astype(float)
    others = ranked.candidates.astype(float) - n
    places = jnp.sum(jnp.where(ranked.relevant, ranked.ranks, 0), axis=1).astype(float)
    above = places - n * (n - 1) / 2
    return 1 - above / jnp.maximum(n * others, 1)


def _hits(ranked, k):
    return jnp.sum(ranked.relevant & (ranked.ranks < k), axis=1).astype(float)


def _at_least_one(ranked):
    return jnp.maximum(jnp.sum(ranked.relevant, axis=1), 1).astype(float)


# --- between two models --------------------------------------------------------------------------


def prediction_distance(a: Factors, b: Factors) -> Array:
    """Relative distance of all predictions: ``|A_u A_i' - B_u B_i'|_F / |B_u B_i'|_F``, exactly.

    Through ``[D, D]`` Grams of the *difference* of the factors, after turning ``a`` (which no
    orthogonal turn changes) onto ``b``: differencing two large Grams would lose all digits below
    the square root of the precision.
    """
    if a.users.shape != b.users.shape:  # other dimensions: padding with zeros changes no score
        width = max(a.users.shape[1], b.users.shape[1])
        a, b = (
            Factors(*(jnp.pad(x, ((0, 0), (0, width - x.shape[1]))) for x in f)) for f in (a, b)
        )
    left, _, right = jnp.linalg.svd(_cross(a.users, b.users) + _cross(a.items, b.items))
    a = Factors(*(jnp.matmul(x, left @ right, precision="highest") for x in a))
    users, items = a.users - b.users, a.items - b.items  # A - B = users a.items' + b.users items'
    squares = (
        jnp.sum(_cross(users, users) * _cross(a.items, a.items))
        + 2 * jnp.sum(_cross(users, b.users) * _cross(a.items, items))
        + jnp.sum(_cross(b.users, b.users) * _cross(items, items))
    )
    size = jnp.sum(_cross(b.users, b.users) * _cross(b.items, b.items))
    return _ratio(squares, size)


def distance_on(a: Factors, b: Factors, cells: Interactions, where: Array) -> Array:
    """Relative distance of the predictions on some cells; 0 where no cell counts."""
    ours, theirs = (sddmm(cells, *f) for f in (a, b))
    return _ratio(jnp.sum(where * (ours - theirs) ** 2), jnp.sum(where * theirs**2))


def _ratio(squares, size):
    return jnp.sqrt(jnp.maximum(squares, 0) / jnp.where(size > 0, size, 1))


def _cross(a, b):
    return jnp.matmul(a.T, b, precision="highest")


# --- everything ----------------------------------------------------------------------------------


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
