"""Influence-function unlearning: one damped Newton step, direct plus spillover influence."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget.gradient import influence
from jaxforget.gradient.influence import curvature, released, steps
from jaxforget.gradient.influence import damping as damp
from jaxforget.gradient.influence import region as regions
from jaxforget.gradient.influence.damping import System
from jaxforget.metrics import claims
from jaxforget.types import Method, Model

EXACT = {
    "hops": None, "keep": 1.0, "keep_asked": True, "spillover": True, "hessian": "gauss_newton",
    "hessian_data": "retained", "hessian_graph": True, "solver": "cg", "served_graph": "new",
    "clear": True,
}  # fmt: skip
AS_RELEASED = {
    "hops": 1, "keep": 1.0, "keep_asked": False, "spillover": "truncated", "hessian": "full",
    "hessian_data": "old", "hessian_graph": False, "solver": "adam", "served_graph": "old",
    "clear": False,
}  # fmt: skip


class Served(NamedTuple):
    """A state that remembers its graph, for ``served_graph="old"`` alone."""

    params: Any
    edges: Array  # [N]


def build(
    model: Model,
    *,
    mode: Literal["exact", "as_released"] = "exact",
    damping: float | Literal["auto"] = "auto",
    damping_power: float = 0.5,
    n_steps: int = 100,
    tol: float = 0.1,
    precondition: Literal["diagonal", "rows", "none"] = "diagonal",
    newton_steps: int = 1,
    hops: int | None = None,
    keep: float | None = None,
    keep_asked: bool | None = None,
    sizes: tuple[int, int] | None = None,
    spillover: bool | Literal["truncated"] | None = None,
    hessian: Literal["gauss_newton", "full"] | None = None,
    hessian_data: Literal["retained", "old"] | None = None,
    hessian_graph: bool | None = None,
    served_graph: Literal["new", "old"] | None = None,
    clear: bool | None = None,
    solver: Literal["cg", "flow", "replay", "adam"] | None = None,
    origin: float = 0.1,
    solver_lr: float | None = None,
    solver_steps: int = 5000,
    patience: int | None = None,
) -> Method:
    """Builds IFRU: ``params + (H + damping)^-1 (grad L(before, G) - grad L(after, G'))``.

    The pull is the *difference* of two gradients: where training stopped early the retained
    gradient alone is far from 0 and would go on training. The defaults are exact in form (the
    curvature of the retained loss through the new graph, which also serves) and look at no
    validation data. ``mode`` sets the switches left at None; any of them can be turned alone.

    Args:
      damping: per-row ridge ``damping * degree^damping_power`` of the sum loss; ``"auto"``: the
        one that the old training's early stop amounts to, raised while curvature is not positive.
      n_steps, tol, precondition: of the conjugate gradients. What a residual of a tenth leaves open is
        far less than what the linearisation does: solving further moves no measured accuracy.
      newton_steps: linearisations; each further one aims at the same difference anew.
      hops, keep, keep_asked, sizes: update the rows reached in so many hops (None: all rows), of
        them the most important share, the request's own always or not; ``sizes`` fixes the number
        of users and items instead, and then the vectors of the solver have that size.
      spillover: whether others' interactions pull through the changed graph; ``"truncated"``:
        only those at nodes that lost over 1 % of their degree, as released.
      hessian, hessian_data, hessian_graph: which curvature, of which data, through the graph or not.
      served_graph: ``"old"`` goes on serving along forgotten edges, as released.
      clear: a row that loses all it had becomes 0: no curvature is left to say how far a step goes.
      solver: ``"flow"`` lets the pull act for as long as the old training lasted instead of solving
        a damped system: of use with ``hessian="full"``, for models stopped early, whose curvature is
        not positive; at most ``n_steps`` products. ``"replay"`` is no linearisation: it trains
        roughly twice, from ``origin`` times the parameters, with the request and without, and adds
        the difference (``replay.run``); at most ``n_steps`` steps, no Hessian setting matters.
        ``"adam"`` minimises the quadratic by Adam of rate ``solver_lr / n``, as released; with
        ``patience`` (released: 10) stopped on the validation AUC (``watch``).

    Raises:
      ValueError: a setting is out of range, or the model's loss cannot serve it.

    Source: Zhang et al., arXiv 2307.02147; what its code computes: ``mode="as_released"``.
    """
    if mode not in ("exact", "as_released"):
        raise ValueError(f'ifru: mode must be "exact" or "as_released"; got {mode!r}')
    given = {"hops": hops, "keep": keep, "keep_asked": keep_asked, "spillover": spillover,
             "hessian": hessian, "hessian_data": hessian_data, "hessian_graph": hessian_graph,
             "solver": solver, "served_graph": served_graph, "clear": clear}  # fmt: skip
    asked = {name: value for name, value in given.items() if value is not None}
    how = Settings(**((AS_RELEASED if mode == "as_released" else EXACT) | asked), sizes=sizes,
                   newton_steps=newton_steps, lr=solver_lr, steps=solver_steps, patience=patience,
                   origin=origin)  # fmt: skip
    kind = precondition if how.solver == "cg" else "none"
    system = System(how.hessian, damping, damping_power, n_steps, tol, kind)
    damp.check(system, model, "ifru")
    _check(how)
    old_graph = how.served_graph == "old" and getattr(model.loss, "n_layers", 0) > 0

    def fit(key, train, weights):
        params, info = model.fit(key, train, weights)
        return Served(params, weights), info

    def unlearn(key, state, train, forget):
        del key
        params, edges = state if old_graph else (state, forget.after)
        region = _region(how, train, forget)
        new, info = _update(params, train, forget, edges, region, model, how, system)
        if how.clear:
            new = regions.clear(new, model.loss, params, train, forget, region)
        return Served(new, edges) if old_graph else new, info

    def factors(state, train, weights):
        return model.factors(
            *((state.params, train, state.edges) if old_graph else (state, train, weights))
        )

    return Method(fit if old_graph else model.fit, unlearn, factors)


class Settings(NamedTuple):
    """The switches, decided."""

    hops: int | None
    keep: float
    keep_asked: bool
    spillover: bool | str
    hessian: str
    hessian_data: str
    hessian_graph: bool
    solver: str
    served_graph: str
    clear: bool
    sizes: tuple[int, int] | None
    newton_steps: int
    lr: float | None
    steps: int
    patience: int | None
    origin: float


def _check(how):
    known = {"spillover": (True, False, "truncated"), "hessian_data": ("retained", "old"),
             "solver": ("cg", "flow", "replay", "adam"), "served_graph": ("new", "old")}  # fmt: skip
    for name, values in known.items():
        if (got := getattr(how, name)) not in values:
            raise ValueError(f"ifru: {name} must be one of {values}; got {got!r}")
    if not 0 < how.keep <= 1:
        raise ValueError(f"ifru: keep must lie in (0, 1]; got {how.keep}")
    if how.hops is None and (how.keep < 1 or how.sizes is not None):
        raise ValueError("ifru: keep and sizes choose among reached rows: give hops=0 or more too")
    if how.newton_steps < 1 or (how.newton_steps > 1 and how.solver != "cg"):
        raise ValueError(
            f"ifru: newton_steps must be 1 or more, and 1 without cg; got {how.newton_steps}"
        )
    if how.solver == "replay" and (how.spillover == "truncated" or not 0 < how.origin < 1):
        raise ValueError(
            "ifru: replay takes spillover true or false and an origin in (0, 1); "
            f"got {how.spillover!r}, {how.origin}"
        )
    if how.solver == "adam" and not (how.lr or 0) > 0:
        raise ValueError(f"ifru: the solver adam needs solver_lr > 0; got {how.lr}")


def _region(how, train, forget):
    if how.hops is None:
        return None
    return regions.choose(train, forget, hops=how.hops, keep=how.keep, sizes=how.sizes,
                             keep_asked=how.keep_asked)  # fmt: skip


def _update(params, everything, forget, edges, region, model, how, system):
    train, request = regions.near(model.loss, everything, forget, region)
    along = request.after if how.spillover else request.before
    pull, spilled = _pull(model.loss, params, train, request, how.spillover)
    weights = request.after if how.hessian_data == "retained" else request.before
    through = along if how.hessian_data == "retained" else request.before
    loss = model.loss if how.hessian_graph else model.loss._replace(n_layers=0)
    down, up = regions.maps(region)
    shrunk = up(down(pull))
    info = {"pull_norm": influence.norm(shrunk), "spillover_norm": influence.norm(spilled)}

    if how.solver == "adam":
        step, found = released.by_adam(
            curvature.curvature(released.plain(loss), params, train, weights, through, kind=system.hessian),
            shrunk, region, lr=how.lr / jnp.sum(forget.before), n_steps=how.steps, patience=how.patience,
            score=lambda x: steps.judge(model, influence.add(params, x), everything, edges),
        )  # fmt: skip
        return influence.add(params, step), info | found

    damping, scale = damp.settle(system, model.loss, params, everything, forget)
    if how.solver == "replay":
        step, found = steps.replayed(model.loss, params, everything, forget,
                                          forget.after if how.spillover else forget.before, scale, region,
                                          origin=how.origin, n_steps=system.n_steps)  # fmt: skip
        return influence.add(params, step), info | found
    if how.solver == "flow":
        step, found = steps.follow(system, loss, params, (everything, forget.before), train,
                                        weights, through, shrunk, damping, scale, region)  # fmt: skip
        return influence.add(params, step), info | found
    any_asked = jnp.any(forget.before != forget.after)
    new = params
    for k in range(how.newton_steps):
        if k:  # the pull at the new point, with the ridge that the old point had balanced
            target = jax.grad(model.loss)(params, train, request.before, request.before)
            reached = jax.grad(model.loss)(new, train, request.after, along)
            ridge = jax.tree.map(
                lambda s, old, now, d=damping: d * s * (old - now), scale, params, new
            )
            pull = jax.tree.map(
                lambda a, b, c: jnp.where(any_asked, a - b + c, 0), target, reached, ridge
            )
        step, found = steps.solve(system, loss, new, train, weights, through, pull, damping,
                                       scale, region)  # fmt: skip
        new, damping = influence.add(new, step), found["damping"]
    return new, info | found


def _pull(loss, params, train, request, spillover):
    """The gradient difference, and the part of it that is spillover."""
    direct, spilled = influence.forget_gradient(loss, params, train, request)
    if spillover == "truncated":
        changed = request.after * released.changed(train, request)
        _, spilled = influence.forget_gradient(
            lambda p, t, weights, edges: loss(p, t, changed, edges), params, train, request
        )
    elif not spillover:
        spilled = jax.tree.map(jnp.zeros_like, spilled)
    return jax.tree.map(jnp.add, direct, spilled), spilled


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"damping": 1.0}
