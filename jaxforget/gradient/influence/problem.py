"""What a step has to answer: one request to a trained model."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget.gradient import guard
from jaxforget.gradient.influence.pull import forget_gradient
from jaxforget.gradient.influence.region import Region, clear, maps, near
from jaxforget.gradient.vectors import add, norm
from jaxforget.types import ForgetSet, Interactions, Model


class Problem(NamedTuple):
    """One request to a trained model: where it stands, and what pulls at it."""

    model: Model
    params: Any  # where training on ``forget.before`` stopped
    learnt: Interactions  # everything that was learnt
    request: ForgetSet  # its weights
    train: Interactions  # of these, what meets the region, where nothing else counts
    forget: ForgetSet
    region: Region | None  # rows that may change; None: all
    pull: Any  # like ``params``: where it is drawn to; None until a method gives it
    spillover: bool  # the retained loss is taken along the graph without the forgotten
    curved: str  # whose curvature counts: "retained" or "old" data, each on their own graph

    @property
    def along(self) -> Array:
        """``[N]`` the graph of the retained loss."""
        return self.forget.after if self.spillover else self.forget.before

    @property
    def curvature_of(self) -> tuple[Array, Array]:
        """Weights and graph of the loss whose curvature counts."""
        if self.curved == "old":
            return self.forget.before, self.forget.before
        return self.forget.after, self.along


def state(
    model: Model,
    params: Any,
    train: Interactions,
    forget: ForgetSet,
    *,
    region: Region | None = None,
    spillover: bool = True,
    curved: str = "retained",
) -> Problem:
    """States a problem, without its pull."""
    close = near(model, train, forget, region)
    return Problem(model, params, train, forget, *close, region, None, spillover, curved)


def with_pull(stated: Problem) -> tuple[Problem, dict[str, Array]]:
    """Adds the change of the gradient that the request makes: direct plus spillover influence.

    Returns:
      the problem, and the norms ``pull_norm`` (on the region) and ``spillover_norm``.
    """
    model, params = stated.model, stated.params
    direct, spilled = forget_gradient(
        model.loss, params, stated.train, stated.forget, margins=model.margins
    )
    if not stated.spillover:
        spilled = jax.tree.map(jnp.zeros_like, spilled)
    pull = add(direct, spilled)
    down, up = maps(stated.region)
    info = {"pull_norm": norm(up(down(pull))), "spillover_norm": norm(spilled)}
    return stated._replace(pull=pull), info


PULLS = ("retained", "difference")


def pull_of(stated: Problem, kind: str) -> Any:
    """The pull by its kind, like ``params``.

    ``"retained"``: down the gradient of the retained loss, where training would go on to;
    ``"difference"``: the change of the gradient that the request makes, as in ``with_pull``.
    """
    if kind == "difference":
        return with_pull(stated)[0].pull
    after = stated.request.after
    gradient = _varying.grad(stated.model.loss)(stated.params, stated.learnt, after, after)
    return jax.tree.map(jnp.negative, gradient)


def move(
    stated: Problem, change: Any, *, clearing: bool = False, falling: bool = False
) -> tuple[Any, dict[str, Array]]:
    """Adds a change to the parameters, and clears the rows that lose all they had (``clear``).

    A change that breaks the model is refused: ``guard.kept`` judges it by the retained loss, which
    has to fall where ``falling``.

    Returns:
      the parameters, and ``guarded``, 1 where the change was refused.
    """
    params, train, after = stated.params, stated.learnt, stated.request.after
    along = after if stated.spillover else stated.request.before

    def retained(p: Any) -> Array:
        return stated.model.loss(p, train, after, along)

    new, info = guard.kept(retained, params, add(params, change), falling=falling)
    if clearing:
        new = clear(stated.model, new, params, train, stated.request, stated.region)
    return new, info
