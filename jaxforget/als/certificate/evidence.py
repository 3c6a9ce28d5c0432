"""Host: the numbers of a receipt, from a model and the data it may know."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxforget import als
from jaxforget.als.certificate import bound
from jaxforget.types import Factors, Interactions

# The same in every receipt, so that whoever issues one cannot choose a proof that proves nothing.
STANDARD = {"proof": "lanczos", "failure": 1e-9, "steps": 24, "width": 16, "deflate": 32}


def numbers(
    factors: Factors,
    train: Interactions,
    weights: ArrayLike,
    *,
    objective: Mapping[str, Any],
    seed: int,
    request: tuple[ArrayLike, ArrayLike] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Bounds the distance of a model to the optimum of data: of all scores, and of a request.

    Args:
      factors: the model as it is served: of float32 the very numbers that were rounded to it are
        bounded, so that rounding is in the bound.
      train: interactions; computed with in float64.
      weights: ``[N]`` 1 = the data, 0 = as if never loaded.
      objective: of ``als.implicit``.
      seed: of the random starts.
      request: ``(users, items)``, distinct pairs that the data do not hold.
      settings: of ``certificate.certify``; ``STANDARD`` if None.

    Returns:
      the fields of ``Certificate``; ``size``, ``|M|``; ``residual``; and with a request ``rows``
      and ``pairs``, bounds over the rows of its users and over its pairs (each a norm over all of
      them together), and ``rows_size``, the norm of M over those rows.
    """
    factors = Factors(*(jnp.asarray(np.asarray(side), jnp.float64) for side in factors))
    wide = dataclasses.replace(train, values=jnp.asarray(train.values, jnp.float64))
    terms = als.implicit(wide, jnp.asarray(weights, jnp.float64), **objective)
    proved, ball = bound.prove(
        jax.random.key(seed), factors, wide, terms, None, **(settings or STANDARD)
    )
    norms = _row_norms(factors)
    found = {name: float(value) for name, value in proved._asdict().items()}
    found |= {
        "size": float(np.sqrt(np.sum(norms**2))),
        "residual": float(als.optimality(factors, wide, terms)),
    }
    if request is not None:
        users, items = (jnp.asarray(np.asarray(ids, np.int32)) for ids in request)
        rows = jnp.asarray(np.unique(users))
        found |= {
            "rows": float(ball.rows(rows)) if len(rows) else 0.0,
            "rows_size": float(np.sqrt(np.sum(norms[np.asarray(rows)] ** 2))),
            "pairs": float(ball.pairs(users, items)) if len(rows) else 0.0,
        }
    return found


def _row_norms(factors: Factors) -> np.ndarray:
    """``|M_u|`` over all items, for every user."""
    users, items = factors
    squares = jnp.sum((users @ (items.T @ items)) * users, axis=1)
    return np.asarray(jnp.sqrt(jnp.maximum(squares, 0)))
