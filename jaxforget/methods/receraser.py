"""RecEraser: shards of what is alike, and an attention that weighs the shards' answers."""

from typing import Literal

import jax

from jaxforget import _checks, shards
from jaxforget.metrics import claims
from jaxforget.shards import attention
from jaxforget.shards import partition as deal
from jaxforget.types import Method, Model


def build(
    model: Model,
    *,
    n_shards: int,
    attention_lr: float,
    attention_steps: int,
    by: Literal["interaction", "user", "item"] = "interaction",
    capacity: float = 1.2,
    n_rounds: int = 50,
    centroids: Literal["vector", "scalar"] = "vector",
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
      by, capacity, n_rounds, centroids: of ``partition.balanced``; ``"scalar"`` as released.
      partition: ``"kept"`` as published; ``"recomputed"`` pre-trains and deals anew on retained
        data after a request, which touches every shard: exact, and dearer than retraining;
        ``"random"`` deals by a hash: exact, and nothing that is alike is together.
      aggregator: ``"kept"`` does not train the attention again after a request.

    Raises:
      ValueError: a setting is out of range.

    Source: Chen et al., Recommendation Unlearning, WWW 2022; as the baseline of arXiv 2307.02147.
    """
    _checks.positive("receraser", n_shards=n_shards, n_rounds=n_rounds)
    known = {"by": (by, deal.UNITS), "centroids": (centroids, ("vector", "scalar")),
             "partition": (partition, ("kept", "recomputed", "random")),
             "aggregator": (aggregator, ("recomputed", "kept"))}  # fmt: skip
    for name, (got, choices) in known.items():
        if got not in choices:
            raise ValueError(f"receraser: {name} must be one of {choices}; got {got!r}")
    if not capacity >= 1:
        raise ValueError(f"receraser: capacity must be at least 1; got {capacity}")

    def divide(key, train, weights):
        if partition == "random":
            return deal.random(key, train, n_shards=n_shards, by=by)
        draw, start = jax.random.split(key)
        params, _ = model.fit(draw, train, weights)
        alike = model.factors(params, train, weights)
        return deal.balanced(start, train, weights, alike, by=by, n_shards=n_shards,
                                  capacity=capacity, n_rounds=n_rounds, centroids=centroids)  # fmt: skip

    fit = attention.trainer("receraser", lr=attention_lr, n_steps=attention_steps)
    return shards.method(
        model,
        n_shards=n_shards,
        divide=divide,
        redivide=partition == "recomputed",
        aggregation=shards.Aggregation(fit, renew=aggregator == "recomputed"),
    )


def EXACTNESS(*, partition, aggregator, **settings):
    """Exact given the shards and the attention, where these are not computed anew."""
    del settings
    derived = {"parameters": "recomputed", "aggregator": aggregator}
    if partition != "random":
        derived |= {"partition": partition, "pre-training": partition}
    kept = {"partition": "random"} if partition == "kept" else {}
    kept |= {"aggregator": "recomputed"} if aggregator == "kept" else {}
    if not kept:
        return claims.exact(**derived)
    return claims.exact_given("the " + " and the ".join(kept), kept, **derived)


TOY = {"n_shards": 2, "attention_lr": 0.01, "attention_steps": 5, "n_rounds": 5}
