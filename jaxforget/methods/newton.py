"""First- and second-order updates on the retained loss: the controls of influence methods."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxforget.gradient import influence
from jaxforget.gradient.influence import damping as damp
from jaxforget.gradient.influence import steps
from jaxforget.gradient.influence.damping import System
from jaxforget.metrics import claims
from jaxforget.types import Method, Model


def build(
    model: Model,
    *,
    order: Literal[1, 2] = 2,
    pull: Literal["retained", "difference"] = "retained",
    lr: float | None = None,
    damping: float | Literal["auto"] = "auto",
    damping_power: float = 0.5,
    hessian: Literal["gauss_newton", "full"] = "gauss_newton",
    n_steps: int = 100,
    tol: float = 1e-2,
    precondition: Literal["diagonal", "rows", "none"] = "diagonal",
) -> Method:
    """Builds ``params - lr g`` (order 1) or ``params - (H + damping)^-1 g`` (order 2).

    ``pull="retained"``: ``g`` is the gradient of the retained loss, so that the step also goes on
    training where that had stopped early, even for an empty request. ``"difference"``: the change
    of the gradient, as in the paper, whose models are at a minimum, where the two agree.

    Args:
      lr: of order 1, per unit of the *sum* loss.
      damping, damping_power, hessian, n_steps, tol, precondition: as in ``ifru``; of order 2.

    Raises:
      ValueError: a setting is out of range, or the model's loss cannot serve it.

    Source: Warnecke et al., Machine Unlearning of Features and Labels, NDSS 2023.
    """
    system = System(hessian, damping, damping_power, n_steps, tol, precondition)
    if order not in (1, 2) or pull not in ("retained", "difference"):
        raise ValueError(
            f'newton: order must be 1 or 2, pull "retained" or "difference"; got {order}, {pull!r}'
        )
    if order == 1 and not (lr or 0) > 0:
        raise ValueError(f"newton: order 1 needs lr > 0; got {lr}")
    if order == 2:
        damp.check(system, model, "newton")

    def unlearn(key, params, train, forget):
        del key
        g = _pull(model, params, train, forget, pull)
        if order == 1:
            return influence.axpy(lr, g, params), {"pull_norm": influence.norm(g)}
        damping, scale = damp.settle(system, model.loss, params, train, forget)
        step, info = steps.solve(system, model.loss, params, train, forget.after, forget.after,
                                      g, damping, scale, None)  # fmt: skip
        return influence.add(params, step), {"pull_norm": influence.norm(g)} | info

    return Method(model.fit, unlearn, model.factors)


def _pull(model: Model, params: Any, train, forget, kind: str) -> Any:
    if kind == "difference":
        return influence.add(*influence.forget_gradient(model.loss, params, train, forget))
    gradient = jax.grad(model.loss)(params, train, forget.after, forget.after)
    return jax.tree.map(jnp.negative, gradient)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"damping": 1.0}
