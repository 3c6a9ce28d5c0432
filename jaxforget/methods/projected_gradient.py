"""Gradient ascent projected off the span of retained-data gradients."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.gradient import guard, losses
from jaxforget.gradient.vectors import norm
from jaxforget.metrics import claims
from jaxforget.sparse.arithmetic import ratio
from jaxforget.sparse.draws import pair_bits
from jaxforget.types import ForgetSet, Interactions, Method, Model

TRACED = ("lr",)  # may be arguments of a compiled program


@checked
def build(model: Model, *, lr: float, n_steps: int, n_groups: int = 16) -> Method:
    """Builds ascent on the forgotten loss that leaves the retained loss alone to first order.

    The retained interactions are dealt at random into ``n_groups``; the gradients of the groups'
    shares of the retained loss at the old parameters span what must not be disturbed, and with them
    that of the whole retained loss, ridge included. Every step is made orthogonal to all of them,
    so none changes the retained loss at first order, and the ascent stops as in
    ``gradient_ascent``. It holds ``n_groups + 1`` copies of the parameters.

    The share of a group is the sum of its interactions' outcomes, all that is remembered being
    known, where the model states ``margins``; of other models it is the loss of the group alone.

    Args:
      lr: step per unit of the *sum* of the forgotten losses.
      n_steps, n_groups: static.

    Raises:
      ValueError: a setting that is not positive.

    Source: after Hoang et al., Learn to Unlearn for Deep Neural Networks: Minimizing Unlearning
    Interference with Gradient Projection, WACV 2024, who take the span per layer from inputs; an
    embedding table has no inputs, so the span here is one of gradients.
    """

    def unlearn(
        key: Array, params: Any, train: Interactions, forget: ForgetSet
    ) -> tuple[Any, dict[str, Array]]:
        changes = jnp.any(forget.before != forget.after)
        groups = pair_bits(key, train) % jnp.uint32(n_groups)

        def retained(p):
            return model.loss(p, train, forget.after, forget.after)

        def of_group(k):
            return _varying.grad(lambda p: _share(model, p, train, forget.after, groups == k))(
                params
            )

        spans = lax.map(of_group, jnp.arange(n_groups, dtype=jnp.uint32))
        # the whole first: what is nearly dependent on those before it is left out
        whole = _varying.grad(retained)(params)
        spans = jax.tree.map(lambda g, v: jnp.concatenate([g[None], v]), whole, spans)
        basis = _orthonormal(spans, n_groups + 1)

        forgotten = losses.forgotten(model.loss, train, forget)

        def step(params):
            free = _off(basis, _varying.grad(forgotten)(params))
            return jax.tree.map(lambda p, g: jnp.where(changes, p + lr * g, p), params, free)

        pull = _varying.grad(forgotten)(params)
        size = norm(pull)
        kept = ratio(norm(_off(basis, pull)), size)

        new, info = guard.climb(step, retained, params, n_steps=n_steps)
        told = {"pull_norm": size, "share_left": kept, "forgotten_loss": forgotten(new)}
        return new, told | info

    return Method(model.fit, unlearn, model.factors)


def _share(model, params, train, weights, where):
    """What some interactions add to the loss, without the ridge where it can be told apart."""
    if model.margins is None:
        return model.loss(params, train, jnp.where(where, weights, 0), weights)
    margins = model.margins.margins(params, train, weights)
    return jnp.sum(jnp.where(where, model.margins.outcomes(margins, train, weights), 0))


def _orthonormal(vectors, n):
    """Gram-Schmidt, twice against all earlier ones; a dependent vector becomes 0."""

    def step(k, basis):
        vector = jax.tree.map(lambda v: v[k], vectors)
        old = norm(vector)
        vector = _off(basis, _off(basis, vector))
        size = norm(vector)
        keep = size > 1e-4 * old
        return jax.tree.map(
            lambda b, v: b.at[k].set(jnp.where(keep, v / jnp.where(keep, size, 1), 0)),
            basis,
            vector,
        )

    return _varying.fori_loop(0, n, step, jax.tree.map(jnp.zeros_like, vectors))


def _off(basis, vector):
    """The vector without its components along the basis ``[n, ...]``."""
    parts = zip(jax.tree.leaves(basis), jax.tree.leaves(vector))
    along = sum(jnp.tensordot(b, v, v.ndim, precision="highest") for b, v in parts)
    return jax.tree.map(
        lambda b, v: v - jnp.tensordot(along, b, 1, precision="highest"), basis, vector
    )


EXACTNESS = claims.approximate(parameters="moved")
TOY = {"lr": 0.01, "n_steps": 3, "n_groups": 4}
