"""Training walked twice in few large steps, with the request and without: no influence function."""

from typing import Any

from jax import Array

from jaxforget._settings import checked
from jaxforget.gradient.influence import problem, region, steps
from jaxforget.metrics import claims
from jaxforget.types import ForgetSet, Interactions, Method, Model

TRACED = ("damping_power",)  # may be arguments of a compiled program


@checked
def build(
    model: Model,
    *,
    n_steps: int = 100,
    origin: float = 0.1,
    damping_power: float = 0.5,
    spillover: bool = True,
    hops: int | None = None,
    keep: float | None = None,
    keep_request: bool | None = None,
    sizes: tuple[int, int] | None = None,
    clear: bool = True,
) -> Method:
    """Builds ``params + (end of a walk on the retained loss - end of a walk on the old loss)``.

    Both walks take the same full-batch steps from ``origin params`` until as far along the
    parameters as training came (about 20 steps), so that their coarseness cancels. No Hessian, no
    damping, nothing is linearised. It assumes a model trained from a start near 0.

    Args:
      n_steps: at most so many steps, of two gradients each.
      origin: share of the parameters at which the walks start, in (0, 1).
      damping_power: of a row's number of remembered interactions, by which its steps are divided.
      spillover: whether the retained loss is taken along the graph without the forgotten;
        changes nothing for a model without a graph.
      hops, keep, keep_request, sizes: update only some rows, see ``region.chooser``.
      clear: a row that loses all it had becomes 0, where retraining starts it.

    Raises:
      ValueError: a setting is out of range or would not be read, or the model cannot serve it.

    Source: this library's; compare unrolled training, Hara et al., arXiv 1906.08473.
    """
    choose = region.chooser("replay", hops=hops, keep=keep, keep_request=keep_request, sizes=sizes)
    step = steps.replay(
        "replay", model, damping_power=damping_power, n_steps=n_steps, origin=origin
    )

    def unlearn(
        key: Array, params: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        del key
        rows = choose(train, forget)
        stated = problem.state(model, params, train, forget, region=rows, spillover=spillover)
        change, info = step(stated)
        new, guarded = problem.move(stated, change, clearing=clear)
        return new, info | guarded

    return Method(model.fit, unlearn, model.factors)


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"n_steps": 30}
