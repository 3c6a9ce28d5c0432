"""How far the predictions of two models are apart."""

import jax.numpy as jnp
from jax import Array, lax

from jaxforget.sparse.arithmetic import ratio, times
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, Interactions


def prediction_distance(a: Factors, b: Factors) -> Array:
    """Relative distance of the predictions for all user-item pairs, without forming them.

    ``|A - B|_F / |B|_F`` with the score matrices ``A = a.users a.items'`` and ``B`` likewise.

    ``A - B`` is the product of ``[a.users, b.users]`` and ``[a.items, -b.items]'``. With the
    triangles R and S of the QR decompositions of the two, its norm is that of ``R S'``, a matrix of
    the size of the factors. Neither a rotation nor a rescaling of users against items, which change
    no score, changes more than the last digits; Gram matrices would lose half of the digits.

    Args:
      a: the model to judge; its dimension may differ from that of ``b``.
      b: the model to compare with.

    Returns:
      scalar; NaN where ``B`` is 0 or a factor is not finite.

    Example:
      >>> a = Factors(jnp.array([[1.0], [2.0]]), jnp.array([[3.0]]))
      >>> b = Factors(jnp.array([[1.0], [1.0]]), jnp.array([[3.0]]))
      >>> round(float(prediction_distance(a, b)), 4)  # 3 / sqrt(18)
      0.7071
    """
    left = jnp.linalg.qr(jnp.concatenate([a.users, b.users], axis=1), mode="r")
    # one after the other: independent LAPACK calls of one program can wait for each other for ever
    left, a_items = lax.optimization_barrier((left, a.items))
    right = jnp.linalg.qr(jnp.concatenate([a_items, -b.items], axis=1), mode="r")
    width = a.users.shape[1]
    difference = jnp.linalg.norm(times(left, right.T))
    norm = jnp.linalg.norm(times(left[:, width:], right[:, width:].T))
    return ratio(difference, norm, otherwise=jnp.nan)


def distance_on(a: Factors, b: Factors, cells: Interactions, where: Array) -> Array:
    """Relative distance of the predictions for some pairs: ``|w^1/2 (a - b)| / |w^1/2 b|``.

    Args:
      a: the model to judge.
      b: the model to compare with.
      cells: the user-item pairs; their values are not read.
      where: ``[N]`` weight of each pair.

    Returns:
      scalar; NaN where no pair has a weight, where a score that has one is not finite, and where
      ``b`` predicts nothing for these pairs, so that nothing is relative to it: root mean square
      below 1e-6 of that of all its predictions. A user who lost everything is such a case.
    """
    scores, reference = (jnp.where(where > 0, sddmm(cells, *f), 0) for f in (a, b))
    difference = jnp.sqrt(jnp.sum(where * (scores - reference) ** 2))
    norm = jnp.sqrt(jnp.sum(where * reference**2))
    gram = times(b.users.T, b.users) * times(b.items.T, b.items)
    mean_square = jnp.sum(gram) / max(1, len(b.users) * len(b.items))
    least = 1e-6 * jnp.sqrt(jnp.maximum(mean_square, 0) * jnp.sum(where))
    return jnp.where(norm > least, ratio(difference, norm, otherwise=jnp.nan), jnp.nan)
