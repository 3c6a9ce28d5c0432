"""Go on sweeping from the old factors, with the forgotten pairs reset to never observed."""

from typing import Any, Literal

from jax import Array

from jaxforget._settings import checked
from jaxforget.metrics import claims
from jaxforget.types import ForgetSet, Interactions, Method, Model, Terms

TRACED = ("max_sweeps", "tol")  # may be arguments of a compiled program
VARIANTS = ("untrain", "finetune", "drop", "as_released")


@checked
def build(
    model: Model,
    *,
    max_sweeps: int | None = None,
    tol: float | None = None,
    variant: Literal["untrain", "finetune", "drop", "as_released"] = "untrain",
) -> Method:
    """Builds Unlearn-ALS: passes until the residual of the *retained* objective is at most ``tol``.

    With exact rows (``cg_steps = 0``) the old model enters through its item factors alone, and
    every trace of it fades with the passes; ``info["residual"]`` says how far it has.

    Args:
      model: one that is trained by alternating least squares.
      max_sweeps, tol: limits of the unlearning passes; the model's own where None.
      variant: ``"untrain"`` resets confidence and preference together, with every statistic
        recomputed from retained data. The others serve comparison: ``"finetune"`` resets the
        preference alone, so a forgotten pair, or what of it is forgotten, becomes a strong
        negative; ``"drop"`` goes on with the old data (control); ``"as_released"`` draws the
        factors anew and keeps the confidence statistics of the deleted data, as the published
        code does.

    Raises:
      ValueError: the model is not trained by alternating least squares.

    Source: Xu et al., arXiv 2302.06676; defects of the release in the README.
    """
    if model.refine is None or model.terms is None:
        raise ValueError(
            "unlearn_als needs a model trained by ALS (ials, explicit_als); use another method"
        )
    terms, refine = model.terms, model.refine
    limits = {"max_sweeps": max_sweeps, "tol": tol}
    limits = {name: value for name, value in limits.items() if value is not None}

    def objective(train: Interactions, forget: ForgetSet) -> Terms:
        if variant == "untrain":
            return terms(train, forget.after)
        if variant == "as_released":
            return terms(train, forget.after, statistics=forget.before)
        old = terms(train, forget.before)
        if variant == "drop":
            return old
        # what of a pair is forgotten keeps its confidence, with preference 0
        kept = terms(train, forget.after, statistics=forget.before)
        return old._replace(target=kept.target, constant=kept.constant)

    def unlearn(
        key: Array, state: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        start = None if variant == "as_released" else state
        return refine(key, train, objective(train, forget), start, **limits)

    return Method(model.fit, unlearn, model.factors)


def EXACTNESS(*, variant: str, **settings: Any) -> claims.Claim:
    """Exact in the limit of many passes, where the optimum is one; its controls claim nothing."""
    del settings
    if variant != "untrain":
        return claims.approximate(parameters="moved", statistics="kept")
    return claims.exact_given(
        "the residual is small and the optimum is one",
        {"max_sweeps": 1000, "tol": 1e-5},
        within=1e-3,
        parameters="moved",
        statistics="recomputed",
    )
