"""How far the predictions of two models are apart."""

import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _weights
from jaxforget.metrics import _fits
from jaxforget.sparse import serving
from jaxforget.sparse.arithmetic import ratio, times, widened
from jaxforget.sparse.serving import Served
from jaxforget.types import Factors, Interactions


def prediction_distance(a: Served, b: Served) -> Array:
    """Relative distance of the predictions for all user-item pairs, without forming them.

    ``|A - B|_F / |B|_F`` with the score matrices ``A = a.users a.items'`` and ``B`` likewise.

    Of factors, ``A - B`` is the product of ``[a.users, b.users]`` and ``[a.items, -b.items]'``.
    With the triangles R and S of the QR decompositions of the two, its norm is that of ``R S'``, a
    matrix of the size of the factors. Neither a rotation nor a rescaling of users against items,
    which change no score, changes more than the last digits; Gram matrices would lose half of the
    digits. Of models that score on demand, and on accelerators, on which a batch of QR
    decompositions takes most of the time of ``evaluate``, the squares are added up over chunks of
    users.

    Args:
      a: the model to judge; its dimension may differ from that of ``b``.
      b: the model to compare with.

    Returns:
      scalar; NaN where ``B`` is 0 or a factor is not finite.

    Raises:
      ValueError: the models differ in their numbers of users or items.

    Example:
      >>> a = Factors(jnp.array([[1.0], [2.0]]), jnp.array([[3.0]]))
      >>> b = Factors(jnp.array([[1.0], [1.0]]), jnp.array([[3.0]]))
      >>> round(float(prediction_distance(a, b)), 4)  # 3 / sqrt(18)
      0.7071
    """
    _fits.check("prediction_distance", a, b=b)
    if not (isinstance(a, Factors) and isinstance(b, Factors)):
        return _by_rows(a, b)
    return lax.platform_dependent(a, b, cpu=_by_triangles, default=_by_rows)


def _by_triangles(a: Factors, b: Factors) -> Array:
    a, b = (Factors(*map(widened, factors)) for factors in (a, b))
    left = jnp.linalg.qr(jnp.concatenate([a.users, b.users], axis=1), mode="r")
    # one after the other: independent LAPACK calls of one program can wait for each other for ever
    left, a_items = lax.optimization_barrier((left, a.items))
    right = jnp.linalg.qr(jnp.concatenate([a_items, -b.items], axis=1), mode="r")
    width = a.users.shape[1]
    difference = jnp.linalg.norm(times(left, right.T))
    norm = jnp.linalg.norm(times(left[:, width:], right[:, width:].T))
    return ratio(difference, norm, otherwise=jnp.nan)


def _by_rows(a: Served, b: Served) -> Array:
    def squares(users: Array) -> tuple[Array, Array]:
        own, other = (widened(serving.scores(served, users)) for served in (a, b))
        return jnp.sum((own - other) ** 2), jnp.sum(other**2)

    difference, size = serving.sum_over_users(squares, b)
    return ratio(jnp.sqrt(difference), jnp.sqrt(size), otherwise=jnp.nan)


def mean_square(served: Served) -> Array:
    """Mean of the squared predictions of all user-item pairs, a scalar; 0 where there is none."""
    n_users, n_items = serving.sizes(served)
    if isinstance(served, Factors):
        users, items = (times(side.T, side) for side in map(widened, served))
        total = jnp.maximum(jnp.sum(users * items), 0)
    else:
        total = serving.sum_over_users(lambda u: jnp.sum(widened(served.scores(u)) ** 2), served)
    return total / float(max(1, n_users * n_items))  # more than 32 bits can number, perhaps


def distance_on(a: Served, b: Served, cells: Interactions, where: Array) -> Array:
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
    own, other = (serving.scores_of(served, cells) for served in (a, b))
    return of_scores(own, other, _weights.floating(cells, where), mean_square(b))


def of_scores(a: Array, b: Array, where: Array, typical: Array) -> Array:
    """``distance_on`` of scores ``[N]``; ``typical`` is the mean square of what b predicts."""
    a, b, where = map(widened, (a, b, where))
    a, b = (jnp.where(where > 0, scores, 0) for scores in (a, b))
    difference = jnp.sqrt(jnp.sum(where * (a - b) ** 2))
    norm = jnp.sqrt(jnp.sum(where * b**2))
    least = 1e-6 * jnp.sqrt(typical * jnp.sum(where))
    return jnp.where(norm > least, ratio(difference, norm, otherwise=jnp.nan), jnp.nan)
