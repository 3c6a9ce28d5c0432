"""A second-order update on the retained loss: the control of influence methods."""

from typing import Any, Literal

from jax import Array

from jaxforget._settings import checked
from jaxforget.gradient.influence import problem, steps
from jaxforget.gradient.vectors import norm
from jaxforget.metrics import claims
from jaxforget.types import ForgetSet, Interactions, Method, Model

TRACED = ("damping", "damping_power", "tol")  # may be arguments of a compiled program


@checked
def build(
    model: Model,
    *,
    pull: Literal["retained", "difference"] = "retained",
    damping: float | Literal["auto"] = "auto",
    damping_power: float = 0.5,
    hessian: Literal["gauss_newton", "full"] = "gauss_newton",
    n_steps: int = 100,
    tol: float = 1e-2,
    precondition: Literal["diagonal", "rows", "none"] = "diagonal",
) -> Method:
    """Builds ``params - (H + damping)^-1 g`` on the retained loss.

    ``pull="retained"``: ``g`` is the gradient of the retained loss, so that the step also goes on
    training where that had stopped early, even for an empty request. ``"difference"``: the change
    of the gradient, as in the paper, whose models are at a minimum, where the two agree.

    Args:
      pull: what is solved for.
      damping, damping_power, hessian, n_steps, tol, precondition: as in ``ifru``.

    Raises:
      ValueError: a setting is out of range, or the model's loss cannot serve it.

    Source: Warnecke et al., Machine Unlearning of Features and Labels, NDSS 2023; its first-order
    update is ``gradient_step``.
    """
    step = steps.newton(
        "newton",
        model,
        damping=damping,
        damping_power=damping_power,
        hessian=hessian,
        n_steps=n_steps,
        tol=tol,
        precondition=precondition,
    )

    def unlearn(
        key: Array, params: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        del key
        stated = problem.state(model, params, train, forget)
        stated = stated._replace(pull=problem.pull_of(stated, pull))
        change, info = step(stated)
        new, guarded = problem.move(stated, change, falling=pull == "retained")
        return new, {"pull_norm": norm(stated.pull)} | info | guarded

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"damping": 1.0}
