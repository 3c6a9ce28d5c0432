"""The proof behind a certificate: bases, a bound of the remainder, the dual point, its distance."""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _checks
from jaxforget.als import spectral
from jaxforget.als.certificate import dual, dual_point, lanczos
from jaxforget.als.certificate.dual_point import Difference, Problem
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, Interactions, Terms

Proof = Literal["lanczos", "cholesky"]

RANK_TOL = 1e-12  # singular values of M below this share of the largest do not count as rank


class Certificate(NamedTuple):
    """What a dual point proves about factors; every field is a scalar.

    Where nothing is proved the bounds are infinite, never NaN.
    """

    sigma_ratio: Array  # upper bound of sigma_max(L_u^(-1/2) G L_i^(-1/2)); 1 at the optimum
    gap: Array  # F(M) - D(Z), the duality gap of the dual point used
    bound: Array  # |M - M*|_F is at most this
    relative_bound: Array  # bound / |M|_F
    pair_bound: Array  # |score - optimal score| <= pair_bound / sqrt(c) at confidence c
    rank: Array  # numerical rank of M
    failure_probability: Array  # chance, over the key, that the singular-value bound is too low


class Ball(NamedTuple):
    """Where the optimum lies, around a shifted model: what it says of any part of the matrix.

    ``|Delta_S|_C <= |R_S|_(1/C) / 2 + radius`` over every set S of cells, with R of low rank
    wherever nothing is remembered.
    """

    radius: Array  # scalar; infinite where nothing is proved
    softest: Array  # scalar, the smallest confidence, at most 1
    per_user: Array  # [U] |R_u|^2 / c over all items
    left: Array  # [U, J]
    right: Array  # [I, J] R = left right' at pairs without a remembered interaction

    def rows(self, users: Array) -> Array:
        """Bounds ``|M - M*|`` over all items of distinct users ``[K]`` together: a scalar."""
        reach = jnp.sqrt(jnp.sum(self.per_user[users])) / 2 + self.radius
        return reach / jnp.sqrt(self.softest)

    def pairs(self, users: Array, items: Array) -> Array:
        """Bounds ``|M - M*|`` over distinct pairs ``[K]``, none of them remembered: a scalar."""
        parts = jnp.sum(self.left[users] * self.right[items], axis=1)
        return jnp.linalg.norm(parts) / 2 + self.radius


def check_settings(
    owner: str,
    *,
    proof: str = "lanczos",
    failure: float = 1e-9,
    steps: int = 24,
    width: int = 16,
    deflate: int = 32,
) -> None:
    """Refuses settings of ``certify`` that are out of range; ``owner`` is who was given them.

    Raises:
      ValueError: an unknown proof, ``failure`` outside (0, 1), or a size that is no integer of at
        least 1 (0 for ``deflate``).
    """
    _checks.choice(owner, ("lanczos", "cholesky"), proof=proof)
    _checks.share(owner, failure=failure)
    if failure == 1:
        raise _checks.SettingError(
            f"{owner}: failure must be in (0, 1); got 1: that would prove nothing"
        )
    _checks.count(owner, 1, steps=steps, width=width)
    _checks.count(owner, 0, deflate=deflate)


@functools.partial(jax.jit, static_argnames=("proof", "failure", "steps", "width", "deflate"))
def prove(
    key: Array,
    factors: Factors,
    train: Interactions,
    terms: Terms,
    directions: Array | None,
    *,
    proof: Proof,
    failure: float,
    steps: int,
    width: int,
    deflate: int,
) -> tuple[Certificate, Ball]:
    """Computes the certificate and, from the same dual point, what it says of parts of M.

    Arguments and errors are those of ``certify``.
    """
    if factors.users.dtype != jnp.float64:
        raise ValueError(
            f"a certificate needs float64 factors; got {factors.users.dtype}: enable "
            "jax_enable_x64 and convert them"
        )
    check_settings(
        "certificate", proof=proof, failure=failure, steps=steps, width=width, deflate=deflate
    )
    problem, gradient = _problem(factors, train, terms)
    ridge = jnp.max(terms.ridge_users) * jnp.max(terms.ridge_items)
    search_key, check_key = jax.random.split(key)
    scaled = Factors(problem.user_scale * factors.users, problem.item_scale * factors.items)
    own = dual.triplets(*scaled)
    sizes = jnp.append(own.sizes, dual.triplet_error(*scaled, own))
    bases = dual.drop_loose(gradient, own, ridge)
    if directions is None:
        directions = dual.search(search_key, gradient, bases, steps=steps, width=width, n=deflate)
        bases = dual.deflate(gradient, bases, directions)
    else:  # most directions lie in the span of the factors' own
        n = max(directions.shape[1], len(own.sizes))
        bases = dual.drop_zeros(dual.deflate(gradient, bases, directions), n)
    if proof == "cholesky":
        top, failure = dual.cholesky_bound(check_key, gradient, bases), 0.0
    else:
        top = _lanczos_bound(check_key, gradient, bases, steps=steps, width=width, failure=failure)
    point, sigma_ratio = dual_point.build(gradient, bases, jnp.sqrt(top), ridge)
    difference = dual_point.difference(problem, point)
    return _conclude(problem, sizes, difference, sigma_ratio, _rounding(bases), failure)


def _lanczos_bound(
    key: Array,
    gradient: dual.Gradient,
    bases: dual.Bases,
    *,
    steps: int,
    width: int,
    failure: float,
) -> Array:
    """Bounds the largest eigenvalue of ``N'N``; too low with probability at most ``failure``."""
    matmat, size = dual.remainder(gradient, bases), len(bases.right)
    _, upper = lanczos.top_eigenvalue(key, matmat, size, steps=steps, width=width, failure=failure)
    return upper


def _problem(factors: Factors, train: Interactions, terms: Terms) -> tuple[Problem, dual.Gradient]:
    """The problem, and G as a scaled operator."""
    user_scale, item_scale = spectral.scales(terms)
    scores = sddmm(train, *factors)
    slopes = terms.target - terms.curvature * scores
    values = slopes / (user_scale[train.users] * item_scale[train.items])[:, 0]
    gradient = dual.Gradient(train, values, factors.users / user_scale, factors.items / item_scale)
    return Problem(factors, train, terms, user_scale, item_scale, scores, slopes), gradient


def _conclude(
    problem: Problem,
    sizes: Array,
    difference: Difference,
    sigma_ratio: Array,
    rounding: Array,
    failure: float,
) -> tuple[Certificate, Ball]:
    """Turns the difference ``R`` into bounds: sections 3 and 4 of ``docs/certificate.md``.

    Args:
      sizes: ``[K + 1]`` singular values of M, scaled, and what they may lack together.
      difference: of G and the dual point.
      sigma_ratio: for the certificate.
      rounding: relative allowance of ``_rounding``.
      failure: for the certificate.
    """
    factors, train, terms = problem.factors, problem.train, problem.terms
    shrink, at_pairs = difference.shrink, difference.at_pairs
    confidence = 1 + terms.curvature
    squares = jnp.sum((factors.users.T @ factors.users) * (factors.items.T @ factors.items))

    # d^2 = sum R^2 / c: as if c were 1 and R low-rank everywhere, corrected at the interactions
    extra = ((1 - shrink) * problem.slopes + at_pairs) ** 2 / confidence - at_pairs**2
    per_user = difference.per_user + jax.ops.segment_sum(extra, train.users, train.n_users)
    per_user = jnp.maximum(per_user, 0)
    distance, nuclear = jnp.sum(per_user), jnp.sum(sizes)

    low_rank = (difference.left.T @ factors.users) * (difference.right.T @ factors.items)
    inner = shrink * (problem.slopes @ problem.scores) - squares - jnp.sum(low_rank)  # <Z, M>
    sums = jnp.abs(problem.slopes) @ jnp.abs(problem.scores) + squares + jnp.sum(jnp.abs(low_rank))
    slack = jnp.maximum(nuclear - inner, 0) + rounding * nuclear + _of_sums(problem) * sums
    radius = jnp.sqrt(slack + distance / 4)

    valid = jnp.all(confidence > 0) & (terms.unobserved == 1) & ~_repeats(train, terms)
    valid = valid & jnp.isfinite(squares) & jnp.isfinite(radius)  # NaN anywhere ends in these
    softest = jnp.where(valid, jnp.minimum(1, jnp.min(confidence, initial=1)), 1)
    pair_bound = jnp.where(valid, jnp.sqrt(distance) / 2 + radius, jnp.inf)
    bound = pair_bound / jnp.sqrt(softest)
    held = per_user, difference.left, difference.right
    ball = Ball(jnp.where(valid, radius, jnp.inf), softest, *(jnp.where(valid, x, 0) for x in held))
    relative = jnp.where(valid, bound / jnp.sqrt(squares), jnp.inf)
    certificate = Certificate(
        sigma_ratio=jnp.where(valid, sigma_ratio, jnp.inf),
        gap=jnp.where(valid, distance + 2 * slack, jnp.inf),
        bound=bound,
        relative_bound=jnp.where(bound == 0, 0, relative),
        pair_bound=pair_bound,
        rank=jnp.sum(sizes[:-1] > RANK_TOL * sizes[0]),
        failure_probability=jnp.asarray(failure, bound.dtype),
    )
    return certificate, ball


def _repeats(train: Interactions, terms: Terms) -> Array:
    """Whether a pair occurs twice with a weight: then no cell has one confidence.

    Interactions are sorted by pair, so the rows of one pair are neighbours, those of weight 0 too.
    """
    counted = _counted(terms)
    same = (train.users[1:] == train.users[:-1]) & (train.items[1:] == train.items[:-1])
    pair = jnp.cumsum(~same, dtype=jnp.int32)
    pair = jnp.concatenate([jnp.zeros_like(pair, shape=min(1, len(counted))), pair])
    rows = jax.ops.segment_sum(counted.astype(jnp.int32), pair, max(1, len(counted)))
    return jnp.any(rows > 1)


def _of_sums(problem: Problem) -> Array:
    """Relative error of a sum over interactions, users or items: ``8 u sqrt(n)``.

    Errors of rounding have no preferred sign, so that more is very improbable (Higham & Mary, A new
    approach to probabilistic rounding error analysis, SISC 41(5), 2019, with lambda = 8).
    """
    dtype = problem.scores.dtype
    n = jnp.sum(_counted(problem.terms), dtype=dtype) + problem.train.n_users
    return 4 * jnp.finfo(dtype).eps * jnp.sqrt(n + problem.train.n_items)


def _counted(terms: Terms) -> Array:
    """Which interactions are there: a row of weight 0 has neither curvature nor target."""
    return (terms.curvature != 0) | (terms.target != 0)


def _rounding(bases: dual.Bases) -> Array:
    """Relative excess of the dual point over the radius: bases are orthonormal up to rounding."""
    defect = 256 * jnp.finfo(bases.sizes.dtype).eps
    for basis in (bases.left, bases.right):
        gram = basis.T @ basis
        defect = defect + 2 * jnp.linalg.norm(gram - jnp.diag(jnp.round(jnp.diag(gram))))
    return defect
