"""Training by gradient: minibatch Adam with early stopping, and full batch to a gradient norm."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from jaxforget import _varying, _weights
from jaxforget._settings import checked
from jaxforget.gradient import graph
from jaxforget.gradient.vectors import dot
from jaxforget.sparse.draws import pair_bits
from jaxforget.types import Batch, Interactions, MarginLoss

FORGOTTEN = 1 << 31  # sorts after every remembered interaction


@checked
def adam(lr: float | Array) -> optax.GradientTransformationExtraArgs:
    """Adam with its default moments."""
    return lenient(optax.adam(lr))


def lenient(method: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Lets optax mix dtypes as it does, where the caller has forbidden that to all code."""

    extended = optax.with_extra_args_support(method)

    def update(updates, state, params=None, **more):
        with jax.numpy_dtype_promotion("standard"):
            return extended.update(updates, state, params, **more)

    return optax.GradientTransformationExtraArgs(method.init, update)


class Epochs(NamedTuple):
    """Where minibatch training stands."""

    params: Any
    optimiser: Any
    best: Any  # parameters of the best epoch so far
    score: Array  # their score
    stale: Array  # int32, epochs since then
    epoch: Array  # int32


@checked
def minibatch(
    key: Array,
    loss: MarginLoss,
    params: Any,
    train: Interactions,
    weights: Array,
    *,
    lr: float,
    batch_size: int,
    n_epochs: int,
    patience: int | None = None,
    score: Callable[[Any], Array] | None = None,
) -> tuple[Any, dict[str, Array]]:
    """Trains with Adam on shuffled batches of the remembered interactions.

    Each step follows the *mean* loss over a batch plus ``ridge / n``; the last, partial batch
    is kept. Forgotten interactions stand last in every order and their batches are not run, so
    the result is the one of a training set that never held them, to the last rounding.

    Args:
      key: typed JAX key; consumed.
      loss: its ``batch`` and ``ridges`` are followed.
      params: where to start.
      lr, batch_size: of Adam, with its default moments.
      n_epochs: at most; exactly, where ``patience`` is None.
      patience: stop once more than this many epochs in turn brought no better score, and return
        the best epoch. The first epoch always counts as better than none.
      score: ``params -> scalar``, larger is better; needed by ``patience``.

    Returns:
      the parameters (with ``patience`` those of the best epoch), and ``epochs``, how many were run,
      and ``score``, that of the best epoch (0 without patience).
    """
    rule, weights = adam(lr), _weights.floating(train, weights)
    total = jnp.maximum(jnp.sum(weights), 1)
    n_steps = -(-jnp.sum(weights > 0, dtype=jnp.int32) // batch_size)
    pad = -len(train.users) % batch_size
    links = graph.links(train, weights) if loss.n_layers else None
    ridges = loss.ridges(train, weights)

    def epoch(now):
        shuffle, draw = jax.random.split(jax.random.fold_in(key, now.epoch))
        order = jnp.pad(shuffled(shuffle, train, weights), (0, pad))
        ordered = jnp.pad(weights[order[: len(train.users)]], (0, pad))

        def step(k, carry):
            params, state = carry
            rows, counted = (
                lax.dynamic_slice_in_dim(x, k * batch_size, batch_size) for x in (order, ordered)
            )

            def mean(p):
                batch = Batch(rows, counted, jax.random.fold_in(draw, k))
                summed = loss.batch(p, train, batch, weights, links)
                return summed / jnp.sum(counted) + dot(p, p, scale=ridges) / total

            change, state = rule.update(_varying.grad(mean)(params), state)
            return optax.apply_updates(params, change), state

        params, state = _varying.fori_loop(0, n_steps, step, (now.params, now.optimiser))
        return _judge(now, params, state, score if patience is not None else None)

    def unfinished(now):
        going = now.epoch < n_epochs
        return going if patience is None else going & (now.stale <= patience)

    zero, none = jnp.zeros((), jnp.int32), jnp.zeros((), train.values.dtype)
    start = Epochs(params, rule.init(params), () if patience is None else params, none, zero, zero)
    end = _varying.while_loop(unfinished, epoch, start)
    params = end.params if patience is None else end.best
    return params, {"epochs": end.epoch, "score": end.score}


def _judge(now: Epochs, params: Any, state: Any, score: Callable[[Any], Array] | None) -> Epochs:
    """The end of an epoch: keeps the parameters if they are the best so far."""
    if score is None:
        return now._replace(params=params, optimiser=state, epoch=now.epoch + 1)
    value = score(params)
    better = (value > now.score) | (now.epoch == 0)
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), params, now.best)
    stale = jnp.where(better, 0, now.stale + 1)
    return Epochs(params, state, best, jnp.where(better, value, now.score), stale, now.epoch + 1)


def shuffled(key: Array, train: Interactions, weights: Array) -> Array:
    """``[N]`` a random order, the forgotten last; drawn per pair, whatever else is there."""
    bits = pair_bits(key, train) >> jnp.uint32(1)
    weights = _weights.floating(train, weights)
    return jnp.argsort(jnp.where(weights > 0, bits, bits | jnp.uint32(FORGOTTEN)))


@checked
def full(
    loss: Callable[[Any], Array],
    params: Any,
    *,
    tol: float | Array,
    max_steps: int | Array,
    lr: float | None = None,
) -> tuple[Any, dict[str, Array]]:
    """Minimises ``loss(params)`` on all data until its gradient has at most the norm ``tol``.

    L-BFGS with a line search, or Adam where ``lr`` is given. A gradient that is not a number does
    not stop it early: it is seen in ``grad_norm``.

    Args:
      loss: ``params -> scalar``.
      params: where to start; returned as they are if the gradient is small enough there.

    Returns:
      the parameters, and ``steps``, ``grad_norm``, ``loss`` as reached.

    Example:
      >>> found, info = full(lambda x: (x - 3.0) ** 2, jnp.zeros(()), tol=1e-5, max_steps=50)
      >>> round(float(found), 4), bool(info["grad_norm"] <= 1e-5)
      (3.0, True)
    """
    method = lenient(optax.lbfgs()) if lr is None else adam(lr)
    measure = _varying.value_and_grad(loss)

    def unfinished(carry):
        _, _, _, gradient, n = carry
        return (n < max_steps) & ~(optax.tree.norm(gradient) <= tol)

    def step(carry):
        params, state, value, gradient, n = carry
        if lr is None:
            change, state = method.update(
                gradient, state, params, value=value, grad=gradient, value_fn=loss
            )
        else:
            change, state = method.update(gradient, state, params)
        params = optax.apply_updates(params, change)
        return (params, state, *measure(params), n + 1)

    start = (params, method.init(params), *measure(params), jnp.zeros((), jnp.int32))
    params, _, value, gradient, n = _varying.while_loop(unfinished, step, start)
    return params, {"steps": n, "grad_norm": optax.tree.norm(gradient), "loss": value}
