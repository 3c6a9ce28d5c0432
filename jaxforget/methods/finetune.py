"""Go on training on what is remembered, for a while: cheap, and no claim to have forgotten."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.gradient import descent
from jaxforget.gradient.vectors import norm
from jaxforget.metrics import claims
from jaxforget.types import ForgetSet, Interactions, Method, Model

TRACED = ("lr",)  # may be arguments of a compiled program


@checked
def build(model: Model, *, lr: float, n_steps: int) -> Method:
    """Builds ``n_steps`` full-batch Adam steps on the mean retained loss, from the old parameters.

    A last point whose loss is above that of the first (a rate too large for the data) is not
    returned, but the last one before it that is not (``info["guarded"]``). An empty request moves
    the parameters too: that is fine-tuning, and what it is a control for.

    Args:
      lr: of Adam, on the loss per remembered interaction.
      n_steps: static.

    Raises:
      ValueError: a setting that is not positive.
    """
    adam = descent.adam(lr)

    def unlearn(
        key: Array, params: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        del key
        total = jnp.maximum(jnp.sum(forget.after), 1)

        def retained(p):
            return model.loss(p, train, forget.after, forget.after) / total

        def step(_, carry):
            params, good, state = carry
            value, gradient = _varying.value_and_grad(retained)(params)
            good = choose(value <= first, params, good)
            change, state = adam.update(gradient, state)
            return optax.apply_updates(params, change), good, state

        first, start = retained(params), (params, params, adam.init(params))
        last, good, _ = _varying.fori_loop(0, n_steps, step, start)
        fell = retained(last) <= first
        new = choose(fell, last, good)
        guarded = (~fell).astype(jnp.int32)
        return new, {"grad_norm": norm(_varying.grad(retained)(new)), "guarded": guarded}

    return Method(model.fit, unlearn, model.factors)


def choose(flag: Array, a: Any, b: Any) -> Any:
    """``a`` where the flag is set, ``b`` elsewhere."""
    return jax.tree.map(lambda x, y: jnp.where(flag, x, y), a, b)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"lr": 0.01, "n_steps": 5}
