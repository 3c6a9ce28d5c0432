"""The objectives of alternating least squares: their terms, value and optimality residual.

Implicit feedback (Hu, Koren, Volinsky, ICDM 2008) in the convention of the library ``implicit``:
confidence ``c = |alpha * value|`` on observed pairs and 1 on every other; preference 1 where the
value is positive and 0 elsewhere, so a negative value says "seen, and not liked".
A weight of 0 resets both, so that the pair counts exactly as one that was never observed.
``docs/models.md`` says what a value of 0 means for each model.
"""

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _weights
from jaxforget._settings import checked
from jaxforget.sparse.arithmetic import ratio, times
from jaxforget.sparse.degrees import degrees, exchange, ridge
from jaxforget.sparse.kernels import sddmm, spmm
from jaxforget.types import Factors, Interactions, Terms


@checked
def implicit(
    train: Interactions,
    weights: Array,
    *,
    reg: float,
    alpha: float = 1.0,
    nu: float = 0.0,
    unobserved: float = 0.0,
) -> Terms:
    """States the implicit-feedback objective ``sum_all c (p - x.y)^2 + sum ridge |row|^2``.

    ``ridge_u = reg * (count_u + unobserved * I)^nu`` with counts of the weighted interactions
    (Rendle et al., RecSys 2022); ``nu = 0`` is the plain ``reg``.

    Args:
      train: interactions, each pair once; ``|alpha * values|`` is the confidence of each.
      weights: ``[N]`` 1 = remembered, 0 = forgotten or padding.
      reg: > 0. It also keeps the system of a row without interactions solvable.
      alpha: > 0, confidence per unit of value.
      nu: exponent of the counts in the ridges.
      unobserved: what a pair that was not observed adds to a count.
    """
    weights, strength = _weights.floating(train, weights), alpha * train.values
    ridges = _ridges(train, weights, reg, nu, unobserved)
    target = weights * jnp.maximum(strength, 0)  # confidence times preference
    return Terms(
        weights * (jnp.abs(strength) - 1),
        target,
        jnp.sum(target),  # c (p - s)^2 = c s^2 - 2 c p s + c p, as p is 0 or 1
        jnp.ones((), strength.dtype),
        *ridges,
    )


@checked
def explicit(train: Interactions, weights: Array, *, reg: float, nu: float = 0.0) -> Terms:
    """States the explicit-feedback objective ``sum_n w (value - x.y)^2 + sum ridge |row|^2``.

    ``ridge_u = reg * count_u^nu``; ``nu = 1`` is ALS-WR (Zhou et al., AAIM 2008).
    """
    weights = _weights.floating(train, weights)
    ridges = _ridges(train, weights, reg, nu, 0.0)
    target = weights * train.values
    return Terms(
        weights,
        target,
        jnp.sum(target * train.values),
        jnp.zeros((), target.dtype),
        *ridges,
    )


def _ridges(
    train: Interactions, weights: Array, reg: float, nu: float, unobserved: float
) -> tuple[Array, Array]:
    """Ridges ``[U]`` and ``[I]``; ``reg`` itself where the count is 0."""
    if nu == 0:  # counts do not enter: then a deletion does not change the ridge of any row
        n_users, n_items = train.n_users, train.n_items
        return jnp.full(n_users, reg, weights.dtype), jnp.full(n_items, reg, weights.dtype)

    users, items = degrees(train, weights)
    return (
        ridge(users + unobserved * train.n_items, reg=reg, nu=nu),
        ridge(items + unobserved * train.n_users, reg=reg, nu=nu),
    )


@checked
def objective(
    factors: Factors, train: Interactions, weights: Array, *, reg: float, alpha: float
) -> Array:
    """Evaluates the implicit objective, a sum over all pairs, at the cost of the observed ones."""
    return cost(factors, train, implicit(train, weights, reg=reg, alpha=alpha))


@checked
def residual(
    factors: Factors, train: Interactions, weights: Array, *, reg: float, alpha: float
) -> Array:
    """Returns the relative optimality residual of the implicit objective; see ``optimality``."""
    return optimality(factors, train, implicit(train, weights, reg=reg, alpha=alpha))


@jax.jit
def cost(factors: Factors, train: Interactions, terms: Terms) -> Array:
    """Evaluates the objective of ``terms``: a scalar, differentiable any number of times.

    All unobserved pairs together are ``<X'X, Y'Y>``, a product of two Gram matrices.
    """
    users, items = factors
    scores = sddmm(train, users, items)
    observed = jnp.sum((terms.curvature * scores - 2 * terms.target) * scores) + terms.constant
    everywhere = terms.unobserved * jnp.sum(gram(users) * gram(items))
    norms = (terms.ridge_users[:, None] * users**2).sum() + (
        terms.ridge_items[:, None] * items**2
    ).sum()
    return observed + everywhere + norms


@jax.jit
def optimality(factors: Factors, train: Interactions, terms: Terms) -> Array:
    """Returns ``sqrt(sum |A x - b|^2) / sqrt(sum |b|^2)`` over all rows of both sides.

    ``A x = b`` are the normal equations of a row, with the other side fixed; ``2 (A x - b)`` is the
    objective's gradient, so the residual is 0 exactly at a stationary point. Where every target is
    0 the numerator alone is returned.
    """
    sizes = exchange(train, terms.target, factors)
    return jnp.sqrt(ratio(squares(gaps(factors, train, terms)), squares(sizes)))


def gaps(factors: Factors, train: Interactions, terms: Terms) -> Factors:
    """Returns ``A x - b`` of every row of both sides: half of the objective's gradient.

    Args:
      factors: the model.
      train: the interactions.
      terms: the objective; ``A x = b`` are the normal equations of a row, the other side fixed.

    Returns:
      ``[U, D]`` and ``[I, D]``.
    """
    slopes = _slopes(factors, train, terms)
    return Factors(*(_gap(factors, slopes, train, terms, by) for by in ("user", "item")))


def gap(factors: Factors, train: Interactions, terms: Terms, *, by: str) -> Array:
    """Returns what ``gaps`` does for the rows of one side, ``"user"`` or ``"item"``."""
    return _gap(factors, _slopes(factors, train, terms), train, terms, by)


def _slopes(factors: Factors, train: Interactions, terms: Terms) -> Array:
    """``[N]`` half of the derivative of each interaction's part in its score."""
    return terms.curvature * sddmm(train, *factors) - terms.target


def _gap(factors: Factors, slopes: Array, train: Interactions, terms: Terms, by: str) -> Array:
    users, items = factors
    rows, fixed, ridge = (
        (users, items, terms.ridge_users) if by == "user" else (items, users, terms.ridge_items)
    )
    everywhere = times(rows, terms.unobserved * gram(fixed))
    return everywhere + spmm(train, slopes, fixed, by=by) + ridge[:, None] * rows


def squares(both: Factors) -> Array:
    """The sum of the squares of all numbers of both sides."""
    return jnp.sum(both.users**2) + jnp.sum(both.items**2)


def gram(rows: Array) -> Array:
    """``rows' rows``: ``[D, D]``, at full precision."""
    return times(rows.T, rows)
