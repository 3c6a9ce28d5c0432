"""A first-order update on the retained loss: one step of gradient descent."""

from typing import Any, Literal

import jax
from jax import Array

from jaxforget._settings import checked
from jaxforget.gradient.influence import problem
from jaxforget.gradient.vectors import norm
from jaxforget.metrics import claims
from jaxforget.types import ForgetSet, Interactions, Method, Model

TRACED = ("lr",)  # may be arguments of a compiled program


@checked
def build(
    model: Model, *, lr: float, pull: Literal["retained", "difference"] = "retained"
) -> Method:
    """Builds ``params - lr g``, with ``g`` as in ``newton``.

    Args:
      lr: per unit of the *sum* loss.
      pull: ``"retained"``, the gradient of the retained loss, or ``"difference"``, the change of
        the gradient that the request makes.

    Raises:
      ValueError: a setting is out of range.

    Source: Warnecke et al., Machine Unlearning of Features and Labels, NDSS 2023.
    """

    def unlearn(
        key: Array, params: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        del key
        stated = problem.state(model, params, train, forget)
        g = problem.pull_of(stated, pull)
        change = jax.tree.map(lambda x: lr * x, g)
        new, guarded = problem.move(stated, change, falling=pull == "retained")
        return new, {"pull_norm": norm(g)} | guarded

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"lr": 0.01}
