"""Solve the rows that a request disturbs, and leave an unfinished training as it is."""

from jax import Array

from jaxforget import als
from jaxforget._settings import checked
from jaxforget.als import local
from jaxforget.metrics import claims
from jaxforget.types import Factors, ForgetSet, Interactions, Method, Model

TRACED = ("tol", "max_rounds")  # may be arguments of a compiled program


@checked
def build(model: Model, *, tol: float = 0.1, max_rounds: int = 1) -> Method:
    """Builds rounds over the rows that the request disturbs, for a model that is being served.

    Passes of ``unlearn_als`` go on with an unfinished training and so move everybody; here a row
    moves as far as the request makes it, and without a request nothing moves. A row that loses its
    last interaction becomes 0.

    Args:
      model: one that is trained by alternating least squares.
      tol: what may stay of the disturbance, see ``als.local.repair``.
      max_rounds: most rounds. More than one help where training has converged, and hardly
        elsewhere.

    Raises:
      ValueError: the model is not trained by alternating least squares.
    """
    if model.terms is None:
        raise ValueError(
            "local_als needs a model trained by ALS (ials, explicit_als); use another method"
        )
    terms = model.terms

    def unlearn(
        key: Array, state: Factors, train: Interactions, forget: ForgetSet
    ) -> tuple[Factors, dict[str, Array]]:
        del key
        retained = terms(train, forget.after)
        rest = als.objectives.gaps(state, train, terms(train, forget.before))
        new, info = local.repair(
            state, train, retained, forget, rest, tol=tol, max_rounds=max_rounds
        )
        reached = {"residual": als.optimality, "objective": als.cost}
        return new, info | {name: f(new, train, retained) for name, f in reached.items()}

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.approximate(parameters="moved", statistics="recomputed")
