"""How far the model would move if one interaction were forgotten, for every interaction at once."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _checks, _varying, _weights
from jaxforget._settings import checked
from jaxforget.gradient import graph
from jaxforget.gradient.influence import damping
from jaxforget.gradient.influence.curvature import margins_of
from jaxforget.gradient.influence.precondition import preconditioner
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, ForgetSet, Interactions, Model


@checked
def predicted_change(
    model: Model, params: Factors, train: Interactions, weights: Array, *, power: float = 0.5
) -> Array:
    """Predicts the length of the step that forgetting one interaction asks for.

    ``|D^-1 g_n|`` with ``g_n`` the gradient of the outcome of interaction n in the rows of its user
    and its item, and ``D`` the diagonal of the Gauss-Newton matrix of the training loss plus the
    damping that ``ifru`` settles by itself. Of a model on a graph, of the rows that are served.
    What an interaction adds to the ridges of its rows (``nu``) is left out.

    Args:
      model: one that states the margins of its loss and draws no items (``mf``, ``lightgcn``).
      params: where training on ``weights`` stopped.
      train: the training interactions.
      weights: ``[N]`` learnt from.
      power: of the degree, in the damping.

    Returns:
      ``[N]``, 0 or more; 0 where the weight is 0.

    Raises:
      ValueError: another model, or weights that are not one per interaction.

    Example:
      >>> from jaxforget import models
      >>> from jaxforget.sparse import layout
      >>> model = models.load("mf")(dim=1, init_scale=0.1, lr=0.1, n_epochs=1)
      >>> train = layout.build([0, 1], [0, 0], [1.0, 0.0])
      >>> params = Factors(jnp.array([[1.0], [1.0]]), jnp.array([[1.0]]))
      >>> far = predicted_change(model, params, train, jnp.ones(2))
      >>> bool(far[1] > far[0])  # a dislike that the model has as a like
      True

    Source: Koh and Liang, ICML 2017, with the curvature of each coordinate alone.
    """
    _checks.weights("predicted_change", weights, len(train.users))
    weights, loss = _weights.floating(train, weights), margins_of(model, "predicted_change")
    if loss.draws_items:
        raise ValueError(
            "predicted_change: an interaction of this loss also moves a row that is drawn for it; "
            'use loss="bce", or ask for memorised interactions'
        )
    request = ForgetSet(weights, weights)
    ridge, scale = damping.settle(model, params, train, request, damping="auto", power=power)
    inverse = preconditioner("diagonal", loss, params, train, weights, weights)(
        jax.tree.map(lambda x: ridge * x, scale)
    )(jax.tree.map(jnp.ones_like, params))
    margins = loss.margins(params, train, weights)
    slopes = _varying.grad(lambda m: jnp.sum(loss.outcomes(m, train, weights)))(margins)
    served = graph.propagate(params, train, weights, n_layers=loss.n_layers)
    squares, held = (jax.tree.map(jnp.square, x) for x in (served, inverse))
    moved = sddmm(train, held.users, squares.items) + sddmm(train, squares.users, held.items)
    return jnp.abs(slopes) * jnp.sqrt(moved)
