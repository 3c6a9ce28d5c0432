"""Conjugate gradients that say how far they came and what curvature they met."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.gradient.vectors import axpy, dot
from jaxforget.sparse.arithmetic import ratio
from jaxforget.types import Solution


@checked
def cg(
    matvec: Callable[[Any], Any],
    rhs: Any,
    *,
    n_steps: int,
    damping: Any = 0.0,
    tol: float = 0.0,
    precondition: Callable[[Any], Any] | None = None,
) -> Solution:
    """Solves ``(A + damping) x = rhs`` by preconditioned conjugate gradients on pytrees.

    Unlike JAX's own: it stops before the first direction of curvature that is not positive and
    returns what it has, reports the smallest curvature met, and measures the residual anew at the
    end. Starts from 0, so every null direction to which ``rhs`` is orthogonal stays out.

    Args:
      matvec: ``x -> A x``, symmetric.
      damping: a number, or one per coordinate: a pytree that broadcasts against ``rhs``.
      n_steps: at most so many products (and one for the residual).
      tol: stop at ``|r| <= tol |rhs|``.
      precondition: ``r -> M r`` with ``M`` symmetric positive definite, near the inverse.

    Returns:
      ``Solution``; ``min_curvature`` is of the damped matrix, infinite where no step was taken.
      A right-hand side of 0 gives exactly 0.

    Example:
      >>> a = jnp.array([[2.0, 1.0], [1.0, 3.0]])
      >>> found = cg(lambda x: a @ x, jnp.array([3.0, 4.0]), n_steps=5, tol=1e-6)
      >>> [round(float(x), 4) for x in found.x], int(found.iterations)
      ([1.0, 1.0], 2)
    """
    precondition = precondition or (lambda r: r)
    size = jnp.sqrt(dot(rhs, rhs))
    if jax.tree.structure(damping) != jax.tree.structure(rhs):
        damping = jax.tree.map(lambda x: jnp.asarray(damping, x.dtype), rhs)

    def damped(x):
        return jax.tree.map(lambda a, d, x: a + d * x, matvec(x), damping, x)

    def unfinished(carry):
        _, r, *_, n, low = carry
        return (n < n_steps) & (low > 0) & (jnp.sqrt(dot(r, r)) > tol * size)

    def step(carry):
        x, r, z, p, rz, beta, n, low = carry
        # here, not at the end: a loop copies what it still reads when it writes it anew
        p = axpy(beta, p, z)
        ap = damped(p)
        bend, length = dot(p, ap), dot(p, p)
        good = bend > 0
        alpha = ratio(rz, bend, otherwise=0)
        x, r = axpy(alpha, p, x), axpy(-alpha, ap, r)
        z = precondition(r)
        rz, old = dot(r, z), rz
        beta = ratio(rz, old, otherwise=0)
        low = jnp.minimum(low, ratio(bend, length))
        return x, r, z, p, rz, beta, n + good.astype(jnp.int32), low

    z, zeros = precondition(rhs), jax.tree.map(jnp.zeros_like, rhs)
    rz, n = dot(rhs, z), jnp.zeros((), jnp.int32)
    start = (zeros, rhs, z, zeros, rz, jnp.zeros_like(rz), n, jnp.full_like(size, jnp.inf))
    x, *_, n, low = _varying.while_loop(unfinished, step, start)
    gap = jax.tree.map(jnp.subtract, rhs, damped(x))
    residual = ratio(jnp.sqrt(dot(gap, gap)), size)
    return Solution(x, residual, n, low)
