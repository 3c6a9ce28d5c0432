"""Recommendations that a certified model provably shares with the retrained one."""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _checks
from jaxforget.metrics import _fits, ranking
from jaxforget.sparse import serving
from jaxforget.types import Factors, Interactions

CHUNK = 64  # users ranked at a time


@functools.partial(jax.jit, static_argnames="k")
def stable_items(
    factors: Factors, train: Interactions, weights: Array, pair_bound: Array, *, k: int
) -> tuple[Array, Array]:
    """Marks the recommendations that the retrained model provably makes too.

    Two items of one user cannot change their order if their scores differ by more than
    ``sqrt(2) * pair_bound``; so an item that scores by that much more than the (k + 1)-th stays
    among the first k. The scores are those of the factors up to rounding, for which the difference
    has to be larger by ``2 g |u| max_i |i|``: a sum of D products of the factors is off by at most
    ``D e / (1 - D e)`` times the product of the norms, whatever the order of summation, with e the
    unit roundoff (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1);
    ``g = 2 (D + 4) e`` is twice that and more, for the norms and the difference are rounded too.

    Args:
      factors: the certified model.
      train: interactions; remembered ones are not recommended.
      weights: ``[N]`` 1 = remembered.
      pair_bound: of the model's ``Certificate``, or ``[U]`` from ``certificate.people``.
      k: length of the list, < I.

    Raises:
      ValueError: k is not an integer in [1, I), or the interactions are not of the model's numbers
        of users and items.

    Returns:
      ``(items [U, k] int32, stable [U, k] bool)``.
    """
    _checks.count("stable_items", 1, k=k)
    _checks.between("stable_items", 1, train.n_items - 1, k=k)
    _fits.check("stable_items", factors, [(train, weights)])
    bound = jnp.broadcast_to(jnp.sqrt(2.0) * pair_bound, (train.n_users,))
    bound = bound + _rounding(factors)

    def rank(users):
        scores = serving.scores(factors, users)
        seen = ranking.hide([(train, weights)], users, train.n_items)
        scores = jnp.where(seen, -jnp.inf, scores)
        values, items = lax.top_k(scores, k + 1)
        lead = values[:, :k] - values[:, k:]
        return items[:, :k], (lead > bound[users][:, None]) & jnp.isfinite(values[:, :k])

    chunks = -(-train.n_users // CHUNK)
    users = jnp.arange(chunks * CHUNK, dtype=jnp.int32)
    users = jnp.minimum(users, train.n_users)  # past the last user is padding, cut off below
    items, stable = lax.map(rank, users.reshape(chunks, -1))
    return items.reshape(-1, k)[: train.n_users], stable.reshape(-1, k)[: train.n_users]


def _rounding(factors: Factors) -> Array:
    """``[U]`` by how much the difference of two scores of a user may be rounded."""
    kind, width = jnp.finfo(factors.users.dtype), factors.users.shape[1] + 4
    users, items = (jnp.linalg.norm(side, axis=1) for side in factors)
    longest = jnp.max(items, initial=0)
    # eps is twice the unit roundoff; products too small for the format are rounded to 0
    return 2 * width * (float(kind.eps) * users * longest + float(kind.tiny))
