"""Influence functions: curvature products, damped conjugate gradients, forget gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget.types import ForgetSet, Interactions, Solution


def hvp(loss: Callable, params: Any, vector: Any) -> Any:
    """Multiplies the Hessian of ``loss(params)`` with a vector: forward over reverse.

    Example:
      >>> hvp(lambda x: jnp.sum(x**3), jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0])).tolist()
      [6.0, 12.0]
    """
    return jax.jvp(jax.grad(loss), (params,), (vector,))[1]


def hessian(loss: Callable, params: Any) -> Callable:
    """Returns ``vector -> H vector``; what depends on the parameters alone is computed once."""
    return jax.linearize(jax.grad(loss), params)[1]


def gauss_newton(
    loss: Any, params: Any, train: Interactions, weights: Array, edges: Array
) -> Callable:
    """Returns ``vector -> J' diag(phi'') J vector + 2 reg vector``: positive semidefinite.

    The Hessian without the term in which the slope of the outcome meets the curvature of the
    margins; the two are equal where every outcome is flat.

    Args:
      loss: of ``jaxforget.losses``, or any with its ``margins``, ``outcomes`` and ``penalty``.

    Raises:
      ValueError: the loss does not say what it is made of.
    """
    need_margins(loss, "Gauss-Newton products")
    if hasattr(loss, "product"):  # in closed form: fewer passes than autodiff needs
        return loss.product(params, train, weights, edges, full=False)
    margins, forward = jax.linearize(lambda p: loss.margins(p, train, edges), params)
    backward = jax.linear_transpose(forward, params)
    bend = bends(loss, margins, train, weights)
    ridge = hessian(loss.penalty, params)

    def product(vector):
        return add(backward(bend * forward(vector))[0], ridge(vector))

    return product


def need_margins(loss: Any, what: str) -> None:
    """Raises a ``ValueError`` for a loss that cannot give Gauss-Newton products."""
    if not all(hasattr(loss, name) for name in ("margins", "outcomes", "penalty")):
        raise ValueError(
            f"{what} need a loss of jaxforget.losses (mf, lightgcn); this model has another: "
            'use hessian="full" with a damping of your own'
        )


def bends(loss: Any, margins: Array, train: Interactions, weights: Array) -> Array:
    """``[N]`` second derivative of each outcome in its margin."""
    slope = jax.grad(lambda m: jnp.sum(loss.outcomes(m, train, weights)))
    return jax.jvp(slope, (margins,), (jnp.ones_like(margins),))[1]


def cg(matvec: Callable, rhs: Any, *, n_steps: int, damping: Any = 0.0,
       tol: float = 0.0, precondition: Callable | None = None) -> Solution:  # fmt: skip
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
        alpha = jnp.where(good, rz / jnp.where(good, bend, 1), 0)
        x, r = axpy(alpha, p, x), axpy(-alpha, ap, r)
        z = precondition(r)
        rz, old = dot(r, z), rz
        beta = jnp.where(old > 0, rz / jnp.where(old > 0, old, 1), 0)
        low = jnp.minimum(low, bend / jnp.where(length > 0, length, 1))
        return x, r, z, p, rz, beta, n + good.astype(jnp.int32), low

    z, zeros = precondition(rhs), jax.tree.map(jnp.zeros_like, rhs)
    rz, n = dot(rhs, z), jnp.zeros((), jnp.int32)
    start = (zeros, rhs, z, zeros, rz, jnp.zeros_like(rz), n, jnp.full_like(size, jnp.inf))
    x, *_, n, low = lax.while_loop(unfinished, step, start)
    gap = jax.tree.map(jnp.subtract, rhs, damped(x))
    residual = jnp.sqrt(dot(gap, gap)) / jnp.where(size > 0, size, 1)
    return Solution(x, residual, n, low)


def forget_gradient(
    loss: Callable, params: Any, train: Interactions, forget: ForgetSet
) -> tuple[Any, Any]:
    """Splits what a request pulls at the parameters into direct and spillover influence.

    ``direct = grad L(before, G) - grad L(after, G)``: the forgotten interactions themselves;
    ``spillover = grad L(after, G) - grad L(after, G')``: the others, seen through the new graph.
    Their sum telescopes to ``grad L(before, G) - grad L(after, G')``.

    Args:
      loss: as ``Model.loss``: ``(params, train, weights, edges) -> scalar sum``.

    Returns:
      ``(direct, spillover)`` like ``params``; exactly 0 for an empty request.
    """
    asked = jnp.any(forget.before != forget.after)

    def along(edges, weights):
        return jax.grad(loss)(params, train, weights, edges)

    def steps(edges, weights):  # one body for all stages: equal inputs give equal bits
        found = lax.map(lambda stage: along(*stage), (jnp.stack(edges), jnp.stack(weights)))
        return [
            jax.tree.map(lambda g, k=k: jnp.where(asked, g[k] - g[k + 1], 0), found)
            for k in range(len(edges) - 1)
        ]

    before, after = forget
    if not hasattr(loss, "difference"):
        return tuple(steps((before, before, after), (before, after, after)))
    direct = jax.grad(
        lambda p: jnp.sum(loss.difference(loss.margins(p, train, before), train, forget))
    )(params)
    if loss.n_layers == 0:
        return direct, jax.tree.map(jnp.zeros_like, direct)
    return direct, steps((before, after), (after, after))[0]


def dot(a: Any, b: Any, *, scale: Any = None) -> Array:
    """Inner product of two pytrees, at full precision; ``<a, scale b>`` with a scale that broadcasts."""
    if scale is not None:
        b = jax.tree.map(jnp.multiply, scale, b)
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b))
    return sum(jnp.vdot(x, y, precision="highest") for x, y in leaves)


def norm(a: Any) -> Array:
    """Euclidean norm of a pytree."""
    return jnp.sqrt(dot(a, a))


def add(a: Any, b: Any) -> Any:
    """``a + b`` on pytrees."""
    return jax.tree.map(jnp.add, a, b)


def axpy(scale: Any, x: Any, y: Any) -> Any:
    """``scale * x + y`` on pytrees."""
    return jax.tree.map(lambda x, y: scale * x + y, x, y)
