"""Many models, unlearnt and retrained: can one who sees a model tell whether rows were deleted?

One pair of models cannot say: models also differ by their random draws. These measures compare
distributions over keys. What they give for two sets of retrained models is their floor.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget.metrics.labels import auc
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import ForgetSet, Interactions, Method

SMALLEST = 1e-5  # added to the share of models in every bin, so that no bin is empty


def ensemble(
    key: Array, method: Method, train: Interactions, forget: ForgetSet, *, n_models: int
) -> tuple[Array, Array]:
    """Scores every training interaction by M retrained and M unlearnt models.

    Args:
      key: typed JAX key; consumed. Every model has its own.
      method: how the models are trained and unlearnt.
      train: prepared for the model.
      forget: the request.
      n_models: M, of either kind; static.

    Returns:
      retrained ``[M, N]`` and unlearnt ``[M, N]``.
    """

    def one(key):
        fit_key, unlearn_key, retrain_key = jax.random.split(key, 3)
        state, _ = method.fit(fit_key, train, forget.before)
        unlearnt, _ = method.unlearn(unlearn_key, state, train, forget)
        retrained, _ = method.fit(retrain_key, train, forget.after)
        served = (method.factors(s, train, forget.after) for s in (retrained, unlearnt))
        return tuple(sddmm(train, *factors) for factors in served)

    return lax.map(one, jax.random.split(key, n_models))


def klom(retrained: Array, unlearnt: Array, *, n_bins: int = 20) -> Array:
    """KL divergence of margins: per pair, ``KL(scores of retrained || scores of unlearnt models)``.

    Of two histograms over the range that both span. With few models it is far from 0 for equal
    distributions too: read it beside its floor, ``klom`` of two halves of the retrained models.

    Args:
      retrained: ``[M, P]`` scores of P pairs by independent models.
      unlearnt: ``[M, P]`` likewise.
      n_bins: of the histograms; static.

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

    The attacker knows half of the models of either kind, fits a normal distribution to their
    scores of each pair, and ranks the other half by likelihood ratio.

    Args:
      retrained: ``[M, P]`` scores of the forgotten pairs by independent models, M >= 4.
      unlearnt: ``[M, P]`` likewise.

    Returns:
      AUC over models and pairs: 0.5 where the two cannot be told apart.

    Raises:
      ValueError: fewer than four models, or not equally many of either kind.

    Source: after Hayes et al., Inexact Unlearning Needs More Careful Evaluations, 2024 (U-LiRA).
    """
    half = len(retrained) // 2
    if half < 2 or retrained.shape != unlearnt.shape:
        raise ValueError(
            "membership needs scores of equally many models of either kind, at least 4; got "
            f"{retrained.shape} and {unlearnt.shape}"
        )
    known = jnp.concatenate([retrained[:half], unlearnt[:half]])
    scale = jnp.maximum(jnp.std(known, axis=0), 1e-30)

    def log_likelihood(known, scores):
        mean = jnp.mean(known, axis=0, keepdims=True)
        # the spread of a few models may be 0 by chance
        spread = jnp.maximum(jnp.std(known, axis=0), 1e-3 * scale)[None, :]
        return -(((scores - mean) / spread) ** 2) / 2 - jnp.log(spread)

    others = jnp.concatenate([retrained[half:], unlearnt[half:]])
    ratio = log_likelihood(unlearnt[:half], others) - log_likelihood(retrained[:half], others)
    labels = (jnp.arange(len(others)) >= len(others) // 2).astype(others.dtype)
    labels = jnp.broadcast_to(labels[:, None], others.shape)
    return auc(ratio.ravel(), labels.ravel(), jnp.ones(others.size, bool))
