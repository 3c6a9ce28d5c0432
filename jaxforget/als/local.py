"""A request met by changing only what it changes: few rows of a model that was trained elsewhere.

A served model is seldom converged, and passes over it go on training: they move everybody. Here a
row moves only as far as the request makes it. Let ``g0 = A0 x - b0`` be the gap of each row of the
served model in the normal equations of the data that it was trained on. What is sought is a model
whose gaps in the equations of the *retained* data are the same, ``A x - b = g0``: without a request
that is the served model itself, and for a converged one, where ``g0 = 0``, it is the retained
optimum. One or two rounds go most of the way. Far from convergence the equations with ``g0`` need
not have a solution nearby, and further rounds then lead away: few of them are the default.
"""

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.als import row_chunks
from jaxforget.als.objectives import gap, gaps, gram
from jaxforget.sparse import dense
from jaxforget.sparse.arithmetic import gather, ratio
from jaxforget.sparse.degrees import clear_emptied
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
    *,
    tol: float = 0.1,
    max_rounds: int = 3,
) -> tuple[Factors, dict[str, Array]]:
    """Solves rows, and those that they disturb, until the gaps are those of ``rest``.

    ``r = A x - b - rest`` is not 0 where the request changed the data, ``r0`` at the start. A round
    solves exactly, first among the users and then among the items, every row with
    ``|r_row|^2 > tol^2 |r0|^2 / (U + I)``; when there is none, ``|r| <= tol |r0|``.

    Args:
      factors: the served model.
      train: the interactions.
      terms: the objective on retained data.
      forget: the request; a row that loses its last interaction becomes exactly 0.
      rest: the gaps that stay, ``objectives.gaps`` of the served model in the equations that it
        was trained on; zeros go on training.
      tol: in units of the disturbance ``|r0|``.
      max_rounds: most rounds.

    Returns:
      the factors, and ``rounds``, ``rows_solved`` and ``disturbance``, which is ``|r| / |r0|``.

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
    factors, rest = (clear_emptied(both, train, forget) for both in (factors, rest))
    first = jax.tree.map(jnp.subtract, gaps(factors, train, terms), rest)
    size = _squares(first)
    least = tol**2 * size / (train.n_users + train.n_items)

    def still(carry):
        _, left, _, n = carry
        return (n < max_rounds) & (_squares(left) > tol**2 * size)

    def take(carry):
        factors, left, solved, n = carry
        users, _, count = _solve(factors, left.users, train, terms, least, "user")
        factors, solved = Factors(users, factors.items), solved + count
        of_items = gap(factors, train, terms, by="item") - rest.items
        items, of_items, count = _solve(factors, of_items, train, terms, least, "item")
        factors = Factors(users, items)
        of_users = gap(factors, train, terms, by="user") - rest.users
        return factors, Factors(of_users, of_items), solved + count, n + 1

    zero = jnp.zeros((), jnp.int32)
    factors, left, solved, n = _varying.while_loop(still, take, (factors, first, zero, zero))
    disturbance = jnp.sqrt(ratio(_squares(left), size))
    return factors, {"rounds": n, "rows_solved": solved, "disturbance": disturbance}


def _squares(both: Factors) -> Array:
    return sum((jnp.sum(side**2) for side in both), jnp.zeros((), both.users.dtype))


def _solve(
    factors: Factors, left: Array, train: Interactions, terms: Terms, least: Array, by: str
) -> tuple[Array, Array, Array]:
    """Solves the rows of one side whose gap is too large; the rows, gaps and count afterwards."""
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
    chosen = jnp.sum(left**2, axis=1) > least
    listed, n = _listed(side, chosen)
    shared = terms.unobserved * gram(fixed)

    def solve_chunk(k, x):
        slots = k * ROWS + jnp.arange(ROWS, dtype=jnp.int32)
        rows = jnp.where(slots < n, listed.at[slots].get(mode="clip"), len(x))
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
