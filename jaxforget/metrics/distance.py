"""How far the predictions of two models are apart."""

import jax.numpy as jnp
from jax import Array

from jaxforget.sparse.arithmetic import ratio, times
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, Interactions


def prediction_distance(a: Factors, b: Factors) -> Array:
    """Relative distance of the predictions for all user-item pairs, without forming them.

    ``|A - B|_F / |B|_F`` with the score matrices ``A = a.users a.items'`` and ``B`` likewise.

    The score matrix does not change if users and items are rotated together, so ``a`` is first
    rotated onto ``b`` (orthogonal Procrustes). Then ``A - B`` is written with the differences of
    the factors, and its norm with their ``[D, D]`` Gram matrices. The difference of two Gram
    matrices of full size would lose half of the digits to cancellation.

    Args:
      a: the model to judge; its dimension may differ from that of ``b``.
      b: the model to compare with.

    Returns:
      scalar; the undivided ``|A - B|_F`` where ``B`` is 0.

    Example:
      >>> a = Factors(jnp.array([[1.0], [2.0]]), jnp.array([[3.0]]))
      >>> b = Factors(jnp.array([[1.0], [1.0]]), jnp.array([[3.0]]))
      >>> round(float(prediction_distance(a, b)), 4)  # 3 / sqrt(18)
      0.7071
    """
    if a.users.shape != b.users.shape:  # padding with zeros changes no score
        width = max(a.users.shape[1], b.users.shape[1])
        a, b = (
            Factors(*(jnp.pad(x, ((0, 0), (0, width - x.shape[1]))) for x in f)) for f in (a, b)
        )
    left, _, right = jnp.linalg.svd(times(a.users.T, b.users) + times(a.items.T, b.items))
    a = Factors(*(times(x, left @ right) for x in a))
    users, items = a.users - b.users, a.items - b.items  # A - B = users a.items' + b.users items'
    squares = (
        jnp.sum(times(users.T, users) * times(a.items.T, a.items))
        + 2 * jnp.sum(times(users.T, b.users) * times(a.items.T, items))
        + jnp.sum(times(b.users.T, b.users) * times(items.T, items))
    )
    return _root_ratio(squares, jnp.sum(times(b.users.T, b.users) * times(b.items.T, b.items)))


def distance_on(a: Factors, b: Factors, cells: Interactions, where: Array) -> Array:
    """Relative distance of the predictions for some pairs: ``|w^1/2 (a - b)| / |w^1/2 b|``.

    Args:
      a: the model to judge.
      b: the model to compare with.
      cells: the user-item pairs; their values are not read.
      where: ``[N]`` weight of each pair.

    Returns:
      scalar; 0 where no pair has a weight.
    """
    scores, reference = (sddmm(cells, *f) for f in (a, b))
    difference = jnp.sum(where * (scores - reference) ** 2)
    return _root_ratio(difference, jnp.sum(where * reference**2))


def _root_ratio(squares: Array, reference: Array) -> Array:
    """Ratio of two norms given as squares, of which rounding may make the first negative."""
    return jnp.sqrt(ratio(jnp.maximum(squares, 0), reference))
