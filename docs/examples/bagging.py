"""Bagging: models trained on random shares of the retained data, their scores averaged."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxforget import _checks
from jaxforget.metrics import claims
from jaxforget.sparse.draws import pair_bits
from jaxforget.types import Factors, Method, Model


def build(model: Model, *, n_members: int, share: float = 0.5) -> Method:
    """Builds an ensemble; a request trains every member again, on retained interactions alone.

    A member sees an interaction with weight ``w b``, where ``w`` is 1 if it is remembered and
    ``b`` is 1 with chance ``share``: what is not drawn is, for that member, never loaded. The
    score is the mean over the members, ``mean_m x_m(u) . y_m(i)``.

    Args:
      n_members: models of the full dimension each.
      share: chance that a member sees an interaction, in (0, 1].

    Raises:
      ValueError: a setting is out of range.

    Source: Breiman, Bagging Predictors, Machine Learning 1996 (drawn without replacement here).
    """
    _checks.positive("bagging", n_members=n_members, share=share)
    if share > 1:
        raise ValueError(f"bagging: share must lie in (0, 1]; got {share}")

    def fit(key, train, weights):
        def member(key):
            draw, start = jax.random.split(key)
            # bits that belong to the pair: who is drawn depends on nobody else being there
            drawn = pair_bits(draw, train) <= jnp.uint32(int(share * (2**32 - 1)))
            seen = jnp.where(drawn, weights, 0)
            params, info = model.fit(start, train, seen)
            return model.factors(params, train, seen), info

        members, infos = lax.map(member, jax.random.split(key, n_members))
        return members, {name: jnp.max(values) for name, values in infos.items()}

    def unlearn(key, state, train, forget):
        del state  # nothing of the old members may leak into the new ones
        return fit(key, train, forget.after)

    def factors(state, train, weights):
        users, items = (jnp.concatenate(list(side), axis=1) for side in state)
        return Factors(users / n_members, items)  # [U, n_members D] and [I, n_members D]

    return Method(fit, unlearn, factors)


EXACTNESS = claims.exact(parameters="recomputed")
TOY = {"n_members": 2}
