"""Models trained in parts: one sub-model per shard, of which a request changes only some.

What ``sisa`` and ``receraser`` share. They differ in how interactions are assigned to shards and in
how the sub-models are aggregated.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget._settings import checked
from jaxforget.shards import attention, partition
from jaxforget.shards.training import Info, first_changed, slices_of, train_shards
from jaxforget.sparse import serving
from jaxforget.types import Factors, Interactions, Method, Model

NO_FACTORS = (
    "the attention over shards is trained by the model's loss of the factors that are served; "
    "the parameters of this model are no Factors and it has no margins: take sisa with "
    'aggregation="mean"'
)


class Sharded(NamedTuple):
    """The sub-models, and what is needed to train some of them again as if for the first time."""

    key: Array  # of the training
    shards: Array  # [N] int32 shard of each remembered interaction, NOWHERE of the others
    params: Any  # [S, n_slices, ...] after each slice of every shard; those after the last serve
    aggregator: Any  # trained attention, or ()


class Aggregation(NamedTuple):
    """An attention that makes one model of the sub-models, and is trained too."""

    # (key, factors of the sub-models [S, ...], loss) -> (attention, info)
    fit: Callable[[Array, Factors, Callable[[Factors], Array]], tuple[attention.Attention, Info]]
    renew: bool = True  # train it again after a request; otherwise the old one is kept


@checked
def method(
    model: Model,
    *,
    n_shards: int,
    divide: Callable[[Array, Interactions, Array], Array],
    n_slices: int = 1,
    redivide: bool = False,
    aggregation: Aggregation | None = None,
) -> Method:
    """Builds an unlearning method that trains again the shards in which a request changes a weight.

    A shard is trained again with the key it had, so the result is the one of training all of it
    on the retained data: bit for bit, as far as the retained interactions keep their shards.
    ``info`` holds ``shards_touched`` and ``interactions_retrained`` (per epoch, all slices
    together), and the largest value over the trainings of everything that the model reports.

    Args:
      model: of every shard.
      n_shards: S.
      divide: ``(key, train, weights) -> [N]``, the shard of each interaction; what it says of
        those with weight 0 is not read.
      n_slices: a shard is trained on its first slice, from there on its first two, and so on.
      redivide: call ``divide`` again after a request, where it depends on the data.
      aggregation: None serves the mean of the sub-models' scores.

    Raises:
      ValueError: an attention is asked for, and the model's loss is none of served factors: it has
        no ``margins``, and its parameters are no ``Factors``. A model in closed form is refused
        here, another one when it is trained.
    """
    if aggregation is not None and model.margins is None and model.update is not None:
        raise ValueError(NO_FACTORS)
    # compiled by itself, so that a call outside of a compiled function gives the same bits
    serve = jax.jit(functools.partial(_served, model))
    train_parts = functools.partial(train_shards, model, n_shards=n_shards, n_slices=n_slices)

    def aggregate(key, state, train, weights, info):
        if aggregation is None:
            return state, info
        if model.margins is None and not isinstance(state.params, Factors):
            raise ValueError(NO_FACTORS)
        parts, loss = serve(state, train, weights), _served_loss(model, train, weights)
        return _aggregated(aggregation, key, state, parts, loss, info)

    def fit(key, train, weights):
        divide_key, _, _, aggregate_key = jax.random.split(key, 4)
        shards = jnp.where(weights > 0, divide(divide_key, train, weights), partition.NOWHERE)
        every = jnp.zeros(n_shards, jnp.int32)
        params, info = train_parts(key, train, weights, shards, old=None, first=every)
        return aggregate(aggregate_key, Sharded(key, shards, params, ()), train, weights, info)

    def unlearn(key, state, train, forget):
        del key  # a shard is trained again with the key it had
        weights = forget.after
        divide_key, slice_key, _, aggregate_key = jax.random.split(state.key, 4)
        shards = divide(divide_key, train, weights) if redivide else state.shards
        shards = jnp.where(weights > 0, shards, partition.NOWHERE)
        slices = slices_of(slice_key, train, n_slices)
        first = first_changed(state.shards, shards, forget, slices, n_shards, n_slices)
        params, info = train_parts(state.key, train, weights, shards, old=state.params, first=first)
        state = state._replace(shards=shards, params=params)
        if aggregation is not None and not aggregation.renew:
            return state, info
        return aggregate(aggregate_key, state, train, weights, info)

    def factors(state, train, weights):
        parts = serve(state, train, weights)
        return _mean(parts) if aggregation is None else attention.apply(state.aggregator, parts)

    return Method(fit, unlearn, factors)


def _aggregated(
    aggregation: Aggregation,
    key: Array,
    state: Sharded,
    parts: Factors,
    loss: Callable[[Factors], Array],
    info: Info,
) -> tuple[Sharded, Info]:
    """Trains the attention over the sub-models' factors."""
    fitted, more = aggregation.fit(key, parts, loss)
    more = {f"attention_{name}": value for name, value in more.items()}
    return state._replace(aggregator=fitted), info | more


def _mean(parts: Factors) -> Factors:
    """Factors ``[U, S D]`` and ``[I, S D]`` whose scores are the mean of the sub-models' scores."""
    scale = len(parts.users) ** -0.5  # of each side: a score is an inner product, over S
    return Factors(*(scale * jnp.concatenate(list(x), axis=1) for x in parts))


def _served(model: Model, state: Sharded, train: Interactions, weights: Array) -> Factors:
    """What each sub-model serves: users ``[S, U, D]``, items ``[S, I, D]``."""

    def one(each):
        shard, params = each
        own = jnp.where(state.shards == shard, weights, 0)
        return serving.tables(model.factors(jax.tree.map(lambda x: x[-1], params), train, own))

    n_shards = len(jax.tree.leaves(state.params)[0])
    return lax.map(one, (jnp.arange(n_shards, dtype=jnp.int32), state.params))


def _served_loss(model: Model, train: Interactions, weights: Array) -> Callable[[Factors], Array]:
    """The model's mean loss as a function of the factors that are served.

    These are propagated already, so no layers are left; and without the ridge, which is one of the
    parameters. A loss without margins is taken as it is.
    """
    total = jnp.maximum(jnp.sum(weights), 1)
    loss = model.loss if model.margins is None else model.margins.replace(n_layers=0, reg=0.0)
    return lambda served: loss(served, train, weights, weights) / total
