"""Climb the loss of what is to be forgotten: the control that forgets by damage."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.gradient import guard, losses
from jaxforget.gradient.vectors import norm
from jaxforget.metrics import claims
from jaxforget.types import ForgetSet, Interactions, Method, Model

TRACED = ("lr",)  # may be arguments of a compiled program


@checked
def build(model: Model, *, lr: float, n_steps: int) -> Method:
    """Builds ``n_steps`` of ``params + lr grad (L(before) - L(after))``, along the new graph.

    ``lr n_steps`` decides how much is forgotten and how much is broken. The climb stops before the
    loss of what remains is twice that of knowing nothing (``guard.ceiling``, ``info["guarded"]``).

    Args:
      lr: step per unit of the *sum* of the forgotten losses.
      n_steps: static.

    Raises:
      ValueError: a setting that is not positive.

    Source: Golatkar et al., CVPR 2020 ("negative gradient"); a control here.
    """

    def unlearn(
        key: Array, params: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        del key
        changes = jnp.any(forget.before != forget.after)

        forgotten = losses.forgotten(model.loss, train, forget)

        def step(params):
            gradient = _varying.grad(forgotten)(params)
            return jax.tree.map(lambda p, g: jnp.where(changes, p + lr * g, p), params, gradient)

        def retained(p):
            return model.loss(p, train, forget.after, forget.after)

        new, info = guard.climb(step, retained, params, n_steps=n_steps)
        return new, info | {
            "pull_norm": norm(_varying.grad(forgotten)(params)),
            "forgotten_loss": forgotten(new),
        }

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"lr": 0.01, "n_steps": 3}
