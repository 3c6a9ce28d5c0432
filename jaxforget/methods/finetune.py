"""Go on training on what is remembered, for a while: cheap, and no claim to have forgotten."""

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxforget.gradient import descent, influence
from jaxforget.metrics import claims
from jaxforget.types import Method, Model


def build(model: Model, *, lr: float, n_steps: int) -> Method:
    """Builds ``n_steps`` full-batch Adam steps on the mean retained loss, from the old parameters.

    An empty request moves the parameters too: that is fine-tuning, and what it is a control for.

    Args:
      lr: of Adam, on the loss per remembered interaction.
      n_steps: static.

    Raises:
      ValueError: a setting that is not positive.
    """
    for name, value in {"lr": lr, "n_steps": n_steps}.items():
        if not value > 0:
            raise ValueError(f"finetune: {name} must be positive; got {value}")
    adam = descent.adam(lr)

    def unlearn(key, params, train, forget):
        del key
        total = jnp.maximum(jnp.sum(forget.after), 1)

        def retained(p):
            return model.loss(p, train, forget.after, forget.after) / total

        def step(_, carry):
            params, state = carry
            change, state = adam.update(jax.grad(retained)(params), state)
            return optax.apply_updates(params, change), state

        params, _ = lax.fori_loop(0, n_steps, step, (params, adam.init(params)))
        return params, {"grad_norm": influence.norm(jax.grad(retained)(params))}

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"lr": 0.01, "n_steps": 5}
