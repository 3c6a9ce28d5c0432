"""Influence-function unlearning: one damped Newton step, direct plus spillover influence."""

from typing import Any, Literal

from jax import Array

from jaxforget._settings import checked
from jaxforget.gradient.influence import problem, region, steps
from jaxforget.metrics import claims
from jaxforget.types import ForgetSet, Interactions, Method, Model

TRACED = ("damping", "damping_power", "tol")  # may be arguments of a compiled program


@checked
def build(
    model: Model,
    *,
    damping: float | Literal["auto"] = "auto",
    damping_power: float = 0.5,
    hessian: Literal["gauss_newton", "full"] = "gauss_newton",
    hessian_data: Literal["retained", "old"] = "retained",
    n_steps: int = 100,
    tol: float = 0.1,
    precondition: Literal["diagonal", "rows", "none"] = "diagonal",
    newton_steps: int = 1,
    spillover: bool = True,
    hops: int | None = None,
    keep: float | None = None,
    keep_request: bool | None = None,
    sizes: tuple[int, int] | None = None,
    clear: bool = True,
) -> Method:
    """Builds IFRU: ``params + (H + damping)^-1 (grad L(before, G) - grad L(after, G'))``.

    The pull is the *difference* of two gradients: where training stopped early the retained
    gradient alone is far from 0 and would go on training. ``H`` is the curvature of the retained
    loss through the new graph ``G'``, which also serves. No validation data are looked at.

    Args:
      damping: per-row ridge ``damping * degree^damping_power`` of the sum loss; ``"auto"``: the
        one that the old training's early stop amounts to, raised while curvature is not positive;
        not for a loss against drawn items (bpr), which does not show it.
      damping_power: of a row's number of remembered interactions; acts where the ridge is not 0.
      hessian: ``"gauss_newton"`` or the exact Hessian, ``"full"``.
      hessian_data: ``"old"`` takes the curvature of everything learnt, on its graph.
      n_steps, tol: of the conjugate gradients. What a residual of a tenth leaves open is far less
        than what the linearisation does: solving further moves no measured accuracy.
      precondition: by the ``"diagonal"`` or the ``"rows"`` blocks of the curvature.
      newton_steps: linearisations; each further one aims at the same difference anew.
      spillover: whether others' interactions pull through the changed graph; without a graph
        there is nothing to spill over, and the setting changes nothing.
      hops, keep, keep_request, sizes: update only some rows, see ``region.chooser``.
      clear: a row that loses all it had becomes 0, where retraining starts it.

    Raises:
      ValueError: a setting is out of range or would not be read, or the model cannot serve it.

    Source: Zhang et al., arXiv 2307.02147. Clearing and automatic damping are this library's;
    ``ifru_released`` is what the published code computes.
    """
    choose = region.chooser("ifru", hops=hops, keep=keep, keep_request=keep_request, sizes=sizes)
    step = steps.newton(
        "ifru",
        model,
        damping=damping,
        damping_power=damping_power,
        hessian=hessian,
        n_steps=n_steps,
        tol=tol,
        precondition=precondition,
        newton_steps=newton_steps,
    )

    def unlearn(
        key: Array, params: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        del key
        stated, pulls = problem.with_pull(
            problem.state(
                model,
                params,
                train,
                forget,
                region=choose(train, forget),
                spillover=spillover,
                curved=hessian_data,
            )
        )
        change, info = step(stated)
        new, guarded = problem.move(stated, change, clearing=clear)
        return new, pulls | info | guarded

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"damping": 1.0}
