"""Training replayed twice, with a request and without: the difference is what the request did.

This is no influence function: nothing is linearised. A model that stopped early is still on its
way to a minimum, and its way is short; so it is walked again in few, large, full-batch steps, from
a point near the origin in the direction of the trained parameters until as far along them as
training came. Both walks have the same coarse steps, and only their difference is used. A step is
as long as the curvature met on the way allows: that of the trained parameters is not that of the
way to them.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying
from jaxforget.gradient.vectors import add, dot
from jaxforget.sparse.arithmetic import ratio

STEP = 1.2  # over the largest curvature; explicit steps are stable below 2, and its estimate is low
STABLE = 2.0  # a step that met more than this over its length is taken back
GROWTH = 2.0  # of the length from one step to the next, at most


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
      top: largest curvature of the loss at ``params``, in units of ``scale``: no step is longer
        than ``STEP / top``. Where a step meets more curvature than it is stable for, in either
        walk, it is taken back and tried again, shorter.
      origin: share of ``params`` to start from, in (0, 1).
      within: projects ``d`` onto the coordinates that may change; None: all may.

    Returns:
      ``d``, and ``iterations`` (two gradients each, those of steps taken back included),
      ``refused`` (how many were taken back), ``reached`` (share of the way along ``params``) and
      ``gap``, ``|b - params| / |params|`` in the norm of ``scale``: how rough the replay was.

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
    longest = jnp.asarray(STEP / top, size.dtype)
    slopes = lambda base, change: (before(base), after(add(base, change)))  # noqa: E731

    def unfinished(carry):
        *_, share, n, _ = carry
        return (share < 1) & (n < n_steps)

    def step(carry):
        at, (old, new), length, share, n, refused = carry
        further = -length * dot(params, old) / size
        over = share + further > 1
        part = jnp.where(over, (1 - share) / jnp.where(over, further, 1), 1)  # stops at exactly 1
        pull = jax.tree.map(jnp.subtract, old, new)
        pull = within(pull) if within else pull
        moves = tuple(
            jax.tree.map(lambda g, s, sign=sign: sign * part * length * g / s, gradient, scale)
            for gradient, sign in ((old, -1), (pull, 1))
        )
        there = add(at, moves)
        beyond = slopes(*there)
        walked = (moves[0], add(*moves))
        bend = jnp.maximum(*map(functools.partial(_curvature, scale), walked, (old, new), beyond))
        stable = part * length * bend <= STABLE  # False where anything is not finite
        onward = (there, beyond, jnp.where(over, 1, share + further))
        keep = functools.partial(jnp.where, stable)
        now = jax.tree.map(keep, onward, (at, (old, new), share))
        known = jnp.where(bend < jnp.inf, bend, 2 * STEP / length)  # halves where it is not finite
        wanted = ratio(STEP, known, otherwise=jnp.inf)
        length = jnp.minimum(jnp.minimum(longest, GROWTH * length), wanted)
        return *now[:2], length, now[2], n + 1, refused + (~stable).astype(jnp.int32)

    at = (jax.tree.map(lambda p: origin * p, params), jax.tree.map(jnp.zeros_like, params))
    share, none = jnp.asarray(origin, size.dtype), jnp.zeros((), jnp.int32)
    start = (at, slopes(*at), longest, share, none, none)
    (base, change), *_, share, n, refused = _varying.while_loop(unfinished, step, start)
    off = jax.tree.map(jnp.subtract, base, params)
    gap = jnp.sqrt(dot(off, off, scale=scale) / size)
    return change, {"iterations": n, "refused": refused, "reached": share, "gap": gap}


def _curvature(scale: Any, move: Any, start: Any, end: Any) -> Array:
    """The curvature that a move met, from the gradients at its ends, in units of ``scale``."""
    bent = jax.tree.map(jnp.subtract, end, start)
    per = jax.tree.map(lambda s: 1 / s, scale)
    return jnp.sqrt(ratio(dot(bent, bent, scale=per), dot(move, move, scale=scale)))
