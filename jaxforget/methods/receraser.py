"""RecEraser: shards of what is alike, and an attention that weighs the shards' answers."""

from typing import Any, Literal

import jax
from jax import Array

from jaxforget import _checks, shards
from jaxforget._settings import checked
from jaxforget.metrics import claims
from jaxforget.shards import attention
from jaxforget.shards import partition as deal
from jaxforget.sparse import serving
from jaxforget.types import Interactions, Method, Model


@checked
def build(
    model: Model,
    *,
    n_shards: int,
    attention_lr: float,
    attention_steps: int,
    by: Literal["interaction", "user", "item"] = "interaction",
    capacity: float | None = None,
    n_rounds: int | None = None,
    centroids: Literal["vector", "scalar"] | None = None,
    partition: Literal["kept", "recomputed", "random"] = "kept",
    aggregator: Literal["recomputed", "kept"] = "recomputed",
) -> Method:
    """Builds RecEraser: balanced shards by pre-trained embeddings, attention over their models.

    The embeddings are those of the model itself, trained on everything that is remembered. The
    published method deals once and keeps the shards: the map from rows to shards then remembers
    what it was computed from, and is forgotten rows' trace in the retained rows' models.

    Args:
      n_shards: sub-models of the model's full dimension each.
      attention_lr, attention_steps: of full-batch Adam on the loss of the retained data.
      by: what a shard is dealt.
      capacity, n_rounds, centroids: of ``partition.balanced``, which has 1.2, 50 and
        ``"vector"`` where they are None (``"scalar"`` as released); ``"random"`` reads none.
      partition: ``"kept"`` as published; ``"recomputed"`` pre-trains and deals anew on retained
        data after a request, which touches every shard: exact, and dearer than retraining;
        ``"random"`` deals by a hash: exact, and nothing that is alike is together.
      aggregator: ``"kept"`` does not train the attention again after a request.

    Raises:
      ValueError: a setting is out of range, or not read by this partition.

    Source: Chen et al., Recommendation Unlearning, WWW 2022; as the baseline of arXiv 2307.02147.
    """
    balance = {"capacity": capacity, "n_rounds": n_rounds, "centroids": centroids}
    if partition == "random":
        _checks.unread("receraser", 'partition="random"', **balance)
    balance = {name: value for name, value in balance.items() if value is not None}
    deal.check_balance("receraser", **balance)

    def divide(key: Array, train: Interactions, weights: Array) -> Array:
        if partition == "random":
            return deal.random(key, train, n_shards=n_shards, by=by)
        draw, start = jax.random.split(key)
        params, _ = model.fit(draw, train, weights)
        alike = serving.tables(model.factors(params, train, weights))
        return deal.balanced(start, train, weights, alike, by=by, n_shards=n_shards, **balance)

    fit = attention.trainer("receraser", lr=attention_lr, n_steps=attention_steps)
    return shards.method(
        model,
        n_shards=n_shards,
        divide=divide,
        redivide=partition == "recomputed",
        aggregation=shards.Aggregation(fit, renew=aggregator == "recomputed"),
    )


def EXACTNESS(*, partition: str, aggregator: str, **settings: Any) -> claims.Claim:
    """Exact given the shards and the attention, where these are not computed anew."""
    del settings
    derived = {"parameters": "recomputed", "aggregator": aggregator}
    if partition != "random":
        derived |= {"partition": partition, "pre-training": partition}
    kept = {"partition": "random"} if partition == "kept" else {}
    kept |= {"aggregator": "recomputed"} if aggregator == "kept" else {}
    if not kept:
        return claims.exact(**derived)
    return claims.exact_given("the " + " and the ".join(kept), kept, within=0.0, **derived)


TOY = {"n_shards": 2, "attention_lr": 0.01, "attention_steps": 5, "n_rounds": 5}
