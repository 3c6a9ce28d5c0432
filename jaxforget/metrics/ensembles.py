"""Many models, unlearnt and retrained: what can a person who sees one tell of the deleted rows?

One pair of models cannot say: their distance is luck as well as memory. These measures compare
distributions over seeds, and have a floor: the same measure between two sets of retrained models.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import metrics
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import ForgetSet, Interactions, Method

SMALLEST = 1e-5  # a share of models that counts as none


def ensemble(key: Array, method: Method, train: Interactions, forget: ForgetSet, *,
             n_models: int) -> tuple[Array, Array]:  # fmt: skip
    """Scores every training interaction by independent models, retrained and unlearnt.

    Args:
      key: typed JAX key; consumed. Every model has its own.
      n_models: static, of either kind.

    Returns:
      retrained ``[M, N]`` and unlearnt ``[M, N]``.
    """

    def one(key):
        first, second, other = jax.random.split(key, 3)
        state, _ = method.fit(first, train, forget.before)
        left, _ = method.unlearn(second, state, train, forget)
        never, _ = method.fit(other, train, forget.after)
        return tuple(sddmm(train, *method.factors(s, train, forget.after)) for s in (never, left))

    return lax.map(one, jax.random.split(key, n_models))


def klom(retrained: Array, unlearnt: Array, *, n_bins: int = 20) -> Array:
    """Divergence of margins: per pair, ``KL(scores of retrained models || of unlearnt ones)``.

    Over a histogram that spans both. With few models it is far from 0 for equal distributions
    too: read it beside the floor, ``klom`` between two halves of the retrained models.

    Args:
      retrained, unlearnt: ``[M, P]`` scores by independent models.
      n_bins: static.

    Returns:
      ``[P]``, in nats.

    Example:
      >>> same = jnp.array([[0.0], [1.0], [2.0]])
      >>> klom(same, same).tolist()
      [0.0]

    Source: after Georgiev et al., Attribute-to-Delete, arXiv 2410.23232.
    """
    low = jnp.minimum(retrained.min(axis=0), unlearnt.min(axis=0))[None, :]
    high = jnp.maximum(retrained.max(axis=0), unlearnt.max(axis=0))[None, :]
    width = jnp.where(high > low, high - low, 1)

    def shares(scores):
        bins = jnp.minimum((n_bins * (scores - low) / width).astype(jnp.int32), n_bins - 1)
        pairs = jnp.arange(scores.shape[1], dtype=jnp.int32)[None, :]
        counts = jnp.zeros((n_bins, scores.shape[1]), scores.dtype).at[bins, pairs].add(1)
        share = counts / len(scores) + SMALLEST
        return share / jnp.sum(share, axis=0, keepdims=True)

    p, q = shares(retrained), shares(unlearnt)
    return jnp.sum(p * (jnp.log(p) - jnp.log(q)), axis=0)


def membership(retrained: Array, unlearnt: Array) -> Array:
    """How well an attacker tells an unlearnt model from a retrained one by the score of a pair.

    The attacker has half of the models of either kind, fits a normal to the scores of each pair,
    and ranks the other half by likelihood ratio.

    Args:
      retrained, unlearnt: ``[M, P]`` scores of the forgotten pairs by independent models, M >= 4.

    Returns:
      AUC over models and pairs: 0.5 where the two cannot be told apart.

    Raises:
      ValueError: fewer than four models.

    Source: after Hayes et al., Inexact Unlearning Needs More Careful Evaluations, 2024 (U-LiRA).
    """
    half = len(retrained) // 2
    if half < 2 or retrained.shape != unlearnt.shape:
        raise ValueError(
            "membership needs scores of equally many models of either kind, at least 4; got "
            f"{retrained.shape} and {unlearnt.shape}"
        )
    scale = jnp.maximum(
        jnp.std(jnp.concatenate([retrained[:half], unlearnt[:half]]), axis=0), 1e-30
    )

    def likelihood(known, seen):
        mean = jnp.mean(known, axis=0, keepdims=True)
        std = jnp.maximum(jnp.std(known, axis=0), 1e-3 * scale)[None, :]  # few models: not 0
        return -(((seen - mean) / std) ** 2) / 2 - jnp.log(std)

    seen = jnp.concatenate([retrained[half:], unlearnt[half:]])
    ratio = likelihood(unlearnt[:half], seen) - likelihood(retrained[:half], seen)
    labels = (jnp.arange(len(seen)) >= len(seen) // 2).astype(seen.dtype)
    labels = jnp.broadcast_to(labels[:, None], seen.shape)
    return metrics.auc(ratio.ravel(), labels.ravel(), jnp.ones(seen.size, bool))
