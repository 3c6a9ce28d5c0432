"""Climb the loss of what is to be forgotten: the control that forgets by damage."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxforget.gradient import influence
from jaxforget.metrics import claims
from jaxforget.types import Method, Model


def build(model: Model, *, lr: float, n_steps: int) -> Method:
    """Builds ``n_steps`` of ``params + lr grad (L(before) - L(after))``, along the new graph.

    Nothing bounds the climb: ``lr n_steps`` decides how much is forgotten and how much is broken.

    Args:
      lr: step per unit of the *sum* of the forgotten losses.
      n_steps: static.

    Raises:
      ValueError: a setting that is not positive.

    Source: Golatkar et al., CVPR 2020 ("negative gradient"); a control here.
    """
    for name, value in {"lr": lr, "n_steps": n_steps}.items():
        if not value > 0:
            raise ValueError(f"gradient_ascent: {name} must be positive; got {value}")

    def unlearn(key, params, train, forget):
        del key
        asked = jnp.any(forget.before != forget.after)

        def forgotten(p):
            learnt, left = (model.loss(p, train, weights, forget.after) for weights in forget)
            return learnt - left

        def step(_, params):
            gradient = jax.grad(forgotten)(params)
            return jax.tree.map(lambda p, g: jnp.where(asked, p + lr * g, p), params, gradient)

        new = lax.fori_loop(0, n_steps, step, params)
        return new, {"pull_norm": influence.norm(jax.grad(forgotten)(params)),
                     "forgotten_loss": forgotten(new)}  # fmt: skip

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"lr": 0.01, "n_steps": 3}
