"""How good a model is, how near to one that never saw the forgotten data, and what is claimed.

``evaluate`` computes all that a results table holds; its parts are ``labels`` (AUC and RMSE),
``ranking`` (the catalogue ranked for every user), ``rank_measures`` (recall and others of one such
ranking) and ``distance``. ``candidates`` ranks one item among a few sampled ones. ``audit``
measures from outside what a method's ``claims`` say, ``ensembles`` compares distributions over
seeds, ``stable`` finds recommendations that are certain, ``hardness`` says which
interactions are hard to forget, ``exposure`` how often lists still show what was to be forgotten,
``canaries`` whether planted pairs are remembered.
"""

from jaxforget.metrics import (
    audit,
    canaries,
    candidates,
    claims,
    ensembles,
    exposure,
    hardness,
    rank_measures,
    ranking,
    reconstruction,
    stable,
)
from jaxforget.metrics.distance import distance_on, prediction_distance
from jaxforget.metrics.evaluation import evaluate
from jaxforget.metrics.labels import (
    auc,
    auc_between,
    label_auc,
    remembered,
    rmse,
    touched,
    tpr_at_fpr,
)
from jaxforget.metrics.rank_measures import auc_unseen, hit, mrr, ndcg, precision, recall

__all__ = [
    "auc",
    "auc_between",
    "auc_unseen",
    "audit",
    "canaries",
    "candidates",
    "claims",
    "distance_on",
    "ensembles",
    "evaluate",
    "exposure",
    "hardness",
    "hit",
    "label_auc",
    "mrr",
    "ndcg",
    "precision",
    "prediction_distance",
    "rank_measures",
    "ranking",
    "recall",
    "reconstruction",
    "remembered",
    "rmse",
    "stable",
    "touched",
    "tpr_at_fpr",
]
