"""Alternating least squares: normal equations, sweeps, objective, residual, downdates.

Implicit feedback (Hu, Koren, Volinsky, ICDM 2008) in the convention of the library ``implicit``:
confidence ``c = alpha * value`` on observed pairs and 1 on every other, preference 1 and 0.
A weight of 0 resets both, so that the pair is exactly one that was never observed.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import graph, lapack, rows
from jaxforget.sparse import sddmm, spmm
from jaxforget.types import Factors, Interactions, Terms


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
      train: interactions; ``alpha * values`` is the confidence of each.
      weights: ``[N]`` 1 = remembered, 0 = forgotten or padding.
      reg: > 0. It also keeps an emptied row solvable.
    """
    confidence = alpha * train.values
    ridges = _ridges(train, weights, reg, nu, unobserved)
    return Terms(
        weights * (confidence - 1),
        weights * confidence,
        jnp.sum(weights * confidence),
        jnp.ones((), confidence.dtype),
        *ridges,
    )


def explicit(train: Interactions, weights: Array, *, reg: float, nu: float = 0.0) -> Terms:
    """States the explicit-feedback objective ``sum_n w (value - x.y)^2 + sum ridge |row|^2``.

    ``ridge_u = reg * count_u^nu``; ``nu = 1`` is ALS-WR (Zhou et al., AAIM 2008).
    """
    ridges = _ridges(train, weights, reg, nu, 0.0)
    target = weights * train.values
    return Terms(
        weights,
        target,
        jnp.sum(target * train.values),
        jnp.zeros((), target.dtype),
        *ridges,
    )


def _ridges(train, weights, reg, nu, unobserved):
    sizes = (train.n_users, train.n_items)
    if nu == 0:  # no count enters: deletion then changes nobody else's ridge
        return tuple(jnp.full(n, reg, weights.dtype) for n in sizes)
    counts = (
        seen + unobserved * others
        for seen, others in zip(graph.degrees(train, weights), sizes[::-1])
    )
    return tuple(jnp.where(n > 0, reg * n**nu, reg) for n in counts)


def solve_row(
    fixed: Array, gram: Array, cols: Array, weights: Array, confidence: Array, reg: float
) -> Array:
    """Solves one user (or item) exactly, the other side held fixed.

    Minimises ``sum_l w_l [c_l (1 - x.y_l)^2 - (x.y_l)^2] + x.G x + reg |x|^2``. Under a plain
    ``jax.vmap`` the factorisation becomes batched on an accelerator and a loop on a CPU.

    Args:
      fixed: ``[J, D]`` factors of the other side.
      gram: ``[D, D]`` equal to ``fixed.T @ fixed``, shared by every row.
      cols: ``[L]`` int32, which rows of ``fixed`` this row met; padding is 0.
      weights: ``[L]`` 1 = remembered, 0 = forgotten or padding.
      confidence: ``[L]`` weight of each seen pair; an unseen one has 1.
      reg: ridge penalty, > 0.

    Returns:
      ``[D]`` the minimiser; exactly 0 where all weights are 0.

    Example:
      >>> y = jnp.array([[1.0], [2.0]])
      >>> ids, one, conf = jnp.array([1]), jnp.array([1.0]), jnp.array([3.0])
      >>> solve_row(y, y.T @ y, ids, one, conf, 3.0).tolist()  # 3 * 2 / (5 + 2 * 4 + 3)
      [0.375]
    """
    met = fixed[cols]
    lhs = gram + jnp.einsum(
        "l,ld,le->de", weights * (confidence - 1), met, met, precision="highest"
    )
    rhs = jnp.einsum("l,ld->d", weights * confidence, met, precision="highest")
    return lapack.solve_spd(lhs + reg * jnp.eye(len(gram), dtype=gram.dtype), rhs)


def solve_rows(
    fixed: Array, train: Interactions, weights: Array, *, by: str, reg: float, alpha: float
) -> Array:
    """Solves every row of one side exactly: an exact half-sweep, and the fold-in of new users.

    Args:
      fixed: ``[I, D]`` item factors for ``by="user"``, ``[U, D]`` for ``by="item"``.

    Returns:
      ``[U, D]`` or ``[I, D]``; depends on ``fixed`` alone, never on the rows' old values.
    """
    return half_sweep(fixed, train, implicit(train, weights, reg=reg, alpha=alpha), by=by)


@functools.partial(jax.jit, static_argnames=("by", "cg_steps"))
def half_sweep(
    fixed: Array,
    train: Interactions,
    terms: Terms,
    *,
    by: str,
    cg_steps: int = 0,
    start: Array | None = None,
) -> Array:
    """Minimises the objective over one side: exactly, or by ``cg_steps`` CG steps from ``start``."""
    ridge = terms.ridge_users if by == "user" else terms.ridge_items
    gram = terms.unobserved * _gram(fixed)
    system = (terms.curvature, terms.target, ridge, gram, train, fixed)
    if cg_steps:
        return rows.conjugate_gradients(*system, start, by=by, n_steps=cg_steps)
    return rows.cholesky(*system, by=by)


def sweep(
    factors: Factors, train: Interactions, weights: Array, *, reg: float, alpha: float
) -> Factors:
    """One exact pass of implicit ALS: users first, then items."""
    return alternate(factors, train, implicit(train, weights, reg=reg, alpha=alpha))


def run(
    factors: Factors,
    train: Interactions,
    weights: Array,
    *,
    n_sweeps: int,
    reg: float,
    alpha: float,
) -> tuple[Factors, dict[str, Array]]:
    """Runs ``n_sweeps`` exact passes of implicit ALS; ``descend`` stops on a residual instead."""
    terms = implicit(train, weights, reg=reg, alpha=alpha)
    return descend(factors, train, terms, max_sweeps=n_sweeps)


@functools.partial(jax.jit, static_argnames="cg_steps")
def descend(
    factors: Factors,
    train: Interactions,
    terms: Terms,
    *,
    max_sweeps: int,
    tol: float = 0.0,
    cg_steps: int = 0,
) -> tuple[Factors, dict[str, Array]]:
    """Sweeps until the optimality residual is at most ``tol``, or for ``max_sweeps`` passes.

    With exact rows the items' part of the residual is 0 after every pass, and only the items of
    ``factors`` matter at the start.

    Returns:
      the factors, and ``sweeps``, ``residual``, ``objective`` as reached.
    """

    def unfinished(carry):
        _, residual, n = carry
        return (n < max_sweeps) & ~(residual <= tol)  # NaN goes on, and is seen in the end

    def measure(factors):
        return optimality(factors, train, terms)

    def watched(factors):  # nobody asks for the residual of a pass that cannot be the last
        unknown = jnp.full((), jnp.inf, factors.users.dtype)
        return lax.cond(tol > 0, measure, lambda _: unknown, factors)

    def step(carry):
        factors, _, n = carry
        factors = alternate(factors, train, terms, cg_steps=cg_steps)
        return factors, watched(factors), n + 1

    start = (factors, watched(factors), jnp.zeros((), jnp.int32))
    factors, residual, n = lax.while_loop(unfinished, step, start)
    residual = lax.cond(tol > 0, lambda _: residual, measure, factors)
    info = {"sweeps": n, "residual": residual, "objective": cost(factors, train, terms)}
    return factors, info


def alternate(factors: Factors, train: Interactions, terms: Terms, *, cg_steps: int = 0) -> Factors:
    """Takes one pass over any ALS objective: users first, then items."""
    users, items = factors
    users = half_sweep(items, train, terms, by="user", cg_steps=cg_steps, start=users)
    items = half_sweep(users, train, terms, by="item", cg_steps=cg_steps, start=items)
    return Factors(users, items)


def objective(
    factors: Factors, train: Interactions, weights: Array, *, reg: float, alpha: float
) -> Array:
    """Evaluates the implicit objective over all pairs without visiting the unobserved ones."""
    return cost(factors, train, implicit(train, weights, reg=reg, alpha=alpha))


def residual(
    factors: Factors, train: Interactions, weights: Array, *, reg: float, alpha: float
) -> Array:
    """Measures how far the factors are from stationary on the weighted data; see ``optimality``."""
    return optimality(factors, train, implicit(train, weights, reg=reg, alpha=alpha))


@jax.jit
def cost(factors: Factors, train: Interactions, terms: Terms) -> Array:
    """Evaluates the objective of ``terms``: a scalar, twice differentiable."""
    users, items = factors
    scores = sddmm(train, users, items)
    observed = jnp.sum((terms.curvature * scores - 2 * terms.target) * scores) + terms.constant
    everywhere = terms.unobserved * jnp.sum(_gram(users) * _gram(items))
    norms = (terms.ridge_users[:, None] * users**2).sum() + (
        terms.ridge_items[:, None] * items**2
    ).sum()
    return observed + everywhere + norms


@jax.jit
def optimality(factors: Factors, train: Interactions, terms: Terms) -> Array:
    """Measures ``sqrt(sum |A x - b|^2) / sqrt(sum |b|^2)`` over all rows of both sides.

    Half the norm of the objective's gradient, relative; 0 exactly at a stationary point.
    Where every target is 0 the numerator alone is returned.
    """
    users, items = factors
    pulls = terms.curvature * sddmm(train, users, items) - terms.target

    def side(rows, fixed, ridge, by):
        everywhere = jnp.matmul(rows, terms.unobserved * _gram(fixed), precision="highest")
        gap = everywhere + spmm(train, pulls, fixed, by=by) + ridge[:, None] * rows
        return jnp.sum(gap**2), jnp.sum(spmm(train, terms.target, fixed, by=by) ** 2)

    gap_users, size_users = side(users, items, terms.ridge_users, "user")
    gap_items, size_items = side(items, users, terms.ridge_items, "item")
    size = size_users + size_items
    return jnp.sqrt((gap_users + gap_items) / jnp.where(size > 0, size, 1))


def _gram(rows):
    return jnp.matmul(rows.T, rows, precision="highest")


@jax.jit
def downdate_row(
    inverse: Array, x: Array, met: Array, curvature: Array, target: Array
) -> tuple[Array, Array]:
    """Removes ``R`` interactions from one solved row, the other side held fixed.

    ``A' = A - sum_r a_r y_r y_r'``, ``b' = b - sum_r q_r y_r``: a Woodbury step of ``[R, R]``
    instead of a new factorisation, ``x' = x + W (I - a S)^-1 (a (Yx) - q)`` with
    ``W = A^-1 Y'``, ``S = Y W``. Exact for this half-sweep only: afterwards every other row's
    system has changed too.

    Args:
      inverse: ``[D, D]`` inverse of the row's matrix.
      x: ``[D]`` the row's solution.
      met: ``[R, D]`` factors of the removed pairs.
      curvature: ``[R]`` what each added to the matrix, ``c - 1`` implicit, 1 explicit.
      target: ``[R]`` what each added to the right-hand side, ``c`` or the rating.

    Returns:
      the new inverse and the new row. Accuracy is lost as ``a y.A^-1 y`` nears 1: re-factor then.

    Example:
      >>> one = jnp.ones(1)
      >>> inverse, x = downdate_row(jnp.eye(1) / 4, one, jnp.ones((1, 1)), 2 * one, one)
      >>> inverse.tolist(), x.tolist()  # 1 / (4 - 2) and (4 - 1) / 2
      ([[0.5]], [1.5])
    """
    reach = jnp.matmul(inverse, met.T, precision="highest")  # W [D, R]
    core = jnp.eye(len(met), dtype=x.dtype) - curvature[:, None] * jnp.matmul(met, reach)
    change = jnp.linalg.solve(
        core, jnp.column_stack([curvature[:, None] * reach.T, curvature * (met @ x) - target])
    )
    return inverse + reach @ change[:, :-1], x + reach @ change[:, -1]
