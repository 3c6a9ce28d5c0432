"""SISA: shards dealt by a hash, of which a request makes a few train again."""

from typing import Any, Literal

from jax import Array

from jaxforget import _checks, shards
from jaxforget._settings import checked
from jaxforget.metrics import claims
from jaxforget.shards import attention, partition
from jaxforget.types import Interactions, Method, Model


@checked
def build(
    model: Model,
    *,
    n_shards: int,
    by: Literal["interaction", "user", "item"] = "interaction",
    n_slices: int = 1,
    aggregation: Literal["mean", "attention"] = "mean",
    aggregator: Literal["recomputed", "kept"] | None = None,
    attention_lr: float | None = None,
    attention_steps: int | None = None,
) -> Method:
    """Builds SISA: one sub-model per shard; a request trains again those it touches, from nothing.

    Shards are dealt by a hash of the pair (the user, the item) and the key of the training, so
    deletion moves nobody and the result is, bit for bit on a CPU, that of training SISA without
    the forgotten rows. A request of more than a few rows touches every shard: dealing ``by="user"``
    keeps a user's request in one.

    Args:
      n_shards: sub-models of the model's full dimension each.
      by: what a shard is dealt.
      n_slices: a shard is trained on its first slice, then from there on its first two, and so on,
        keeping every stage; a request starts again after the last stage that precedes it. Each
        stage runs the model's own number of passes, so training costs ``(n_slices + 1) / 2`` times.
      aggregation: ``"mean"`` of the sub-models' scores, exactly, as joined factors ``[U, S D]``;
        ``"attention"`` is trained on retained data, which the baseline called SISA in the release
        of arXiv 2307.02147 has.
      aggregator: of ``"attention"``: ``"recomputed"`` (if None) on retained data, or ``"kept"``,
        which does not train it again after a request, and leaks.
      attention_lr, attention_steps: of full-batch Adam; needed by ``"attention"``.

    Raises:
      ValueError: a setting is out of range, missing, or not read by this aggregation.

    Source: Bourtoule et al., Machine Unlearning, IEEE S&P 2021.
    """
    combine = None
    if aggregation == "attention":
        fit = attention.trainer("sisa", lr=attention_lr, n_steps=attention_steps)
        combine = shards.Aggregation(fit, renew=aggregator != "kept")
    else:
        attended = {"attention_lr": attention_lr, "attention_steps": attention_steps}
        _checks.unread("sisa", 'aggregation="mean"', aggregator=aggregator, **attended)

    def divide(key: Array, train: Interactions, weights: Array) -> Array:
        del weights  # nobody's shard depends on who else is there
        return partition.random(key, train, n_shards=n_shards, by=by)

    return shards.method(
        model, n_shards=n_shards, divide=divide, n_slices=n_slices, aggregation=combine
    )


def EXACTNESS(*, aggregation: str, aggregator: str | None, **settings: Any) -> claims.Claim:
    """Exact, unless an attention goes on that was trained on everything."""
    del settings
    derived = {"parameters": "recomputed"}
    if aggregation == "mean":
        return claims.exact(**derived)
    derived["aggregator"] = aggregator or "recomputed"
    if aggregator != "kept":
        return claims.exact(**derived)
    return claims.exact_given("the aggregator", {"aggregator": "recomputed"}, within=0.0, **derived)


TOY = {"n_shards": 2}
