"""The proof behind a certificate: bases, a bound of the remainder, the dual point, its distance."""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _checks
from jaxforget.als import spectral
from jaxforget.als.certificate import dual, dual_point, lanczos
from jaxforget.als.certificate.dual_point import Difference, Problem
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, Interactions, Terms

Proof = Literal["lanczos", "cholesky"]

RANK_TOL = 1e-12  # singular values of M below this share of the largest do not count as rank


class Certificate(NamedTuple):
    """What a dual point proves about factors; every field is a scalar."""

    sigma_ratio: Array  # upper bound of sigma_max(L_u^(-1/2) G L_i^(-1/2)); 1 at the optimum
    gap: Array  # F(M) - D(Z), the duality gap of the dual point used
    bound: Array  # |M - M*|_F is at most this
    relative_bound: Array  # bound / |M|_F
    pair_bound: Array  # |score - optimal score| <= pair_bound / sqrt(c) at confidence c
    rank: Array  # numerical rank of M
    failure_probability: Array  # chance, over the key, that the singular-value bound is too low


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
) -> tuple[Certificate, Array]:
    """Computes the certificate and, from the same dual point, the bounds ``[U]`` of ``people``.

    Arguments and errors are those of ``certify``.
    """
    if factors.users.dtype != jnp.float64:
        raise ValueError(
            f"a certificate needs float64 factors; got {factors.users.dtype}: enable "
            "jax_enable_x64 and convert them"
        )
    _checks.choice("certificate", ("lanczos", "cholesky"), proof=proof)
    problem, gradient = _problem(factors, train, terms)
    ridge = jnp.max(terms.ridge_users) * jnp.max(terms.ridge_items)
    search_key, check_key = jax.random.split(key)
    own = dual.triplets(problem.user_scale * factors.users, problem.item_scale * factors.items)
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
    return _conclude(problem, own.sizes, difference, sigma_ratio, _rounding(bases), failure)


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
) -> tuple[Certificate, Array]:
    """Turns the difference ``R`` into bounds: sections 3 and 4 of ``docs/certificate.md``.

    Args:
      sizes: ``[K]`` singular values of M, scaled.
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
    slack = jnp.maximum(nuclear - inner, 0) + rounding * nuclear
    radius = jnp.sqrt(slack + distance / 4)

    valid = jnp.all(confidence > 0) & (terms.unobserved == 1) & ~_repeats(train, terms)
    softest = jnp.minimum(1, jnp.min(confidence, initial=1))
    pair_bound = jnp.where(valid, jnp.sqrt(distance) / 2 + radius, jnp.inf)
    bound = pair_bound / jnp.sqrt(jnp.where(valid, softest, 1))
    persons = jnp.where(valid, jnp.sqrt(per_user) / 2 + radius, jnp.inf) / jnp.sqrt(softest)
    certificate = Certificate(
        sigma_ratio=sigma_ratio,
        gap=distance + 2 * slack,
        bound=bound,
        relative_bound=jnp.where(bound == 0, 0, bound / jnp.sqrt(squares)),
        pair_bound=pair_bound,
        rank=jnp.sum(sizes > RANK_TOL * sizes[0]),
        failure_probability=jnp.asarray(failure, bound.dtype),
    )
    return certificate, persons


def _repeats(train: Interactions, terms: Terms) -> Array:
    """Whether two remembered interactions are of one pair, which the convex form cannot state."""
    rows = jnp.arange(len(train.users), dtype=jnp.int32)
    remembered = (terms.curvature != 0) | (terms.target != 0)
    last = lax.cummax(jnp.where(remembered, rows, -1))  # the last remembered row up to each
    before = jnp.append(jnp.full(1, -1, jnp.int32), last)[:-1]
    same = (train.users == train.users[before]) & (train.items == train.items[before])
    return jnp.any(remembered & (before >= 0) & same)


def _rounding(bases: dual.Bases) -> Array:
    """Relative excess of the dual point over the radius: bases are orthonormal up to rounding."""
    defect = 256 * jnp.finfo(bases.sizes.dtype).eps
    for basis in (bases.left, bases.right):
        gram = basis.T @ basis
        defect = defect + 2 * jnp.linalg.norm(gram - jnp.diag(jnp.round(jnp.diag(gram))))
    return defect
