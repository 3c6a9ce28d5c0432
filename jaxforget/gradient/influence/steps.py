"""Steps from a trained model towards the one without the forgotten interactions.

A step is a function ``Problem -> (change, info)``: ``newton`` solves a damped linear system,
``flow`` follows the same system for as long as training lasted, ``replay`` walks training twice
and is no influence function. Each owns its settings and checks them once, when it is built. A
method states the problem (``problem.state``), takes a step and adds the change (``problem.move``).
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _checks, _varying
from jaxforget._settings import checked
from jaxforget.gradient.influence import flow as flows
from jaxforget.gradient.influence import replay as replays
from jaxforget.gradient.influence.curvature import KINDS, curvature, margins_of
from jaxforget.gradient.influence.damping import settle
from jaxforget.gradient.influence.linear import System, listed, pull_at, solve
from jaxforget.gradient.influence.problem import Problem
from jaxforget.gradient.influence.region import maps
from jaxforget.gradient.vectors import add, dot
from jaxforget.sparse.arithmetic import ratio
from jaxforget.types import Model

Step = Callable[[Problem], tuple[Any, dict[str, Array]]]


@checked
def newton(
    owner: str,
    model: Model,
    *,
    damping: float | Literal["auto"],
    damping_power: float,
    hessian: str,
    n_steps: int,
    tol: float,
    precondition: str,
    newton_steps: int = 1,
) -> Step:
    """Solves ``(H + damping scale) x = pull`` on the region by conjugate gradients.

    Args:
      owner: the method, for messages.
      model: the one to be unlearnt.
      damping, damping_power: see ``damping.settle``.
      hessian: ``"gauss_newton"`` or ``"full"``.
      n_steps, tol: of ``cg``.
      precondition: ``"diagonal"``, ``"rows"`` (see ``precondition``) or ``"none"``.
      newton_steps: linearisations; each further one aims at the same difference of gradients
        anew, with the ridge that the old point had balanced. For pulls of ``problem.with_pull``.

    Returns:
      A step: the change is 0 outside the region; ``info`` has ``damping`` (as used), ``residual``,
      ``iterations``, ``min_curvature`` (0 where no curvature was met).

    Raises:
      ValueError: a setting is out of range, or the model cannot serve it.
    """
    _check_system(owner, model, damping, hessian)
    _checks.choice(owner, ("diagonal", "rows", "none"), precondition=precondition)
    if precondition != "none":
        margins_of(model, f"{owner}: preconditioning {precondition}")
    system = System(hessian, n_steps, tol, precondition)

    def step(stated: Problem) -> tuple[Any, dict[str, Array]]:
        used, scale = _settle(stated, damping, damping_power)
        change, info = solve(system, stated, stated.params, stated.pull, used, scale)
        for _ in range(newton_steps - 1):
            new, used = add(stated.params, change), info["damping"]
            pull = pull_at(stated, new, used, scale)
            further, info = solve(system, stated, new, pull, used, scale)
            change = add(change, further)
        return change, info

    return step


@checked
def flow(
    owner: str,
    model: Model,
    *,
    damping: float | Literal["auto"],
    damping_power: float,
    hessian: str,
    max_products: int,
) -> Step:
    """Lets the pull act for as long as the old training lasted; see ``influence.flow``.

    Args:
      owner, model, hessian: as in ``newton``.
      damping, damping_power: see ``damping.settle``; the damping is read as a duration.
      max_products: Hessian products at most; a longer flow is cut short there.

    Returns:
      A step: the change is 0 outside the region; ``info`` has ``damping``, ``iterations``,
      ``duration`` and ``top_curvature``.

    Raises:
      ValueError: a setting is out of range, or the model cannot serve it.
    """
    _check_system(owner, model, damping, hessian)

    def step(stated: Problem) -> tuple[Any, dict[str, Array]]:
        ridge, scale = _settle(stated, damping, damping_power)
        params, before = stated.params, stated.request.before
        old = curvature(model, params, stated.learnt, before, before, kind=hessian)
        size = dot(params, params, scale=scale)
        bend = ratio(dot(params, old(params)), size)
        product = curvature(stated.model, params, stated.train, *stated.curvature_of, kind=hessian)
        down, up = maps(stated.region)
        inside = down(scale) if listed(stated) else scale
        change, info = flows.run(
            lambda x: down(product(up(x))),
            down(stated.pull),
            start=down(params),
            n_steps=max_products,
            # unused places of a listed region hold 0, and must not divide
            scale=jax.tree.map(lambda x: jnp.where(x > 0, x, 1), inside),
            duration=flows.duration(ridge, bend),
        )
        return up(change), {"damping": ridge} | info

    return step


@checked
def replay(owner: str, model: Model, *, damping_power: float, n_steps: int, origin: float) -> Step:
    """Walks training twice, with the request and without; see ``influence.replay``.

    Args:
      owner: the method, for messages.
      model: one that states its margins, trained from a start near 0.
      damping_power: of the degree, in the scale of a row's steps.
      n_steps: full-batch steps at most, of two gradients each.
      origin: share of the parameters at which the walks start, in (0, 1).

    Returns:
      A step: the change is 0 outside the region and for an empty request; ``info`` has
      ``iterations``, ``reached`` and ``gap``. The problem needs no pull.

    Raises:
      ValueError: a setting is out of range, or the model cannot serve it.
    """
    loss = margins_of(model, f"{owner}: the length of its steps")
    if not 0 < origin < 1:
        raise _checks.SettingError(f"{owner}: origin must lie in (0, 1); got {origin}")

    def step(stated: Problem) -> tuple[Any, dict[str, Array]]:
        train, (before, after) = stated.learnt, stated.request
        _, scale = _settle(stated, 0.0, damping_power)
        along = after if stated.spillover else before
        bend = loss.product(stated.params, train, before, before, full=False)

        def gradient(weights: Array, edges: Array) -> Callable[[Any], Any]:
            return lambda p: _varying.grad(model.loss)(p, train, weights, edges)

        down, up = maps(stated.region)
        change, info = replays.run(
            gradient(before, before),
            gradient(after, along),
            stated.params,
            scale=scale,
            top=flows.largest_curvature(bend, scale=scale, start=stated.params),
            origin=origin,
            n_steps=n_steps,
            within=lambda x: up(down(x)),
        )
        # compiled apart, equal gradients may differ in a bit: an empty request moves nothing
        changed = jnp.any(before != after)
        return jax.tree.map(lambda x: jnp.where(changed, x, 0), change), info

    return step


def _check_system(owner: str, model: Model, damping: float | Literal["auto"], hessian: str) -> None:
    _checks.choice(owner, KINDS, hessian=hessian)
    if damping != "auto":
        if isinstance(damping, str):
            raise _checks.SettingError(
                f'{owner}: damping must be 0 or more, or "auto"; got {damping!r}'
            )
        _checks.not_negative(owner, damping=damping)
    elif model.margins is not None and model.margins.draws_items:
        raise ValueError(
            f'{owner}: damping="auto" cannot be read off a loss against drawn items (bpr), and too '
            "little moves the model away from retraining: give a number, such as damping = 3.0"
        )
    if hessian == "gauss_newton":
        margins_of(model, f'{owner}: hessian="gauss_newton"')


def _settle(stated: Problem, damping: float | Literal["auto"], power: float) -> tuple[Array, Any]:
    return settle(
        stated.model,
        stated.params,
        stated.learnt,
        stated.request,
        damping=damping,
        power=power,
    )
