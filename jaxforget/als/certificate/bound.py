"""How far implicit-ALS factors are, at most, from the one optimum of the retained data.

With factors ``(X, Y)`` read as ``M = X Y'``, implicit ALS is the rank-limited form of the convex

    F(M) = sum_all c (p - M)^2 + 2 |L_u^(1/2) M L_i^(1/2)|_*        (L: ridges, rows on a diagonal)

which is strongly convex, so it has one minimiser M*: the model that retraining aims at. A feasible
point Z of the dual problem bounds the distance of any M to it. ``docs/certificate.md`` derives
every formula used here; nothing below ever holds a ``[U, I]`` array.
"""

import jax.numpy as jnp
from jax import Array

from jaxforget import als
from jaxforget._settings import checked
from jaxforget.als.certificate.proving import Ball, Certificate, Proof, check_settings, prove
from jaxforget.types import Factors, Interactions, Terms

__all__ = [
    "Ball",
    "Certificate",
    "Proof",
    "certify",
    "check_settings",
    "duality_gap",
    "people",
    "prove",
]


@checked
def duality_gap(
    factors: Factors,
    train: Interactions,
    weights: Array,
    *,
    reg: float,
    alpha: float,
    key: Array,
    nu: float = 0.0,
    unobserved: float = 0.0,
    directions: Array | None = None,
    proof: Proof = "lanczos",
    failure: float = 1e-9,
    steps: int = 24,
    width: int = 16,
    deflate: int = 32,
) -> Certificate:
    """Bounds the distance of implicit-ALS factors to the optimum of the weighted data.

    Args:
      factors: float64, from any procedure.
      train: interactions, each (user, item) pair at most once with a weight.
      weights: ``[N]`` 1 = retained, 0 = forgotten or padding.
      reg, alpha, nu, unobserved: the objective, as in ``als.implicit``.
      key: typed JAX key of the random starts.
      directions, proof, failure, steps, width, deflate: as in ``certify``.

    Raises:
      ValueError: as ``certify``.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxforget.sparse import layout
      >>> with jax.enable_x64(True):
      ...     train = layout.build([0, 1, 1], [1, 0, 1], [2.0, 2.0, 2.0])
      ...     zero = Factors(jnp.zeros((2, 1)), jnp.zeros((2, 1)))
      ...     key, ones = jax.random.key(0), jnp.ones(3)
      ...     proved = duality_gap(zero, train, ones, reg=9.0, alpha=1.0, key=key)
      >>> float(proved.bound), float(proved.rank)  # so much ridge that the optimum is 0
      (0.0, 0.0)
    """
    terms = als.implicit(train, weights, reg=reg, alpha=alpha, nu=nu, unobserved=unobserved)
    return certify(
        factors,
        train,
        terms,
        key=key,
        directions=directions,
        proof=proof,
        failure=failure,
        steps=steps,
        width=width,
        deflate=deflate,
    )


@checked
def certify(
    factors: Factors,
    train: Interactions,
    terms: Terms,
    *,
    key: Array,
    directions: Array | None = None,
    proof: Proof = "lanczos",
    failure: float = 1e-9,
    steps: int = 24,
    width: int = 16,
    deflate: int = 32,
) -> Certificate:
    """Bounds the distance of implicit-ALS factors to the optimum of ``terms``.

    Valid for every M, key and setting; the settings decide how tight it is, and what it costs.

    Args:
      factors: float64, from any procedure.
      train: interactions, each (user, item) pair at most once with a weight.
      terms: the objective, with ``unobserved == 1``; the bound is infinite otherwise, as it is
        where a pair is repeated, a confidence is 0, or a number is not finite.
      key: typed JAX key of the random starts.
      directions: ``[I, J]`` columns whose span holds, nearly, the leading right singular vectors
        of G (``proximal`` carries them); without them Lanczos looks for ``deflate`` of them.
      proof: how the remainder of G is bounded: ``"lanczos"``, wrong with probability at most
        ``failure`` over the key, or ``"cholesky"``, a deterministic factorisation of an
        ``[I, I]`` matrix.
      failure: probability in (0, 1).
      steps: block steps of the Lanczos runs.
      width: their block width.
      deflate: how many leading singular triplets of the remainder of G are split off.

    Returns:
      A ``Certificate``. Rounding is allowed for; ``relative_bound`` ends near 1e-7.

    Raises:
      ValueError: factors are not float64, or a setting is out of range.
    """
    return prove(
        key,
        factors,
        train,
        terms,
        directions,
        proof=proof,
        failure=failure,
        steps=steps,
        width=width,
        deflate=deflate,
    )[0]


@checked
def people(
    factors: Factors,
    train: Interactions,
    terms: Terms,
    *,
    key: Array,
    directions: Array | None = None,
    proof: Proof = "lanczos",
    failure: float = 1e-9,
    steps: int = 24,
    width: int = 16,
    deflate: int = 32,
) -> Array:
    """Bounds ``|M_u - M*_u|``, over all items, for every user u.

    Never more than ``bound`` of ``certify``, whose arguments it takes, and at least half of it.

    Returns:
      ``[U]``.
    """
    ball = prove(
        key,
        factors,
        train,
        terms,
        directions,
        proof=proof,
        failure=failure,
        steps=steps,
        width=width,
        deflate=deflate,
    )[1]
    return (jnp.sqrt(ball.per_user) / 2 + ball.radius) / jnp.sqrt(ball.softest)
