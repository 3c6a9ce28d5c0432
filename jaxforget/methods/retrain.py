"""Train again, from nothing, without the forgotten interactions: the reference."""

from typing import Any

from jax import Array

from jaxforget._settings import checked
from jaxforget.metrics import claims
from jaxforget.types import ForgetSet, Interactions, Method, Model


@checked
def build(model: Model) -> Method:
    """Builds the reference of every other method: exact by construction, and slow."""

    def unlearn(
        key: Array, state: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        del state  # nothing of the old model may leak into the new one
        return model.fit(key, train, forget.after)

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.exact(parameters="recomputed", statistics="recomputed")
