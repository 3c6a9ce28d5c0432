"""Go on training on what is remembered, for a while: cheap, and no claim to have forgotten."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from jaxforget import _checks
from jaxforget._settings import checked
from jaxforget.gradient import descent
from jaxforget.gradient.vectors import norm
from jaxforget.metrics import claims
from jaxforget.types import ForgetSet, Interactions, Method, Model


@checked
def build(model: Model, *, lr: float, n_steps: int) -> Method:
    """Builds ``n_steps`` full-batch Adam steps on the mean retained loss, from the old parameters.

    An empty request moves the parameters too: that is fine-tuning, and what it is a control for.

    Args:
      lr: of Adam, on the loss per remembered interaction.
      n_steps: static.

    Raises:
      ValueError: a setting that is not positive.
    """
    _checks.positive("finetune", lr=lr, n_steps=n_steps)
    adam = descent.adam(lr)

    def unlearn(
        key: Array, params: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        del key
        total = jnp.maximum(jnp.sum(forget.after), 1)

        def retained(p):
            return model.loss(p, train, forget.after, forget.after) / total

        def step(_, carry):
            params, state = carry
            change, state = adam.update(jax.grad(retained)(params), state)
            return optax.apply_updates(params, change), state

        params, _ = lax.fori_loop(0, n_steps, step, (params, adam.init(params)))
        return params, {"grad_norm": norm(jax.grad(retained)(params))}

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"lr": 0.01, "n_steps": 5}
