"""What the released code of IFRU computes where it departs from the paper: its solver, its spillover.

Used by ``methods.ifru`` with ``mode="as_released"`` or ``solver="adam"``; the paper is arXiv 2307.02147.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from jaxforget.gradient import descent
from jaxforget.gradient.influence import importance
from jaxforget.gradient.influence.region import Region, maps
from jaxforget.sparse.degrees import degrees
from jaxforget.types import ForgetSet, Interactions

LOST = 0.01  # a node counts as changed if it lost more than this share of its degree


def plain(loss: Any) -> Any:
    """The loss without its penalty, which the released Hessian leaves out."""
    return loss._replace(reg=0.0) if hasattr(loss, "reg") else loss


def changed(train: Interactions, request: ForgetSet) -> Array:
    """``[N]`` 1 at interactions of the nodes that a positive label left with a clear loss of degree.

    As released: repeated pairs of one label count once.
    """
    positive = (train.values > 0).astype(request.after.dtype)
    old, new = (degrees(train, x * positive) for x in request)
    hit = degrees(train, (request.before - request.after) * positive)
    flags = [(h > 0) & (1 - n / jnp.where(o > 0, o, 1) > LOST) for o, n, h in zip(old, new, hit)]
    met = flags[0][train.users] | flags[1][train.items]
    once = sum(importance.once(train, request.after * label) for label in (positive, 1 - positive))
    return jnp.where(met, once, 0)


def by_adam(matvec: Callable, pull: Any, region: Region | None, *, lr: Array, n_steps: int,
            patience: int | None, score: Callable) -> tuple[Any, dict[str, Array]]:  # fmt: skip
    """Minimises ``x'A x / 2 - pull'x`` on the region by Adam from 0, stopped by a score.

    No damping and no residual test. With ``patience`` it returns the iterate of the best
    ``score(x)``, the first at the earliest (doing nothing is never an option), once more than
    ``patience`` iterations in turn brought nothing better; without, the last iterate.

    Returns:
      the iterate, zero outside the region, and ``iterations``, ``score``.
    """
    down, up = maps(region)
    rhs, adam = down(pull), descent.adam(lr)

    def unfinished(carry):
        n, stale = carry[-2:]
        return n < n_steps if patience is None else (n < n_steps) & (stale <= patience)

    def step(carry):
        x, state, best, record, n, stale = carry
        slope = jax.tree.map(jnp.subtract, down(matvec(up(x))), rhs)
        change, state = adam.update(slope, state)
        x = optax.apply_updates(x, change)
        value = record if patience is None else score(up(x))
        better = (value > record) | (n == 0) | (patience is None)
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), x, best)
        stale = jnp.where(better, 0, stale + 1)
        return x, state, best, jnp.where(better, value, record), n + 1, stale

    zero, origin = jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, rhs)
    none = jnp.zeros((), jax.tree.leaves(rhs)[0].dtype)
    _, _, best, record, n, _ = lax.while_loop(
        unfinished, step, (origin, adam.init(origin), origin, none, zero, zero)
    )
    return up(best), {"iterations": n, "score": record}
