"""Change a model that has a closed form by exactly what the request changes."""

from typing import Any

from jax import Array

from jaxforget._settings import checked
from jaxforget.metrics import claims
from jaxforget.types import ForgetSet, Interactions, Method, Model


@checked
def build(model: Model) -> Method:
    """Builds the update of a model whose optimum is a formula of its data (``ease``).

    The result is what training on the retained interactions gives, up to rounding; many requests in
    turn give what one request of all of them gives.

    Args:
      model: one with ``update``.

    Raises:
      ValueError: the model has none.
    """
    if model.update is None:
        raise ValueError("closed_form needs a model with a closed form (ease); use another method")
    change = model.update

    def unlearn(
        key: Array, state: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        del key
        return change(state, train, forget.before, forget.after)

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.exact_given(
    "rounding is small: info names the residual",
    within=1e-6,
    parameters="moved",
    statistics="recomputed",
)
