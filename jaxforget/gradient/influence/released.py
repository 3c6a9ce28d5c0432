"""What the released code of IFRU computes where it departs from the paper: solver and spillover.

Used by ``methods.ifru_released``; the paper is arXiv 2307.02147.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.gradient import descent
from jaxforget.gradient.influence import importance
from jaxforget.gradient.influence.region import Region, maps
from jaxforget.metrics.labels import label_auc, remembered
from jaxforget.sparse.arithmetic import ratio
from jaxforget.sparse.degrees import degrees
from jaxforget.types import ForgetSet, Interactions, Model, Watched

LOST = 0.01  # a node counts as changed if it lost more than this share of its degree


def changed(train: Interactions, request: ForgetSet) -> Array:
    """``[N]`` 1 at interactions of nodes that clearly lost degree with a forgotten positive label.

    As released: repeated pairs of one label count once.
    """
    positive = (train.values > 0).astype(request.after.dtype)
    old, new = (degrees(train, x * positive) for x in request)
    gone = degrees(train, (request.before - request.after) * positive)
    flags = [(g > 0) & (1 - ratio(n, o) > LOST) for o, n, g in zip(old, new, gone)]
    beside = flags[0][train.users] | flags[1][train.items]
    once = sum(importance.once(train, request.after * label) for label in (positive, 1 - positive))
    return jnp.where(beside, once, 0)


@checked
def by_adam(
    matvec: Callable[[Any], Any],
    pull: Any,
    region: Region | None,
    *,
    lr: Array,
    n_steps: int,
    patience: int | None,
    score: Callable[[Any], Array],
) -> tuple[Any, dict[str, Array]]:
    """Minimises ``x'A x / 2 - pull'x`` on the region by Adam from 0, stopped by a score.

    No damping and no residual test. With ``patience`` it returns the iterate of the best
    ``score(x)``, the first at the earliest (doing nothing is never an option), once more than
    ``patience`` iterations in turn brought nothing better; without, the last iterate.

    Returns:
      the iterate, zero outside the region, and ``iterations``, ``score``.
    """
    down, up = maps(region)
    rhs, adam = down(pull), descent.adam(lr)

    def unfinished(carry: tuple) -> Array:
        n, stale = carry[-2:]
        return n < n_steps if patience is None else (n < n_steps) & (stale <= patience)

    def step(carry: tuple) -> tuple:
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
    start = (origin, adam.init(origin), origin, none, zero, zero)
    _, _, best, record, n, _ = _varying.while_loop(unfinished, step, start)
    return up(best), {"iterations": n, "score": record}


def validation_auc(
    model: Model, params: Any, train: Interactions, edges: Array, weights: Array
) -> Array:
    """Validation AUC of what is served along ``edges``: only released recipes look at it.

    Rows of a user or item without a remembered interaction (``weights``) do not count.

    Raises:
      ValueError: the training interactions bring no validation data.
    """
    if not isinstance(train, Watched):
        raise ValueError(
            "stopping on validation needs validation interactions: call "
            "types.watch(train, valid) first, or set patience=None"
        )
    counts = remembered(train.valid, train, weights)
    return label_auc(model.factors(params, train, edges), train.valid, counts)
