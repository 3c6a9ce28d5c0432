"""One row of alternating least squares: solved exactly, and brought up to date after deletions."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget._settings import checked
from jaxforget.sparse import dense
from jaxforget.sparse.arithmetic import times


@checked
def solve_row(
    fixed: Array, gram: Array, cols: Array, weights: Array, confidence: Array, reg: float
) -> Array:
    """Solves one user (or item) exactly, the other side held fixed.

    Minimises ``sum_l w_l [c_l (1 - x.y_l)^2 - (x.y_l)^2] + x.G x + reg |x|^2``. Under a plain
    ``jax.vmap`` the factorisation becomes batched on an accelerator and a loop on a CPU.

    Args:
      fixed: ``[J, D]`` factors of the other side.
      gram: ``[D, D]`` equal to ``fixed.T @ fixed``, shared by every row.
      cols: ``[L]`` int32, the rows of ``fixed`` that it interacted with; padding is 0.
      weights: ``[L]`` 1 = remembered, 0 = forgotten or padding.
      confidence: ``[L]`` weight of each observed pair; every other pair has 1.
      reg: ridge penalty, > 0.

    Returns:
      ``[D]`` the minimiser; exactly 0 where all weights are 0.

    Example:
      >>> y = jnp.array([[1.0], [2.0]])
      >>> ids, one, conf = jnp.array([1]), jnp.array([1.0]), jnp.array([3.0])
      >>> solve_row(y, y.T @ y, ids, one, conf, 3.0).tolist()  # 3 * 2 / (5 + 2 * 4 + 3)
      [0.375]
    """
    y = fixed[cols]
    lhs = gram + jnp.einsum("l,ld,le->de", weights * (confidence - 1), y, y, precision="highest")
    rhs = jnp.einsum("l,ld->d", weights * confidence, y, precision="highest")
    return dense.solve_spd(lhs + reg * jnp.eye(len(gram), dtype=gram.dtype), rhs)


@jax.jit
def downdate_row(
    inverse: Array, x: Array, removed: Array, curvature: Array, target: Array
) -> tuple[Array, Array]:
    """Removes ``R`` interactions from one solved row, the other side held fixed.

    ``A' = A - sum_r a_r y_r y_r'``, ``b' = b - sum_r q_r y_r``: a Woodbury step of ``[R, R]``
    instead of a new factorisation, ``x' = x + W (I - a S)^-1 (a (Yx) - q)`` with
    ``W = A^-1 Y'``, ``S = Y W``. Exact for this half-sweep only: afterwards every other row's
    system has changed too.

    Args:
      inverse: ``[D, D]`` inverse of the row's matrix.
      x: ``[D]`` the row's solution.
      removed: ``[R, D]`` factors of the other side at the removed interactions.
      curvature: ``[R]`` what each added to the matrix, ``c - 1`` implicit, 1 explicit.
      target: ``[R]`` what each added to the right-hand side, ``c`` or the rating.

    Returns:
      the new inverse ``[D, D]`` and the new row ``[D]``. Where ``a y.A^-1 y`` is near 1,
      accuracy is lost: solve the row anew.

    Example:
      >>> one = jnp.ones(1)
      >>> inverse, x = downdate_row(jnp.eye(1) / 4, one, jnp.ones((1, 1)), 2 * one, one)
      >>> inverse.tolist(), x.tolist()  # 1 / (4 - 2) and (4 - 1) / 2
      ([[0.5]], [1.5])
    """
    w = times(inverse, removed.T)  # [D, R]
    core = jnp.eye(len(removed), dtype=x.dtype) - curvature[:, None] * jnp.matmul(removed, w)
    change = jnp.linalg.solve(
        core, jnp.column_stack([curvature[:, None] * w.T, curvature * (removed @ x) - target])
    )
    return inverse + w @ change[:, :-1], x + w @ change[:, -1]
