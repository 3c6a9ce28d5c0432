"""Which interactions are hard to forget: those a model memorised, and those tied to what stays.

A request drawn at random is an easy one: most of what it asks for would be predicted without it.
"""

import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _checks, _weights
from jaxforget._settings import checked
from jaxforget.sparse.arithmetic import ratio, widened
from jaxforget.sparse.degrees import degrees
from jaxforget.sparse.kernels import spmm
from jaxforget.types import Factors, Interactions


@checked
def memorisation(scores: Array, held: Array) -> Array:
    """How much the score of a pair owes to the pair itself.

    ``mean over the models that held it - mean over the others``, of models that were trained on
    random halves of the interactions.

    Args:
      scores: ``[M, N]`` of every training interaction, by M models.
      held: ``[M, N]`` bool, whether the model was trained on it.

    Returns:
      ``[N]``; NaN for a pair that all models held, or none.

    Raises:
      ValueError: the two are not tables of one shape.

    Example:
      >>> scores = jnp.array([[1.0, 0.5], [0.2, 0.5]])
      >>> memorisation(scores, jnp.array([[True, True], [False, False]])).round(3).tolist()
      [0.8, 0.0]

    Source: Feldman and Zhang, NeurIPS 2020, for margins instead of labels.
    """
    if scores.ndim != 2 or scores.shape != held.shape:
        raise ValueError(
            f"memorisation: scores and held are tables of one shape [models, pairs]; got "
            f"{scores.shape} and {held.shape}"
        )
    scores = widened(scores)
    inside = held.astype(bool).astype(scores.dtype)
    with_it, without = (
        ratio(jnp.sum(x * scores, axis=0), jnp.sum(x, axis=0), otherwise=jnp.nan)
        for x in (inside, 1 - inside)
    )
    return with_it - without


@checked
def entanglement(factors: Factors, train: Interactions, weights: Array) -> Array:
    """How near an item lies to the other items of its user: the cosine with the sum of their rows.

    What lies near is predicted by what stays, so that a model can hardly forget it without harm.

    Args:
      factors: the model that serves.
      train: the training interactions.
      weights: ``[N]`` of the remembered ones.

    Returns:
      ``[N]`` in [-1, 1]; 0 where the user has no other item, or a row is 0; NaN where the row of
      one of the user's items is not finite.

    Raises:
      ValueError: the weights are not one per interaction.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0, 1], [0, 1, 2], [1.0, 1.0, 1.0])
      >>> items = jnp.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
      >>> entanglement(Factors(items[:2], items), train, jnp.ones(3)).round(3).tolist()
      [0.707, 0.707, 0.0]
    """
    _checks.weights("entanglement", weights, len(train.users))
    weights, own = _weights.floating(train, weights), factors.items[train.items]
    sums = spmm(train, weights, factors.items, by="user")
    others = sums[train.users] - weights[:, None] * own
    known = (weights > 0).astype(own.dtype)
    alone = degrees(train, known)[0][train.users] - known < 0.5  # a sum less itself is not quite 0
    own, others = _scaled(own), _scaled(others)
    squares = [jnp.sum(x**2, axis=1) for x in (own, others)]
    there = (squares[0] != 0) & (squares[1] != 0) & ~alone  # also where one is NaN
    sizes = [jnp.sqrt(jnp.where(there, x, 1)) for x in squares]
    return jnp.where(there, jnp.sum(own * others, axis=1) / (sizes[0] * sizes[1]), 0)


def _scaled(rows: Array) -> Array:
    """Rows times a power of 2 each, so that their squares neither vanish nor overflow.

    A power of 2 rounds nothing, and a cosine is of the directions alone.
    """
    largest = lax.stop_gradient(jnp.max(jnp.abs(rows), axis=1, initial=0))
    exponent = jnp.frexp(largest)[1] - 1
    power = jnp.ldexp(jnp.ones_like(largest), -exponent)
    fits = (largest > 0) & (largest < jnp.inf)
    return rows * jnp.where(fits, power, 1)[:, None]
