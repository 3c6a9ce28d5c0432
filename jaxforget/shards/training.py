"""Trains the sub-models of shards, each on its slices one after the other.

Of a shard that a request changes, only the slices from the first changed one on are trained again.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget import _varying
from jaxforget._settings import checked
from jaxforget.shards import partition
from jaxforget.sparse.compact import compact, shorten
from jaxforget.types import ForgetSet, Interactions, Model

HEADROOM = 1.3  # arrays of one shard have room for so many times the interactions of an average one

Info = dict[str, Array]


@checked
def shard_size(n: int, n_shards: int) -> int:
    """Length of the arrays that a shard is trained on; one with more interactions takes all N."""
    return -(-int(HEADROOM * n) // n_shards)


@checked
def slices_of(key: Array, train: Interactions, n_slices: int) -> Array:
    """``[N]`` which slice of its shard each interaction is in; depends on no other interaction."""
    if n_slices == 1:
        return jnp.zeros(len(train.users), jnp.int32)
    return partition.random(key, train, n_shards=n_slices)


@checked
def first_changed(
    old: Array, new: Array, forget: ForgetSet, slices: Array, n_shards: int, n_slices: int
) -> Array:
    """``[S]`` the first slice of each shard in which a weight changed; ``n_slices`` if none did.

    An interaction that moves from one shard to another changes both.

    Args:
      old: ``[N]`` shards before the request.
      new: ``[N]`` shards after it.
      forget: the request.
      slices: ``[N]`` of ``slices_of``.
      n_shards: S.
      n_slices: of every shard.
    """
    changed = (old != new) | (forget.before != forget.after)
    at = jnp.where(changed, slices, n_slices)
    first = jnp.full(n_shards, n_slices, jnp.int32)
    for shards in (old, new):
        first = first.at[jnp.where(shards < 0, n_shards, shards)].min(at, mode="drop")
    return first


@checked
def train_shards(
    model: Model,
    key: Array,
    train: Interactions,
    weights: Array,
    shards: Array,
    *,
    n_shards: int,
    n_slices: int,
    old: Any,
    first: Array,
) -> tuple[Any, Info]:
    """Trains every shard from one of its slices on; the parameters after earlier slices are kept.

    Args:
      model: of every shard.
      key: of the whole training; a shard's own keys follow from it.
      train: the interactions.
      weights: ``[N]``.
      shards: ``[N]``.
      n_shards: S.
      n_slices: of every shard.
      old: parameters ``[S, n_slices, ...]`` of an earlier training; None trains all from nothing.
      first: ``[S]`` int32, the first slice to train each shard on again; ``n_slices`` keeps it.

    Returns:
      Parameters ``[S, n_slices, ...]`` and ``info``.
    """
    _, slice_key, fit_key, _ = jax.random.split(key, 4)
    slices, size = slices_of(slice_key, train, n_slices), shard_size(len(train.users), n_shards)
    ways = functools.partial(_ways, model, train, size)

    def train_shard(fit, shard, old, first):
        own = jnp.where(shards == shard, weights, 0)
        return _train_slices(fit, jax.random.fold_in(fit_key, shard), own, slices, old, first)

    def in_turn(*shard_by_shard):  # so that a shard which is kept takes no time
        fit = functools.partial(_fit_or_keep, ways, size)
        return lax.map(lambda each: train_shard(fit, *each), shard_by_shard)

    def at_once(*all_shards):  # a batched choice runs all branches, so none is made per shard
        counts = partition.count(jnp.where(weights > 0, shards, n_shards), n_shards)
        fit = functools.partial(_fit_all, ways, jnp.max(counts) <= size)
        return jax.vmap(functools.partial(train_shard, fit))(*all_shards)

    numbers = jnp.arange(n_shards, dtype=jnp.int32)
    if old is None:
        shapes = jax.eval_shape(model.fit, fit_key, train, weights)[0]
        old = jax.tree.map(lambda x: jnp.zeros((n_shards, n_slices, *x.shape), x.dtype), shapes)
        trained = lax.platform_dependent(numbers, old, first, cpu=in_turn, default=at_once)
    else:
        trained = in_turn(numbers, old, first)
    params, (info, counts) = trained
    return params, _summary(info, counts, first)


def _summary(info: Info, counts: Array, first: Array) -> Info:
    """The largest value over all trainings, and how much was trained.

    A shard of one user may have no validation row to judge it by: its score is NaN, it keeps its
    first epoch, and the largest score is that of the others.

    Args:
      info: of every training, ``[S, n_slices]`` each.
      counts: ``[S, n_slices]`` interactions of every training.
      first: ``[S]`` the first slice that each shard was trained on.
    """
    n_slices = counts.shape[1]
    again = jnp.arange(n_slices, dtype=jnp.int32)[None, :] >= first[:, None]
    largest = {
        name: (jnp.nanmax if name == "score" else jnp.max)(value) for name, value in info.items()
    }
    return largest | {
        "shards_touched": jnp.sum(first < n_slices, dtype=jnp.int32),
        "interactions_retrained": jnp.sum(jnp.where(again, counts, 0), dtype=jnp.int32),
    }


def _train_slices(
    fit: Callable, key: Array, weights: Array, slices: Array, old: Any, first: Array
) -> tuple[Any, tuple[Info, Array]]:
    """Trains one shard on its first slice, from there on its first two, and so on.

    Args:
      fit: ``(again, key, weights, start, old) -> (params, info)``: trained from ``start``, or
        ``old`` where ``again`` is False.
      weights: ``[N]``, 0 outside the shard.
      old: parameters ``[n_slices, ...]`` after each slice.
      first: scalar, the first slice to train on again.

    Returns:
      Parameters ``[n_slices, ...]``, and after each slice ``info`` the number of interactions.
    """

    def stage(number, start, old):
        used = jnp.where(slices <= number, weights, 0)
        stage_key = jax.random.fold_in(key, number)
        params, info = fit(number >= first, stage_key, used, start, old)
        return params, (info, jnp.sum(used > 0, dtype=jnp.int32))

    params, info = stage(jnp.int32(0), None, jax.tree.map(lambda x: x[0], old))
    n_slices = len(jax.tree.leaves(old)[0])
    if n_slices == 1:
        return jax.tree.map(lambda x: x[None], (params, info))

    def step(params, each):
        number, old = each
        params, info = stage(number, params, old)
        return params, (params, info)

    rest = jnp.arange(1, n_slices, dtype=jnp.int32), jax.tree.map(lambda x: x[1:], old)
    _, others = lax.scan(step, params, rest)
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), (params, info), others)


def _fit_or_keep(
    ways: Callable, size: int, again: Array, key: Array, weights: Array, start: Any, old: Any
) -> tuple[Any, Info]:
    """Trains on what has a weight if ``again``; otherwise gives ``old``, and zeros as ``info``."""
    fits = ways(key, weights, start)
    info = jax.eval_shape(fits[0])[1]

    def keep():
        return old, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), info)

    small = jnp.sum(weights > 0, dtype=jnp.int32) <= size
    choice = jnp.where(small, len(fits), 1)
    return _varying.switch(jnp.where(again, choice, 0).astype(jnp.int32), [keep, *fits])


def _fit_all(
    ways: Callable, small: Array, again: Array, key: Array, weights: Array, start: Any, old: Any
) -> tuple[Any, Info]:
    """Trains on what has a weight; ``small`` says that the shorter arrays hold every shard."""
    del again, old
    fits = ways(key, weights, start)
    return _varying.switch(jnp.where(small, len(fits) - 1, 0).astype(jnp.int32), fits)


def _ways(
    model: Model, train: Interactions, size: int, key: Array, weights: Array, start: Any
) -> list[Callable[[], tuple[Any, Info]]]:
    """Ways to train on what has a weight: on arrays of length N, and of length ``size``."""

    def fit(length: int) -> tuple[Any, Info]:
        smaller, origin = compact(train, weights > 0)
        own = weights.at[origin].get(mode="fill", fill_value=0)
        return model.fit(key, shorten(smaller, length), own[:length], start)

    n = len(train.users)
    lengths = [n, size] if 2 * size <= n else [n]  # if not, no second compilation is worth it
    return [functools.partial(fit, length) for length in lengths]
