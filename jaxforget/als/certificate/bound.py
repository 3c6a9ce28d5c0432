"""How far implicit-ALS factors are, at most, from the one optimum of the retained data.

With factors ``(X, Y)`` read as ``M = X Y'``, implicit ALS is the rank-limited form of the convex

    F(M) = sum_all c (p - M)^2 + 2 |L_u^(1/2) M L_i^(1/2)|_*        (L: ridges, rows on a diagonal)

which is strongly convex, so it has one minimiser M*: the model that retraining aims at. A feasible
point Z of the dual problem bounds the distance of any M to it. ``docs/certificate.md`` derives
every formula used here; nothing below ever holds a ``[U, I]`` array.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import als
from jaxforget.als.certificate import dual, lanczos
from jaxforget.sparse.kernels import sddmm
from jaxforget.types import Factors, Interactions, Terms

LIVE = 1e-12  # singular values of M below this share of the largest count as rank 0

NO_ROOM = 1e-9  # a direction nearer than this to the radius keeps no coupling

BUDGET = 0.5  # share of the room under the dual ball's radius that a kept coupling may take


class Certificate(NamedTuple):
    """What a dual point proves about factors; every field is a scalar."""

    sigma_ratio: Array  # upper bound of sigma_max(L_u^(-1/2) G L_i^(-1/2)); 1 at the optimum
    gap: Array  # F(M) - D(Z), the duality gap of the dual point used
    bound: Array  # |M - M*|_F is at most this
    relative_bound: Array  # bound / |M|_F
    pair_bound: Array  # |score - optimal score| <= pair_bound / sqrt(c) at confidence c
    rank: Array  # live singular values of M
    failure_probability: Array  # chance, over the key, that the singular-value bound is too low


def duality_gap(factors: Factors, train: Interactions, weights: Array, *, reg: float, alpha: float,
                key: Array, nu: float = 0.0, unobserved: float = 0.0, **settings) -> Certificate:  # fmt: skip
    """Bounds the distance of implicit-ALS factors to the optimum of the weighted data.

    Args:
      factors: float64, from any procedure.
      train: interactions, each (user, item) pair at most once.
      weights: ``[N]`` 1 = retained, 0 = forgotten or padding.
      reg, alpha, nu, unobserved: the objective, as in ``als.implicit``.
      key: typed JAX key of the random starts.
      settings: those of ``certify``.

    Raises:
      ValueError: as ``certify``.

    Example:
      >>> from jaxforget.sparse import layout
      >>> with jax.enable_x64(True):
      ...     train = layout.build([0, 1, 1], [1, 0, 1], [2.0, 2.0, 2.0])
      ...     zero = Factors(jnp.zeros((2, 1)), jnp.zeros((2, 1)))
      ...     found = duality_gap(zero, train, jnp.ones(3), reg=9.0, alpha=1.0, key=jax.random.key(0))
      >>> float(found.bound), float(found.rank)  # so much ridge that the optimum is 0
      (0.0, 0.0)
    """
    terms = als.implicit(train, weights, reg=reg, alpha=alpha, nu=nu, unobserved=unobserved)
    return certify(factors, train, terms, key=key, **settings)


def certify(factors: Factors, train: Interactions, terms: Terms, *, key: Array,
            directions: Array | None = None, **settings) -> Certificate:  # fmt: skip
    """Bounds the distance of implicit-ALS factors to the optimum of ``terms``.

    Valid for every M, key and setting; the settings decide how tight it is, and what it costs.

    Args:
      factors: float64, from any procedure.
      train: interactions, each (user, item) pair at most once.
      terms: the objective, with ``unobserved == 1``; the bound is infinite otherwise.
      key: typed JAX key of the random starts.
      directions: ``[I, J]`` columns whose span holds, nearly, the leading right singular vectors
        of G (``proximal`` carries them); without them Lanczos looks for ``deflate`` of them.
      proof: how the rest of G is bounded: ``"lanczos"``, wrong with probability at most
        ``failure`` over the key, or ``"cholesky"``, a deterministic factorisation of an
        ``[I, I]`` matrix.
      failure: probability in (0, 1).
      steps, width: block steps and block width of the Lanczos runs.
      deflate: how many leading singular triplets of the rest of G are split off.

    Returns:
      A ``Certificate``. Rounding is allowed for; ``relative_bound`` ends near 1e-7.

    Raises:
      ValueError: factors are not float64, or an unknown proof.
    """
    return _evidence(factors, train, terms, key, directions, **settings)[0]


def people(factors: Factors, train: Interactions, terms: Terms, *, key: Array, **settings) -> Array:
    """Bounds, for every user u, ``|M_u - M*_u|`` over all items: at most twice tighter than ``bound``.

    Returns:
      ``[U]``.
    """
    return _evidence(factors, train, terms, key, **settings)[1]


@functools.partial(jax.jit, static_argnames=("proof", "failure", "steps", "width", "deflate"))
def _evidence(factors, train, terms, key, directions=None, *, proof="lanczos", failure=1e-9, steps=24, width=16,
              deflate=32):  # fmt: skip
    if factors.users.dtype != jnp.float64:
        raise ValueError(f"a certificate needs float64 factors; got {factors.users.dtype}: enable "
                         "jax_enable_x64 and convert them")  # fmt: skip
    if proof not in ("lanczos", "cholesky"):
        raise ValueError(f"proof must be 'lanczos' or 'cholesky'; got {proof!r}")
    scale = jnp.sqrt(terms.ridge_users)[:, None], jnp.sqrt(terms.ridge_items)[:, None]
    scores = sddmm(train, *factors)
    pulls = terms.target - terms.curvature * scores
    values = pulls / (scale[0][train.users] * scale[1][train.items])[:, 0]
    gradient = dual.Gradient(train, values, factors.users / scale[0], factors.items / scale[1])
    search, check = jax.random.split(key)
    bases = dual.triplets(scale[0] * factors.users, scale[1] * factors.items)
    sizes = bases.sizes
    bases = dual.settled(gradient, bases, jnp.max(terms.ridge_users) * jnp.max(terms.ridge_items))
    if directions is None:
        directions = dual.search(gradient, bases, search, steps=steps, width=width, n=deflate)
        bases = dual.deflate(gradient, bases, directions)
    else:  # most of them repeat the factors' own
        n = max(directions.shape[1], len(sizes))
        bases = dual.compact(dual.deflate(gradient, bases, directions), n)
    if proof == "cholesky":
        top, failure = dual.cholesky_bound(gradient, bases, check), 0.0
    else:
        top = lanczos.largest(dual.rest(gradient, bases), len(bases.right), check, steps=steps,
                              width=width, failure=failure)[1]  # fmt: skip
    problem = factors, train, terms, scale, scores, pulls
    return _conclude(problem, gradient, bases, sizes, jnp.sqrt(top), failure)


def _conclude(problem, gradient, bases, sizes, rest, failure):
    """Builds the dual point on the bases and measures what it proves."""
    factors, train, terms, scale, scores, pulls = problem
    left, held, right = bases
    core = left.T @ (image := gradient.times(right))
    below, beside = image - left @ core, gradient.transposed(left) - right @ core.T
    sigma_ratio = _block_norm(_norm(core), jnp.maximum(_norm(below), _norm(beside)), rest)

    # rotate to the singular vectors of G + M (M scaled like G), and clip
    shift = 1 / (jnp.max(terms.ridge_users) * jnp.max(terms.ridge_items))
    turn, sigma, other = jnp.linalg.svd(core + shift * jnp.diag(held))
    other, clipped = other.T, jnp.minimum(sigma, 1)
    left, right, below, beside = left @ turn, right @ other, below @ other, beside @ turn
    core = turn.T @ core @ other

    keep = _couplings(clipped, below, beside, rest)
    shrink = 1 / jnp.maximum(rest, 1)

    # G - Z = (1 - shrink) S + low rank; S is sparse
    lost = left @ (shrink * core - jnp.diag(clipped)) + shrink * below * (1 - keep)
    lost = jnp.concatenate([scale[0] * lost, shrink * scale[0] * left,
                            (shrink - 1) * factors.users], axis=1)  # fmt: skip
    where = jnp.concatenate(
        [scale[1] * right, scale[1] * beside * (1 - keep), factors.items], axis=1
    )
    narrow = 2 * left.shape[1]  # the third block is 0 where nothing shrinks
    observed, per_user = lax.cond(
        shrink < 1, lambda: _sums(train, lost, where),
        lambda: _sums(train, lost[:, :narrow], where[:, :narrow]),
    )  # fmt: skip
    confidence = 1 + terms.curvature
    squares = jnp.sum((factors.users.T @ factors.users) * (factors.items.T @ factors.items))
    extra = ((1 - shrink) * pulls + observed) ** 2 / confidence - observed**2
    per_user = per_user + jax.ops.segment_sum(extra, train.users, len(lost))
    per_user = jnp.maximum(per_user, 0)
    distance, nuclear = jnp.sum(per_user), jnp.sum(sizes)
    dropped = jnp.sum((lost.T @ factors.users) * (where.T @ factors.items))
    inner = shrink * (pulls @ scores) - squares - dropped  # <Z, M>
    slack = jnp.maximum(nuclear - inner, 0) + _rounding(bases) * nuclear
    radius = jnp.sqrt(slack + distance / 4)
    valid = jnp.all(confidence > 0) & (terms.unobserved == 1)
    softest = jnp.minimum(1, jnp.min(confidence, initial=1))
    pair_bound = jnp.where(valid, jnp.sqrt(distance) / 2 + radius, jnp.inf)
    bound = pair_bound / jnp.sqrt(jnp.where(valid, softest, 1))
    persons = jnp.where(valid, jnp.sqrt(per_user) / 2 + radius, jnp.inf) / jnp.sqrt(softest)
    return Certificate(
        sigma_ratio=sigma_ratio,
        gap=distance + 2 * slack,
        bound=bound,
        relative_bound=jnp.where(bound == 0, 0, bound / jnp.sqrt(squares)),
        pair_bound=pair_bound,
        rank=jnp.sum(sizes > LIVE * sizes[0]),
        failure_probability=jnp.asarray(failure, bound.dtype),
    ), persons


def _sums(train, left, right):
    """``left right'`` at the observed pairs, and the squares of each user's row of it."""
    return sddmm(train, left, right), jnp.sum(left * (left @ (right.T @ right)), axis=1)


def _couplings(clipped, below, beside, rest):
    """Shares ``[1, K]`` of the couplings to the rest of G that the dual point can keep."""
    room = jnp.maximum(1 - clipped, NO_ROOM)
    load = jnp.maximum(jnp.sum(below**2, axis=0), jnp.sum(beside**2, axis=0)) / room
    spare = jnp.maximum(1 - rest, 0)
    keep = jnp.sqrt(jnp.minimum(1, BUDGET * spare / jnp.maximum(load, 1e-300)))
    keep = jnp.where(room > NO_ROOM, keep, 0)
    weight = (keep / jnp.sqrt(room))[None]
    kept = jnp.maximum(_norm(below * weight), _norm(beside * weight)) ** 2
    return (keep * jnp.sqrt(jnp.minimum(1, spare / jnp.maximum(kept, 1e-300))))[None]


def _norm(block):
    """Spectral norm of a tall matrix, from its small Gram."""
    return jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(block.T @ block)[-1], 0))


def _block_norm(a, e, b):
    """Norm of ``[[a, e], [e, b]]``: bounds that of blocks with these norms."""
    return (a + b) / 2 + jnp.sqrt(((a - b) / 2) ** 2 + e**2)


def _rounding(bases):
    """Relative excess of the dual point over the radius: bases are orthonormal up to rounding."""
    defect = 256 * jnp.finfo(bases.sizes.dtype).eps
    for basis in (bases.left, bases.right):
        gram = basis.T @ basis
        defect = defect + 2 * jnp.linalg.norm(gram - jnp.diag(jnp.round(jnp.diag(gram))))
    return defect
