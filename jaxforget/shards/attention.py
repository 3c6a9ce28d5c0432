"""Attention over shards: one embedding per user and item from those of all sub-models."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _checks
from jaxforget._settings import checked
from jaxforget.gradient import descent
from jaxforget.types import Factors


class Gate(NamedTuple):
    """How much each shard counts for a row: ``softmax_s(h . relu(e_s W + b))``.

    ``H = max(D // 2, 1)`` is the dimension of the hidden layer.
    """

    weight: Array  # [D, H] W
    bias: Array  # [H] b
    head: Array  # [H] h


class Attention(NamedTuple):
    """The parameters of the aggregation."""

    transfer: Array  # [S, D, D] from each shard's space into a common one, for users and items
    shift: Array  # [S, D]
    users: Gate
    items: Gate


@checked
def start(key: Array, n_shards: int, dim: int, dtype: jnp.dtype) -> Attention:
    """Draws the parameters: Xavier uniform transfers, He normal gates.

    Args:
      key: typed JAX key; consumed.
      n_shards: sub-models.
      dim: of their factors.
      dtype: of their factors.
    """
    transfer_key, *gate_keys = jax.random.split(key, 3)
    bound = (6 / (dim + dim)) ** 0.5
    transfer = jax.random.uniform(transfer_key, (n_shards, dim, dim), dtype, -bound, bound)
    hidden = max(dim // 2, 1)

    def gate(key: Array) -> Gate:
        drawn = jax.random.truncated_normal(key, -2.0, 2.0, (dim, hidden), dtype)
        scale = (2 / (dim + hidden)) ** 0.5
        return Gate(scale * drawn, jnp.zeros(hidden, dtype), jnp.full(hidden, 0.01, dtype))

    users, items = (gate(k) for k in gate_keys)
    return Attention(transfer, jnp.zeros((n_shards, dim), dtype), users, items)


def apply(attention: Attention, shards: Factors) -> Factors:
    """Combines the shards' rows: ``e = sum_s a_s e'_s`` with ``e'_s = e_s W_s + b_s``.

    ``a_s = softmax_s(h . relu(e'_s W + b))`` with ``(W, b, h)`` of its own for users and items.

    Args:
      attention: the parameters.
      shards: users ``[S, U, D]``, items ``[S, I, D]``.

    Returns:
      users ``[U, D]``, items ``[I, D]``.

    Example:
      >>> one = Factors(jnp.ones((1, 2, 4)), jnp.ones((1, 3, 4)))
      >>> apply(start(jax.random.key(0), 1, 4, one.users.dtype), one).items.shape
      (3, 4)

    Source: Chen et al., RecEraser, WWW 2022; as in the baselines of arXiv 2307.02147.
    """

    def side(rows: Array, gate: Gate) -> Array:
        moved = jnp.einsum("snd,sde->sne", rows, attention.transfer) + attention.shift[:, None, :]
        hidden = jax.nn.relu(moved @ gate.weight + gate.bias[None, None, :])
        share = jax.nn.softmax(hidden @ gate.head, axis=0)
        return jnp.einsum("sn,snd->nd", share, moved)

    return Factors(side(shards.users, attention.users), side(shards.items, attention.items))


@checked
def fit(
    key: Array, shards: Factors, loss: Callable[[Factors], Array], *, lr: float, n_steps: int
) -> tuple[Attention, dict[str, Array]]:
    """Trains the aggregation by Adam on all data, the shards' embeddings held fixed.

    Args:
      key: typed JAX key; consumed.
      shards: users ``[S, U, D]``, items ``[S, I, D]``.
      loss: ``Factors -> scalar``, of the retained data.
      lr: of Adam.
      n_steps: full-batch steps.

    Returns:
      The parameters, and ``steps``, ``grad_norm``, ``loss`` as reached.
    """
    n_shards, _, dim = shards.users.shape
    drawn = start(key, n_shards, dim, shards.users.dtype)
    return descent.full(lambda p: loss(apply(p, shards)), drawn, tol=0.0, max_steps=n_steps, lr=lr)


@checked
def trainer(
    method: str, *, lr: float | None, n_steps: int | None
) -> Callable[[Array, Factors, Callable[[Factors], Array]], tuple[Attention, dict[str, Array]]]:
    """Checks the settings of a method's attention and binds ``fit`` to them.

    Args:
      method: its name, for errors.
      lr: the method's ``attention_lr``.
      n_steps: the method's ``attention_steps``.

    Returns:
      ``(key, shards, loss) -> (attention, info)``.

    Raises:
      ValueError: a setting is missing or not positive.
    """
    if lr is None or n_steps is None:
        raise _checks.SettingError(
            f"{method}: attention needs attention_lr and attention_steps, which have no default "
            f"because their right values depend on the data; got {lr} and {n_steps}"
        )
    _checks.positive(method, attention_lr=lr, attention_steps=n_steps)
    return functools.partial(fit, lr=lr, n_steps=n_steps)
