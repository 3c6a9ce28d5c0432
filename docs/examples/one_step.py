"""One influence step: direct and spillover influence, solved with the exact Hessian."""

import jax
import jax.numpy as jnp

from jaxforget import _checks
from jaxforget.gradient import influence
from jaxforget.metrics import claims
from jaxforget.types import Method, Model


def build(model: Model, *, damping: float, n_steps: int = 100, tol: float = 0.1) -> Method:
    """Builds ``params + (H + damping)^-1 (grad L(before, G) - grad L(after, G'))``.

    ``H`` is the Hessian of the retained loss through the new graph ``G'``. The difference of
    gradients, and not the retained gradient alone, is the pull: an empty request moves nothing,
    also where training stopped early.

    Args:
      damping: ridge on every parameter; where the curvature is not positive the solver stops
        and ``info["min_curvature"]`` says so: take more damping then.
      n_steps, tol: conjugate gradients stop at the first of the two; ``tol`` is relative.

    Raises:
      ValueError: a setting is out of range.

    Source: the step of IFRU, arXiv 2307.02147, without pruning and with one ridge for all rows.
    """
    _checks.not_negative("one_step", damping=damping)
    _checks.positive("one_step", n_steps=n_steps, tol=tol)

    def unlearn(key, params, train, forget):
        del key  # nothing is drawn
        direct, spillover = influence.forget_gradient(model.loss, params, train, forget)
        pull = influence.add(direct, spillover)

        def retained(p):
            return model.loss(p, train, forget.after, forget.after)

        product = influence.hessian(retained, params)
        found = influence.cg(product, pull, n_steps=n_steps, damping=damping, tol=tol)
        info = {
            "pull_norm": influence.norm(pull),
            "residual": found.residual,
            "iterations": found.iterations,
            "min_curvature": jnp.where(jnp.isfinite(found.min_curvature), found.min_curvature, 0),
        }
        return jax.tree.map(jnp.add, params, found.x), info

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"damping": 1.0}
