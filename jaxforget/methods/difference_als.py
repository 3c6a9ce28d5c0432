"""Add to a served model the difference that a request makes to a few more passes over it."""

import jax
from jax import Array

from jaxforget import als
from jaxforget._settings import checked
from jaxforget.metrics import claims
from jaxforget.sparse.degrees import clear_emptied
from jaxforget.types import Factors, ForgetSet, Interactions, Method, Model, Terms

TRACED = ("max_sweeps",)  # may be arguments of a compiled program


@checked
def build(model: Model, *, max_sweeps: int = 3) -> Method:
    """Builds ``M + P_after(M) - P_before(M)``, with P some passes over the data.

    Both runs of passes go on with the unfinished training of M alike, so that the difference is
    what the request did. Without a request nothing moves. A row that loses its last interaction
    becomes 0.

    Args:
      model: one that is trained by alternating least squares; its ``cg_steps`` count.
      max_sweeps: passes of each of the two runs.

    Raises:
      ValueError: the model is not trained by alternating least squares.
    """
    if model.refine is None or model.terms is None:
        raise ValueError(
            "difference_als needs a model trained by ALS (ials, explicit_als); use another method"
        )
    terms, refine = model.terms, model.refine

    def unlearn(
        key: Array, state: Factors, train: Interactions, forget: ForgetSet
    ) -> tuple[Factors, dict[str, Array]]:
        def go_on(objective: Terms) -> Factors:
            return refine(key, train, objective, state, max_sweeps=max_sweeps, tol=0.0)[0]

        retained = terms(train, forget.after)
        moved = jax.tree.map(
            lambda now, with_it, without: now + (without - with_it),
            state,
            go_on(terms(train, forget.before)),
            go_on(retained),
        )
        new = clear_emptied(moved, train, forget)
        reached = {"residual": als.optimality, "objective": als.cost}
        return new, {name: f(new, train, retained) for name, f in reached.items()}

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.approximate(parameters="moved", statistics="recomputed")
TOY = {"max_sweeps": 1}
