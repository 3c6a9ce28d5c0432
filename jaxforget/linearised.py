"""One linearised step towards retraining: on which rows, with what curvature and damping."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import damping as damp
from jaxforget import descent, flow, graph, importance, influence, losses, metrics, replay
from jaxforget.types import Factors, ForgetSet, Interactions, Model


class Region(NamedTuple):
    """The rows a step may change; ``rows`` where their number is static."""

    users: Array  # [U] bool
    items: Array  # [I] bool
    rows: importance.Rows | None

    def down(self, vector: Factors) -> Factors:
        """Leaves the coordinates of the region."""
        if self.rows is not None:
            return importance.take(vector, self.rows)
        pairs = zip(vector, (self.users, self.items))
        return Factors(*(jnp.where(kept[:, None], x, 0) for x, kept in pairs))

    def up(self, vector: Factors) -> Factors:
        """Puts zeros outside the region."""
        if self.rows is None:
            return vector
        sizes = len(self.users), len(self.items)
        zeros = Factors(*(jnp.zeros((n, x.shape[1]), x.dtype) for n, x in zip(sizes, vector)))
        return importance.put(zeros, self.rows, vector)


def maps(region: Region | None) -> tuple[Callable, Callable]:
    """``down`` and ``up`` of the region; None is all rows, and both change nothing."""
    return (region.down, region.up) if region is not None else (lambda x: x, lambda x: x)


class System(NamedTuple):
    """Settings of the linear system and of its solution."""

    hessian: str  # "gauss_newton" or "full"
    damping: Any  # a number or "auto"
    power: float  # of the degree, in the damping of a row
    n_steps: int
    tol: float
    precondition: str  # "diagonal", "rows" or "none"


def check(system: System, model: Model, name: str) -> None:
    """Raises a ``ValueError`` for settings that are out of range or that the model cannot serve."""
    choices = {"hessian": ("gauss_newton", "full"), "precondition": ("diagonal", "rows", "none")}
    for setting, known in choices.items():
        if (got := getattr(system, setting)) not in known:
            raise ValueError(f"{name}: {setting} must be one of {', '.join(known)}; got {got!r}")
    if system.damping != "auto" and not (
        isinstance(system.damping, (int, float)) and system.damping >= 0
    ):
        raise ValueError(f'{name}: damping must be 0 or more, or "auto"; got {system.damping!r}')
    if system.hessian == "gauss_newton" or system.precondition != "none":
        influence.need_margins(
            model.loss, f"{name}: {system.hessian}, preconditioning {system.precondition}"
        )


def choose(train: Interactions, forget: ForgetSet, *, hops: int, keep: float,
           sizes: tuple[int, int] | None, keep_asked: bool) -> Region:  # fmt: skip
    """Chooses the rows to update by importance; see ``importance.reach``, ``select``, ``top``."""
    found = importance.reach(train, forget, hops=hops)
    if sizes is None:
        return Region(*importance.select(found, keep=keep, always=keep_asked), None)
    rows = importance.top(found, n_users=sizes[0], n_items=sizes[1])
    pairs = zip((train.n_users, train.n_items), rows)
    return Region(*(jnp.zeros(n, bool).at[r].set(True, mode="drop") for n, r in pairs), rows)


def near(loss: Any, train: Interactions, forget: ForgetSet,
         region: Region | None) -> tuple[Interactions, ForgetSet]:  # fmt: skip
    """Leaves out what does not meet the region, where that is exact: cross-entropy without a graph.

    Along a graph a row moves the scores of its neighbours' interactions too, and a drawn opponent
    may be any item: there everything stays.
    """
    local = isinstance(loss, losses.CrossEntropy) and loss.n_layers == 0
    if region is None or not local:
        return train, forget
    smaller, places = importance.meeting(train, region.users, region.items)
    read = (x.at[places].get(mode="fill", fill_value=0) for x in forget)
    return smaller, ForgetSet(*read)


def curvature(loss: Any, params: Any, train: Interactions, weights: Array, edges: Array, *,
              kind: str) -> Callable:  # fmt: skip
    """Returns the product with the exact Hessian (``"full"``) or its Gauss-Newton part."""
    if kind == "gauss_newton":
        return influence.gauss_newton(loss, params, train, weights, edges)
    if hasattr(loss, "product"):
        return loss.product(params, train, weights, edges, full=True)
    return influence.hessian(lambda p: loss(p, train, weights, edges), params)


def settle(system: System, loss: Any, params: Any, train: Interactions,
           forget: ForgetSet) -> tuple[Array, Any]:  # fmt: skip
    """Decides the damping: ``(damping, scale)``, from training alone.

    ``"auto"`` is ``damping.implied_ridge`` of the loss of everything learnt, where the old
    training stopped. Neither test nor validation data nor the labels that a forgotten interaction
    should have had are looked at.
    """
    if not isinstance(params, Factors):
        scale = jax.tree.map(lambda x: jnp.ones((1,) * x.ndim, x.dtype), params)
    else:
        scale = damp.degree_scale(train, forget.after, power=system.power)
    if system.damping == "auto":
        return damp.implied_ridge(_along(loss, params, train, forget.before), params, scale), scale
    return jnp.asarray(system.damping, jax.tree.leaves(params)[0].dtype), scale


def _along(loss, params, train, weights):
    """``<params, grad L>``; margins are of second degree, so a look at them is enough."""
    one = jnp.ones((), weights.dtype)
    if hasattr(loss, "margins"):
        margins, penalty = loss.margins(params, train, weights), loss.penalty(params)

        def of(t):
            return jnp.sum(loss.outcomes(t * t * margins, train, weights)) + t * t * penalty

        return jax.grad(of)(one)
    return jax.jvp(lambda p: loss(p, train, weights, weights), (params,), (params,))[1]


def solve(system: System, loss: Any, params: Any, train: Interactions, weights: Array,
          edges: Array, pull: Any, damping: Array, scale: Any,
          region: Region | None) -> tuple[Any, dict[str, Array]]:  # fmt: skip
    """Solves ``(H + damping scale) x = pull`` on the region by ``damping.solve``.

    Returns:
      the step, zero outside the region, and ``damping`` (as used), ``residual``, ``iterations``,
      ``min_curvature`` (0 where the pull is 0 and no curvature was met).
    """
    product = curvature(loss, params, train, weights, edges, kind=system.hessian)
    down, up = maps(region)
    precondition = None
    if system.precondition != "none":
        rows = damp.preconditioner(system.precondition, loss, params, train, weights, edges)

        def precondition(used):
            whole = rows(jax.tree.map(lambda s: used * s, scale))
            return lambda r: down(whole(up(r)))

    found, damping = damp.solve(
        lambda x: down(product(up(x))), down(pull), damping=damping,
        scale=scale if region is None or region.rows is None else down(scale), n_steps=system.n_steps, tol=system.tol,
        precondition=precondition,
    )  # fmt: skip
    low = jnp.where(jnp.isfinite(found.min_curvature), found.min_curvature, 0)
    info = {"damping": damping, "residual": found.residual, "iterations": found.iterations,
            "min_curvature": low}  # fmt: skip
    return up(found.x), info


def follow(system: System, loss: Any, params: Any, everything: tuple[Interactions, Array],
           train: Interactions, weights: Array, edges: Array, pull: Any, damping: Array, scale: Any,
           region: Region | None) -> tuple[Any, dict[str, Array]]:  # fmt: skip
    """Lets the pull act for as long as the old training lasted; see ``flow.run``.

    Args:
      everything: the interactions and weights of the old training, from which its duration is read.
      damping, scale: as ``settle`` gives them.

    Returns:
      the step, zero outside the region, and ``damping`` with what ``flow.run`` tells.
    """
    known, before = everything
    old = curvature(loss, params, known, before, before, kind=system.hessian)
    size = influence.dot(params, params, scale=scale)
    bend = influence.dot(params, old(params)) / jnp.where(size > 0, size, 1)
    product = curvature(loss, params, train, weights, edges, kind=system.hessian)
    down, up = maps(region)
    x, info = flow.run(
        lambda x: down(product(up(x))), down(pull), start=down(params), n_steps=system.n_steps,
        scale=scale if region is None or region.rows is None else _chosen(scale, region),
        duration=flow.duration(damping, bend),
    )  # fmt: skip
    return up(x), {"damping": damping} | info


def replayed(loss: Any, params: Any, train: Interactions, forget: ForgetSet, along: Array, scale: Any,
             region: Region | None, *, origin: float, n_steps: int) -> tuple[Any, dict[str, Array]]:  # fmt: skip
    """Replays the training with the request and without, ``along`` the graph; see ``replay.run``."""
    bend = influence.gauss_newton(loss, params, train, forget.before, forget.before)

    def gradient(weights, edges):
        return lambda p: jax.grad(loss)(p, train, weights, edges)

    old, new = gradient(forget.before, forget.before), gradient(forget.after, along)
    down, up = maps(region)
    change, info = replay.run(
        old, new, params, scale=scale, top=flow.largest(bend, scale=scale, start=params), origin=origin,
        n_steps=n_steps, within=lambda x: up(down(x)),
    )  # fmt: skip

    # compiled apart, equal gradients may differ in a bit: an empty request moves nothing at all
    asked = jnp.any(forget.before != forget.after)
    return jax.tree.map(lambda x: jnp.where(asked, x, 0), change), info


def clear(new: Any, loss: Any, params: Any, train: Interactions, forget: ForgetSet,
          region: Region | None) -> Any:  # fmt: skip
    """Sets rows of ``new`` to 0 that the request leaves with nothing: retraining starts them near 0.

    By degree for cross-entropy, otherwise by slope at ``params`` (BPR moves a drawn opponent too).
    """
    if not isinstance(params, Factors):
        return new
    if isinstance(loss, losses.CrossEntropy):
        old, left = (graph.degrees(train, weights) for weights in forget)
        gone = [(a > 0) & (b <= 0) for a, b in zip(old, left)]
    else:
        old, left = (jax.grad(loss)(params, train, weights, weights) for weights in forget)
        gone = [jnp.any(a != 0, axis=1) & jnp.all(b == 0, axis=1) for a, b in zip(old, left)]
    if region is not None:
        gone = [rows & kept for rows, kept in zip(gone, region[:2])]
    return Factors(*(jnp.where(rows[:, None], 0, x) for rows, x in zip(gone, new)))


def _chosen(scale: Factors, region: Region) -> Factors:
    """The scale on the chosen rows; 1 in unused places, which must not divide by 0."""
    return jax.tree.map(lambda x: jnp.where(x > 0, x, 1), region.down(scale))


def judge(model: Model, params: Any, train: Interactions, edges: Array) -> Array:
    """Validation AUC of what is served along ``edges``: only released recipes look at it.

    Raises:
      ValueError: the training interactions bring no validation data.
    """
    if not isinstance(train, descent.Watched):
        raise ValueError(
            "stopping on validation needs validation interactions: call descent.watch(train, valid) "
            "first, or set patience=None"
        )
    return metrics.label_auc(model.factors(params, train, edges), train.valid)
