"""The pull of IFRU followed as a gradient flow, for as long as training lasted."""

from typing import Any, Literal

from jax import Array

from jaxforget._settings import checked
from jaxforget.gradient.influence import problem, region, steps
from jaxforget.metrics import claims
from jaxforget.types import ForgetSet, Interactions, Method, Model

TRACED = ("damping", "damping_power")  # may be arguments of a compiled program


@checked
def build(
    model: Model,
    *,
    damping: float | Literal["auto"] = "auto",
    damping_power: float = 0.5,
    hessian: Literal["gauss_newton", "full"] = "full",
    max_products: int = 100,
    spillover: bool = True,
    hops: int | None = None,
    keep: float | None = None,
    keep_request: bool | None = None,
    sizes: tuple[int, int] | None = None,
    clear: bool = True,
) -> Method:
    """Builds ``params + (1 - e^(-T H)) H^-1 pull`` with the pull of ``ifru`` and duration ``T``.

    ``ifru`` damps directions that bend little, as if training had a ridge; training that stopped
    early did not reach them in time instead. A direction that bends downwards grows as it would
    have in training, so the exact Hessian serves where a linear system needs it raised.

    Args:
      damping: the ridge that is read as a duration, ``T = log(1 + bend / ridge) / bend``;
        ``"auto"`` as in ``ifru``.
      damping_power: of a row's number of remembered interactions, in the scale of its steps.
      hessian: ``"full"``, or ``"gauss_newton"``.
      max_products: Hessian products at most; a longer flow is cut short there.
      spillover: as in ``ifru``; changes nothing for a model without a graph.
      hops, keep, keep_request, sizes: update only some rows, see ``region.chooser``.
      clear: a row that loses all it had becomes 0, where retraining starts it.

    Raises:
      ValueError: a setting is out of range or would not be read, or the model cannot serve it.

    Source: this library's; the pull is that of arXiv 2307.02147.
    """
    owner = "ifru_flow"
    choose = region.chooser(owner, hops=hops, keep=keep, keep_request=keep_request, sizes=sizes)
    step = steps.flow(
        owner,
        model,
        damping=damping,
        damping_power=damping_power,
        hessian=hessian,
        max_products=max_products,
    )

    def unlearn(
        key: Array, params: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        del key
        rows = choose(train, forget)
        stated = problem.state(model, params, train, forget, region=rows, spillover=spillover)
        stated, pulls = problem.with_pull(stated)
        change, info = step(stated)
        new, guarded = problem.move(stated, change, clearing=clear)
        return new, pulls | info | guarded

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"damping": 1.0}
