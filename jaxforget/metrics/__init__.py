"""How good a model is, how near to one that never saw the forgotten data, and what is claimed."""

from jaxforget.metrics import audit, claims, ensembles, ranking, stable
from jaxforget.metrics.distance import distance_on, prediction_distance
from jaxforget.metrics.evaluation import evaluate
from jaxforget.metrics.labels import auc, label_auc, rmse, touched
from jaxforget.metrics.rankings import auc_unseen, hit, mrr, ndcg, precision, recall

__all__ = [
    "auc",
    "auc_unseen",
    "audit",
    "claims",
    "distance_on",
    "ensembles",
    "evaluate",
    "hit",
    "label_auc",
    "mrr",
    "ndcg",
    "precision",
    "prediction_distance",
    "ranking",
    "recall",
    "rmse",
    "stable",
    "touched",
]
