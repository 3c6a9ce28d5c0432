"""A request met by changing only what it changes: few rows of a model that was trained elsewhere.

A served model is seldom converged, and passes over it go on training: they move everybody. Here a
row moves only as far as the request makes it. Let ``g0 = A0 x - b0`` be the gap of each row of the
served model in the normal equations of the data that it was trained on. What is sought is a model
whose gaps in the equations of the *retained* data are the same, ``A x - b = g0``: without a request
that is the served model itself, and for a converged one, where ``g0 = 0``, it is the retained
optimum.

Rows far from the request are disturbed a little, all of them, as they share Gram matrices. To solve
those as well would be a pass over everything; and far from convergence the equations with ``g0``
need not have a solution nearby, so that passes lead away. A row is left alone where its equations
are out by little.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.als import row_chunks
from jaxforget.als.objectives import gap, gaps, gram, squares
from jaxforget.sparse import dense, layout
from jaxforget.sparse.arithmetic import gather, ratio
from jaxforget.sparse.degrees import clear_rows, degrees, exchange
from jaxforget.types import Factors, ForgetSet, Interactions, Side, Terms

ROWS = 64  # solved side by side
STEP = 64  # interactions of each that are read at a time


@checked
def repair(
    factors: Factors,
    train: Interactions,
    terms: Terms,
    forget: ForgetSet,
    rest: Factors,
    rhs: Factors | None = None,
    *,
    tol: float = 0.1,
    max_rounds: int = 1,
) -> tuple[Factors, dict[str, Array]]:
    """Solves the rows of a request, and those that they disturb by more than a share of their own.

    ``r = A x - b - rest`` is not 0 where the request changed the data, ``r0`` at the start. A round
    solves exactly, first among the users and then among the items, every row with
    ``|r_row| > tol |b_row|``, and in the first round all rows that lose an interaction. Rounds end
    when no row is solved any more.

    Args:
      factors: the served model.
      train: the interactions.
      terms: the objective on retained data.
      forget: the request; a row that loses its last interaction becomes exactly 0.
      rest: the gaps that stay, ``objectives.gaps`` of the served model in the equations that it
        was trained on; zeros go on training.
      rhs: right-hand sides ``b`` to compare with; those of ``factors`` if None.
      tol: how far the equations of a row may be out, relative to their right-hand side.
      max_rounds: most rounds. The first is the greater part of the way.

    Returns:
      the factors, and ``rounds``, ``rows_solved``, ``disturbance``, which is ``|r| / |r0|``.

    Example:
      >>> from jaxforget.als.objectives import implicit
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 1, 1], [0, 0, 1], [1.0, 1.0, 1.0])
      >>> model = Factors(jnp.ones((2, 1)), jnp.ones((2, 1)))
      >>> asked = ForgetSet(jnp.ones(3), jnp.array([1.0, 1.0, 0.0]))
      >>> before, after = (implicit(train, w, reg=1.0, alpha=2.0) for w in asked)
      >>> rest = gaps(model, train, before)
      >>> new, info = repair(model, train, after, asked, rest)
      >>> new.items[1].tolist(), bool(info["disturbance"] < 1)
      ([0.0], True)
    """
    before, after = (degrees(train, weights) for weights in forget)
    factors, rest = (clear_rows(both, before, after) for both in (factors, rest))
    rhs = exchange(train, terms.target, factors) if rhs is None else rhs
    least = Factors(*(tol**2 * jnp.sum(side**2, axis=1) for side in rhs))
    lost = [had > has for had, has in zip(before, after)]
    first = jax.tree.map(jnp.subtract, gaps(factors, train, terms), rest)
    solve = functools.partial(_solve, train=train, terms=terms)

    def still(carry):
        _, _, _, n, going = carry
        return (n < max_rounds) & going

    def take(carry):
        factors, left, solved, n, _ = carry
        asked = Factors(*((n == 0) & fewer for fewer in lost))
        users, _, n_users = solve(factors, left.users, least.users, asked.users, by="user")
        new = Factors(users, factors.items)
        of_items = gap(new, train, terms, by="item") - rest.items
        items, of_items, n_items = solve(new, of_items, least.items, asked.items, by="item")
        new = Factors(users, items)
        left = Factors(gap(new, train, terms, by="user") - rest.users, of_items)
        count = n_users + n_items
        return new, left, solved + count, n + 1, count > 0

    zero, yes = jnp.zeros((), jnp.int32), jnp.ones((), bool)
    start = (factors, first, zero, zero, yes)
    factors, left, solved, n, _ = _varying.while_loop(still, take, start)
    return factors, {
        "rounds": n,
        "rows_solved": solved,
        "disturbance": jnp.sqrt(ratio(squares(left), squares(first))),
    }


def _solve(
    factors: Factors,
    left: Array,
    least: Array,
    asked: Array,
    *,
    train: Interactions,
    terms: Terms,
    by: str,
) -> tuple[Array, Array, Array]:
    """Solves the rows of one side that are asked for, or whose gap is too large, ``> least^(1/2)``.

    Returns:
      the rows and gaps afterwards, and how many rows were solved.
    """
    users, items = factors
    side, x, fixed, ridge, curvature = (
        (train.by_user, users, items, terms.ridge_users, terms.curvature)
        if by == "user"
        else (
            train.by_item,
            items,
            users,
            terms.ridge_items,
            gather(terms.curvature, train.by_item.order),
        )
    )
    chosen = asked | (jnp.sum(left**2, axis=1) > least)
    listed, n = _listed(side, chosen)
    shared = terms.unobserved * gram(fixed)

    def solve_chunk(k, x):
        rows = layout.part(listed, k * ROWS, n, ROWS)
        matrices = row_chunks.normal_matrices(curvature, ridge, shared, side, fixed, rows, STEP)
        own = left.at[rows].get(mode="fill", fill_value=0)
        change = jax.vmap(dense.solve_spd)(matrices, own)
        return x.at[rows].add(-change, mode="drop")

    x = _varying.fori_loop(0, -(-n // ROWS), solve_chunk, x)
    return x, jnp.where(chosen[:, None], 0, left), n


def _listed(side: Side, chosen: Array) -> tuple[Array, Array]:
    """The chosen rows in front, those of like length side by side, and how many they are."""
    marked = chosen[side.ranked]
    order = jnp.argsort(~marked, stable=True)
    return side.ranked[order], jnp.sum(marked, dtype=jnp.int32)
