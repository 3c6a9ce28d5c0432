"""Training replayed twice, with a request and without: the difference is what the request did.

This is no influence function: nothing is linearised. A model that stopped early is still on its
way to a minimum, and its way is short; so it is walked again in few, large, full-batch steps, from
a point near the origin in the direction of the trained parameters until as far along them as
training came. Both walks have the same coarse steps, and only their difference is used.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget.gradient.vectors import add, dot

STEP = 1.2  # over the largest curvature; explicit steps are stable below 2, and its estimate is low


def run(
    before: Callable[[Any], Any],
    after: Callable[[Any], Any],
    params: Any,
    *,
    scale: Any,
    top: Array | float,
    origin: float,
    n_steps: int,
    within: Callable[[Any], Any] | None = None,
) -> tuple[Any, dict[str, Array]]:
    """Follows two gradient flows in the same steps, and returns how far they part.

    ``S b' = -before(b)`` and ``S (b + d)' = -after(b + d)``, from ``b = origin params``, ``d = 0``.
    It ends where ``<params, S b> = <params, S params>``, or after ``n_steps``.

    Args:
      before, after: gradients of the loss of everything learnt, and of what remains: ``p -> grad``.
      params: where training had stopped.
      scale: ``S``, pytree of positive numbers that broadcasts against ``params``.
      top: largest curvature of the loss at ``params``, in units of ``scale``.
      origin: share of ``params`` to start from, in (0, 1).
      within: projects ``d`` onto the coordinates that may change; None: all may.

    Returns:
      ``d``, and ``iterations`` (two gradients each), ``reached`` (share of the way along
      ``params``) and ``gap``, ``|b - params| / |params|`` in the norm of ``scale``: how rough the
      replay was.

    Example:
      >>> one = jnp.ones(1)  # (p - 3)^2 / 2 learnt up to 2; then (p - 5)^2 / 2
      >>> walks = (lambda p: p - 3, lambda p: p - 5)
      >>> d, _ = run(*walks, 2 * one, scale=one, top=60.0, origin=0.1, n_steps=99)
      >>> round(float(d[0]), 1)  # 2 (1 - e^-t), where 3 - 2.8 e^-t = 2
      1.3

    Source: unrolled training as in Hara, Nitanda, Maehara, NeurIPS 2019 (arXiv 1906.08473), whose
    trajectory is the recorded one and whose difference is linear.
    """
    size = dot(params, params, scale=scale)
    length = STEP / top
    within = within or (lambda x: x)

    def unfinished(carry):
        *_, share, n = carry
        return (share < 1) & (n < n_steps)

    def step(carry):
        base, change, share, n = carry
        old, new = before(base), after(add(base, change))
        further = -length * dot(params, old) / size
        over = share + further > 1
        part = jnp.where(over, (1 - share) / jnp.where(over, further, 1), 1)  # stops at exactly 1
        pull = within(jax.tree.map(jnp.subtract, old, new))
        base, change = (
            jax.tree.map(lambda x, g, s, sign=sign: x + sign * part * length * g / s, x, g, scale)
            for x, g, sign in ((base, old, -1), (change, pull, 1))
        )
        return base, change, jnp.where(over, 1, share + further), n + 1

    base = jax.tree.map(lambda p: origin * p, params)
    start = (base, jax.tree.map(jnp.zeros_like, params), jnp.asarray(origin, size.dtype))
    base, change, share, n = lax.while_loop(unfinished, step, (*start, jnp.zeros((), jnp.int32)))
    off = jax.tree.map(jnp.subtract, base, params)
    gap = jnp.sqrt(dot(off, off, scale=scale) / size)
    return change, {"iterations": n, "reached": share, "gap": gap}
