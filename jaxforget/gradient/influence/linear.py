"""One linearisation of a problem: its damped linear system, on the rows that may change."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget.gradient.influence.curvature import curvature, margins_of
from jaxforget.gradient.influence.damping import solve_damped
from jaxforget.gradient.influence.precondition import preconditioner
from jaxforget.gradient.influence.problem import Problem
from jaxforget.gradient.influence.region import maps


class System(NamedTuple):
    """A linear system ``(H + damping scale) x = pull``, and how it is solved."""

    hessian: str  # "gauss_newton" or "full"
    n_steps: int  # of conjugate gradients, at most
    tol: float  # relative residual at which they stop
    precondition: str  # "diagonal", "rows" or "none"


def listed(stated: Problem) -> bool:
    """Whether the vectors of a solver hold the listed rows of the region alone."""
    return stated.region is not None and stated.region.rows is not None


def solve(
    system: System, stated: Problem, at: Any, pull: Any, damping: Array, scale: Any
) -> tuple[Any, dict[str, Array]]:
    """Solves the system linearised at ``at``; the solution is 0 outside the region."""
    weights, edges = stated.curvature_of
    product = curvature(stated.model, at, stated.train, weights, edges, kind=system.hessian)
    down, up = maps(stated.region)
    precondition: Callable[[Array], Callable[[Any], Any]] | None = None
    if system.precondition != "none":
        loss = margins_of(stated.model, "preconditioning")
        rows = preconditioner(system.precondition, loss, at, stated.train, weights, edges)

        def inverse(used: Array) -> Callable[[Any], Any]:
            whole = rows(jax.tree.map(lambda s: used * s, scale))
            return lambda r: down(whole(up(r)))

        precondition = inverse

    solution, raised = solve_damped(
        lambda x: down(product(up(x))),
        down(pull),
        damping=damping,
        scale=down(scale) if listed(stated) else scale,
        n_steps=system.n_steps,
        tol=system.tol,
        precondition=precondition,
    )
    low = jnp.where(jnp.isfinite(solution.min_curvature), solution.min_curvature, 0)
    return up(solution.x), {
        "damping": raised,
        "residual": solution.residual,
        "iterations": solution.iterations,
        "min_curvature": low,
    }


def pull_at(stated: Problem, new: Any, damping: Array, scale: Any) -> Any:
    """What still pulls at a point on the way: the same difference of gradients, and the ridge."""
    loss, forget = stated.model.loss, stated.forget
    target = _varying.grad(loss)(stated.params, stated.train, forget.before, forget.before)
    reached = _varying.grad(loss)(new, stated.train, forget.after, stated.along)
    ridge = jax.tree.map(lambda s, a, b: damping * s * (a - b), scale, stated.params, new)
    changed = jnp.any(forget.before != forget.after)
    return jax.tree.map(lambda a, b, c: jnp.where(changed, a - b + c, 0), target, reached, ridge)
