"""Models trained in parts: one sub-model per shard, of which a request spoils only some.

What ``sisa`` and ``receraser`` share. They differ in how interactions are dealt to shards and in
how the sub-models' answers are put together.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxforget.shards import attention, partition
from jaxforget.sparse.compact import compact, shorten
from jaxforget.types import Factors, Method, Model

SPARE = 1.3  # places per interaction of an average shard: fuller ones run at full size


class Sharded(NamedTuple):
    """The trained parts, and what is needed to train some of them again as if for the first time."""

    key: Array  # of the training
    member: Array  # [N] int32 shard of each remembered interaction, NOWHERE of the others
    params: Any  # [S, R, ...] of every shard after each of its slices; the last one serves
    aggregator: Any  # trained attention, or ()


class Plan(NamedTuple):
    """How a method deals, trains and puts together."""

    n_shards: int
    divide: Callable  # (key, train, weights) -> [N] shards; NOWHERE is put where the weight is 0
    n_slices: int = 1
    redivide: bool = False  # deal anew after a request: for partitions computed from the data
    combine: Callable | None = None  # (key, [S] factors, loss) -> (attention, info); None: mean
    recombine: bool = True  # train the attention anew after a request


def method(model: Model, plan: Plan) -> Method:
    """Builds an unlearning method that trains again the shards whose weights a request changes.

    A shard is trained again with the key it had, so the result is the one of training all of it
    on the retained data: bit for bit, as far as plan and data deal the rest to the same shards.
    ``info`` tells ``shards_touched`` and ``interactions_retrained`` (per epoch, all slices
    together), and of what the model tells about its trainings the largest value of each.
    """

    serve = jax.jit(functools.partial(_parts, model))  # one program, also outside of others

    def finish(key, state, train, weights):
        if plan.combine is None:
            return state, {}
        served = serve(state, train, weights)
        trained, info = plan.combine(key, served, _served_loss(model, train, weights))
        told = {f"attention_{name}": value for name, value in info.items()}
        return state._replace(aggregator=trained), told

    def fit(key, train, weights):
        deal, _, _, combine = jax.random.split(key, 4)
        member = jnp.where(weights > 0, plan.divide(deal, train, weights), partition.NOWHERE)
        first = jnp.zeros(plan.n_shards, jnp.int32)
        params, info = _train(model, plan, key, train, weights, member, None, first)
        state, told = finish(combine, Sharded(key, member, params, ()), train, weights)
        return state, info | told

    def unlearn(key, state, train, forget):
        del key  # a shard is trained again with the key it had
        deal, cut, _, combine = jax.random.split(state.key, 4)
        dealt = plan.divide(deal, train, forget.after) if plan.redivide else state.member
        member = jnp.where(forget.after > 0, dealt, partition.NOWHERE)
        slices = _slices(cut, train, plan.n_slices)
        first = _first_changed(plan, state.member, member, forget, slices)
        params, info = _train(
            model, plan, state.key, train, forget.after, member, state.params, first
        )
        state = state._replace(member=member, params=params)
        if plan.combine is not None and not plan.recombine:
            return state, info
        state, told = finish(combine, state, train, forget.after)
        return state, info | told

    def factors(state, train, weights):
        parts = serve(state, train, weights)
        if plan.combine is not None:
            return attention.apply(state.aggregator, parts)
        scale = plan.n_shards**-0.5  # the mean of S inner products is one of S joined vectors
        return Factors(*(scale * jnp.concatenate(list(x), axis=1) for x in parts))

    return Method(fit, unlearn, factors)


def _train(model, plan, key, train, weights, member, old, first):
    """Trains every shard from its slice ``first`` on; what lies before that is kept.

    One after the other, so that untouched shards cost nothing; the first time, where ``old`` is
    None, all at once on an accelerator.
    """
    _, cut, draw, _ = jax.random.split(key, 4)
    slices, fresh = _slices(cut, train, plan.n_slices), old is None
    if fresh:
        shapes, size = jax.eval_shape(model.fit, draw, train, weights)[0], _size(plan)
        old = jax.tree.map(lambda x: jnp.zeros((*size, *x.shape), x.dtype), shapes)

    def shard(which, old, first, fits=None):
        mine = jnp.where(member == which, weights, 0)

        def stage(r, start, old):
            seen = jnp.where(slices <= r, mine, 0)
            one = jax.random.fold_in(jax.random.fold_in(draw, which), r)
            params, told = _fit_if(r >= first, fits, model, plan, one, train, seen, start, old)
            return params, (told, jnp.sum(seen > 0, dtype=jnp.int32))

        params, told = stage(jnp.int32(0), None, jax.tree.map(lambda x: x[0], old))
        if plan.n_slices == 1:
            return jax.tree.map(lambda x: x[None], (params, told))

        def step(params, later):
            params, told = stage(later[0], params, later[1])
            return params, (params, told)

        rest = jnp.arange(1, plan.n_slices, dtype=jnp.int32)
        _, others = lax.scan(step, params, (rest, jax.tree.map(lambda x: x[1:], old)))
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), (params, told), others)

    def in_turn(*parts):
        return lax.map(lambda part: shard(*part), parts)

    def at_once(*parts):
        sizes = partition.count(jnp.where(weights > 0, member, plan.n_shards), plan.n_shards)
        fits = jnp.max(sizes) <= places(len(weights), plan.n_shards)  # of all, so that it branches
        return jax.vmap(functools.partial(shard, fits=fits))(*parts)

    parts = (jnp.arange(plan.n_shards, dtype=jnp.int32), old, first)
    trained = (
        lax.platform_dependent(*parts, cpu=in_turn, default=at_once) if fresh else in_turn(*parts)
    )
    params, (told, seen) = trained
    info = {name: jnp.max(value) for name, value in told.items()}
    again = jnp.arange(plan.n_slices, dtype=jnp.int32)[None, :] >= first[:, None]
    info["shards_touched"] = jnp.sum(first < plan.n_slices, dtype=jnp.int32)
    info["interactions_retrained"] = jnp.sum(jnp.where(again, seen, 0), dtype=jnp.int32)
    return params, info


def _size(plan):
    return plan.n_shards, plan.n_slices


def _fit_if(go, fits, model, plan, key, train, weights, start, old):
    """Trains on what has a weight, at about the size of a shard where it fits; else returns ``old``.

    With ``fits`` given nothing is kept: a choice per shard would run every branch for all.
    """
    n = len(train.users)
    short = places(n, plan.n_shards)
    told = jax.eval_shape(model.fit, key, train, weights)[1]

    def keep():
        return old, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), told)

    def fit(size):
        smaller, origin = compact(train, weights > 0)
        live = weights.at[origin].get(mode="fill", fill_value=0)
        return model.fit(key, shorten(smaller, size), live[:size], start)

    choices = [lambda: fit(n)]
    if 2 * short <= n:  # otherwise not worth a second compilation
        choices.append(lambda: fit(short))
    if fits is not None:
        return lax.switch(jnp.where(fits, len(choices) - 1, 0).astype(jnp.int32), choices)
    fits = jnp.sum(weights > 0, dtype=jnp.int32) <= short
    best = jnp.where(fits, len(choices), 1)
    return lax.switch(jnp.where(go, best, 0).astype(jnp.int32), [keep, *choices])


def places(n: int, n_shards: int) -> int:
    """How many interactions a shard is laid out for; a fuller one is trained at full size."""
    return -(-int(SPARE * n) // n_shards)


def _slices(key, train, n_slices):
    """``[N]`` which slice of its shard an interaction is in; looks at no other interaction."""
    if n_slices == 1:
        return jnp.zeros(len(train.users), jnp.int32)
    return partition.random(key, train, n_shards=n_slices)


def _first_changed(plan, old, new, forget, slices):
    """``[S]`` the first slice of each shard in which a weight changed; ``n_slices`` if none did."""
    changed = (old != new) | (forget.before != forget.after)
    at = jnp.where(changed, slices, plan.n_slices)
    first = jnp.full(plan.n_shards, plan.n_slices, jnp.int32)
    for member in (old, new):
        first = first.at[jnp.where(member < 0, plan.n_shards, member)].min(at, mode="drop")
    return first


def _parts(model, state, train, weights):
    """What each shard's model serves: users ``[S, U, D]``, items ``[S, I, D]``."""

    def one(part):
        which, params = part
        mine = jnp.where(state.member == which, weights, 0)
        return model.factors(jax.tree.map(lambda x: x[-1], params), train, mine)

    n_shards = len(jax.tree.leaves(state.params)[0])
    return lax.map(one, (jnp.arange(n_shards, dtype=jnp.int32), state.params))


def _served_loss(model, train, weights):
    """The model's loss per interaction, as a function of what is served: no graph, no ridge."""
    loss, total = model.loss, jnp.maximum(jnp.sum(weights), 1)
    if hasattr(loss, "n_layers"):
        loss = loss._replace(n_layers=0, reg=0.0)
    return lambda served: loss(served, train, weights, weights) / total
