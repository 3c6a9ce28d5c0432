"""Many models, unlearnt and retrained: can one who sees a model tell whether rows were deleted?

One pair of models cannot say: models also differ by their random draws. These measures compare
distributions over keys. What they give for two sets of retrained models is their floor.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget._settings import checked
from jaxforget.metrics.labels import auc
from jaxforget.sparse.arithmetic import wide
from jaxforget.sparse.serving import scores_of
from jaxforget.types import ForgetSet, Interactions, Method

SMALLEST = 1e-5  # added to the share of models in every bin, so that no bin is empty
FARTHEST = 1e6  # standard deviations from a mean: what lies further counts as so far


@checked
def ensemble(
    key: Array, method: Method, train: Interactions, forget: ForgetSet, *, n_models: int
) -> tuple[Array, Array]:
    """Scores every training interaction by M retrained and M unlearnt models.

    Args:
      key: typed JAX key; consumed. Every model has its own.
      method: how the models are trained and unlearnt.
      train: prepared for the model.
      forget: the request.
      n_models: M, of either kind, at least 1; static.

    Returns:
      retrained ``[M, N]`` and unlearnt ``[M, N]``.

    Raises:
      ValueError: no model is asked for.
    """

    def one(key):
        fit_key, unlearn_key, retrain_key = jax.random.split(key, 3)
        state, _ = method.fit(fit_key, train, forget.before)
        unlearnt, _ = method.unlearn(unlearn_key, state, train, forget)
        retrained, _ = method.fit(retrain_key, train, forget.after)
        served = (method.factors(s, train, forget.after) for s in (retrained, unlearnt))
        return tuple(scores_of(factors, train) for factors in served)

    return lax.map(one, jax.random.split(key, n_models))


@checked
def klom(retrained: Array, unlearnt: Array, *, n_bins: int = 20) -> Array:
    """KL divergence of margins: per pair, ``KL(scores of retrained || scores of unlearnt models)``.

    Of two histograms over the range that both span. With few models it is far from 0 for equal
    distributions too: read it beside its floor, ``klom`` of two halves of the retrained models.

    Args:
      retrained: ``[M, P]`` scores of P pairs by independent models.
      unlearnt: ``[M, P]`` likewise; the number of models may differ.
      n_bins: of the histograms, at least 1; static.

    Returns:
      ``[P]``, in nats; NaN for a pair of which a score, or their range, is not finite.

    Raises:
      ValueError: the scores are not two floating tables of the same pairs, or hold no model.

    Example:
      >>> same = jnp.array([[0.0], [1.0], [2.0]])
      >>> klom(same, same).tolist()
      [0.0]

    Source: after Georgiev et al., Attribute-to-Delete, arXiv 2410.23232.
    """
    retrained, unlearnt = _scores("klom", retrained, unlearnt, least=1)
    low = jnp.minimum(retrained.min(axis=0), unlearnt.min(axis=0))[None, :]
    high = jnp.maximum(retrained.max(axis=0), unlearnt.max(axis=0))[None, :]
    finite = jnp.isfinite(n_bins * (high - low))[0]  # not where a score is NaN or infinite
    width = jnp.where(high > low, high - low, 1)

    def shares(scores):
        bins = jnp.minimum((n_bins * (scores - low) / width).astype(jnp.int32), n_bins - 1)
        pairs = jnp.arange(scores.shape[1], dtype=jnp.int32)[None, :]
        counts = jnp.zeros((n_bins, scores.shape[1]), scores.dtype).at[bins, pairs].add(1)
        share = counts / len(scores) + SMALLEST
        return share / jnp.sum(share, axis=0, keepdims=True)

    p, q = shares(retrained), shares(unlearnt)
    return jnp.where(finite, jnp.sum(p * (jnp.log(p) - jnp.log(q)), axis=0), jnp.nan)


def gaussian_klom(retrained: Array, unlearnt: Array) -> Array:
    """``klom`` of normal distributions: ``KL(N(m_r, s_r^2) || N(m_u, s_u^2))`` per pair.

    With the means and unbiased variances of the models' scores. Far less biased than the binned
    estimate for few models, as no bin can be empty, and blind to all but two moments. Of M and M
    models from one normal distribution its mean is ``(2 M - 1) / (M (M - 3))``, not 0: read it
    beside its floor.

    Args:
      retrained: ``[M, P]`` scores of P pairs by independent models, M >= 3.
      unlearnt: ``[M, P]`` likewise; the number of models may differ.

    Returns:
      ``[P]``, in nats: 0 where all scores of a pair are one number, infinite where one of the
      spreads is 0, or both are at different numbers; NaN where a score is not finite, or where
      scores differ by so little that both variances are 0 all the same.

    Raises:
      ValueError: the scores are not two floating tables of the same pairs, or hold too few models.

    Example:
      >>> a = jnp.array([[0.0], [1.0], [2.0]])
      >>> gaussian_klom(a, a).tolist(), gaussian_klom(a, a + 1).tolist()
      ([0.0], [0.5])
    """
    retrained, unlearnt = _scores("gaussian_klom", retrained, unlearnt, least=3)
    (m, mu), (v, vu) = (
        [moment(x) for x in (retrained, unlearnt)]
        for moment in (lambda x: jnp.mean(x, axis=0), lambda x: jnp.var(x, axis=0, ddof=1))
    )
    spread = (v > 0) & (vu > 0)
    ratio = jnp.where(spread, v, 1) / jnp.where(spread, vu, 1)
    apart = (m - mu) ** 2 / jnp.where(spread, vu, 1)
    found = jnp.where(spread, (ratio - 1 - jnp.log(ratio) + apart) / 2, jnp.inf)
    found = jnp.where((v == 0) & (vu == 0) & (m == mu), jnp.nan, found)
    # asked of the scores: the mean of equal numbers is rounded, so that they seem to vary about it
    flat, flat_u = (jnp.max(x, axis=0) == jnp.min(x, axis=0) for x in (retrained, unlearnt))
    found = jnp.where(flat | flat_u, jnp.inf, found)
    found = jnp.where(flat & flat_u & (retrained[0] == unlearnt[0]), 0, found)
    finite = jnp.isfinite(retrained).all(axis=0) & jnp.isfinite(unlearnt).all(axis=0)
    return jnp.where(finite, found, jnp.nan)


def likelihood_ratios(retrained: Array, unlearnt: Array) -> tuple[Array, Array]:
    """What the attacker of ``membership`` ranks models by, pair by pair.

    Args:
      retrained: ``[M, P]`` scores by independent models, M >= 4.
      unlearnt: ``[M, P]`` likewise.

    Returns:
      log ratios of the second half of the models of either kind, ``[2 ceil(M / 2), P]``, and
      ``[2 ceil(M / 2)]`` bool, which of them were unlearnt.

    Raises:
      ValueError: fewer than four models, not equally many of either kind, or scores that are not
        floating.
    """
    retrained, unlearnt = _scores("membership", retrained, unlearnt, least=4)
    if len(retrained) != len(unlearnt):
        raise ValueError(
            f"membership: needs equally many models of either kind; got {len(retrained)} and "
            f"{len(unlearnt)}"
        )
    half = len(retrained) // 2
    known = jnp.concatenate([retrained[:half], unlearnt[:half]])
    scale = jnp.maximum(jnp.std(known, axis=0), 1e-30)

    def log_likelihood(known, scores):
        mean = jnp.mean(known, axis=0, keepdims=True)
        # the spread of a few models may be 0 by chance
        spread = jnp.maximum(jnp.std(known, axis=0), 1e-3 * scale)[None, :]
        # beyond the bound the square would overflow, and two infinities cannot be compared
        away = jnp.minimum(jnp.abs(scores - mean) / spread, FARTHEST)
        return -(away**2) / 2 - jnp.log(spread)

    others = jnp.concatenate([retrained[half:], unlearnt[half:]])
    ratio = log_likelihood(unlearnt[:half], others) - log_likelihood(retrained[:half], others)
    return ratio, jnp.arange(len(others)) >= len(others) // 2


def membership(retrained: Array, unlearnt: Array) -> Array:
    """How well an attacker tells an unlearnt model from a retrained one by the score of a pair.

    The attacker knows half of the models of either kind, fits a normal distribution to their
    scores of each pair, and ranks the other half by likelihood ratio.

    Args:
      retrained: ``[M, P]`` scores of the forgotten pairs by independent models, M >= 4.
      unlearnt: ``[M, P]`` likewise.

    Returns:
      AUC over models and pairs: 0.5 where the two cannot be told apart; NaN where there is no pair
      or a score is not finite.

    Raises:
      ValueError: fewer than four models, not equally many of either kind, or scores that are not
        floating.

    Source: after Hayes et al., Inexact Unlearning Needs More Careful Evaluations, 2024 (U-LiRA).
    """
    ratio, unlearned = likelihood_ratios(retrained, unlearnt)
    labels = jnp.broadcast_to(unlearned.astype(ratio.dtype)[:, None], ratio.shape)
    finite = jnp.isfinite(retrained).all() & jnp.isfinite(unlearnt).all()
    found = auc(ratio.ravel(), labels.ravel(), jnp.ones(ratio.size, bool))
    return jnp.where(finite, found, jnp.nan)


def _scores(owner: str, retrained: Array, unlearnt: Array, *, least: int) -> tuple[Array, Array]:
    """The scores in 32 bits or more.

    Refuses what is not scores of the same pairs, by at least so many models of either kind.
    """
    (n, *pairs), (others, *same) = (jnp.shape(x) or (0,) for x in (retrained, unlearnt))
    if not (len(pairs) == 1 and pairs == same):
        raise ValueError(
            f"{owner}: scores must be two arrays [M, P] of the same pairs; got "
            f"{jnp.shape(retrained)} and {jnp.shape(unlearnt)}"
        )
    first, second = (jnp.result_type(x) for x in (retrained, unlearnt))
    if first != second or not jnp.issubdtype(first, jnp.floating):
        raise ValueError(
            f"{owner}: scores must be floating, of one dtype; got {first} and {second}"
        )
    if min(n, others) < least:
        raise ValueError(
            f"{owner}: needs at least {least} models of either kind; got {n} and {others}"
        )
    return jnp.asarray(retrained, wide(first)), jnp.asarray(unlearnt, wide(first))
