"""Recommenders trained by gradient: a loss of ``losses`` and a way to minimise it, as a model."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget import _checks
from jaxforget._jax import is_traced
from jaxforget.gradient import graph
from jaxforget.gradient.descent import full, minibatch
from jaxforget.metrics.labels import label_auc, remembered
from jaxforget.types import Factors, Interactions, MarginLoss, Model, Watched

BATCH_SIZE = 2048  # of minibatch training where none is given
OPTIMISERS = ("minibatch", "lbfgs", "adam")


def build(
    loss: MarginLoss,
    *,
    dim: int,
    init_scale: float,
    optimiser: str,
    lr: float | None,
    batch_size: int | None,
    n_epochs: int,
    patience: int | None,
    tol: float | None,
) -> Model:
    """Wraps a loss of ``losses`` as a model; see ``models/mf.py`` for the settings.

    Raises:
      ValueError: a setting is out of range, missing, or not read by this optimiser.
    """
    rate = _check(optimiser, lr=lr, batch_size=batch_size, patience=patience, tol=tol)
    size = BATCH_SIZE if batch_size is None else batch_size
    _checks.positive(optimiser, dim=dim, init_scale=init_scale, batch_size=size)

    def prepare(train: Interactions) -> Interactions:
        _check_labels(train)
        return train

    def fit(
        key: Array, train: Interactions, weights: Array, start: Any = None
    ) -> tuple[Any, dict[str, Array]]:
        _check_labels(train)
        draw, shuffle = jax.random.split(key)
        if start is None:
            start = _draw(draw, train, dim, init_scale)
        if optimiser != "minibatch":
            total = jnp.maximum(jnp.sum(weights), 1)
            return full(
                lambda p: loss(p, train, weights, weights) / total,
                start,
                tol=tol or 0.0,
                max_steps=n_epochs,
                lr=None if optimiser == "lbfgs" else rate,
            )
        score = None if patience is None else judge(train, weights)
        limits = {"batch_size": size, "n_epochs": n_epochs, "patience": patience}
        return minibatch(shuffle, loss, start, train, weights, lr=rate, score=score, **limits)

    def judge(train: Interactions, weights: Array) -> Callable[[Factors], Array]:
        if not isinstance(train, Watched):
            raise ValueError(
                "patience needs validation interactions: call types.watch(train, valid) first"
            )
        counts = remembered(train.valid, train, weights)
        return lambda params: label_auc(factors(params, train, weights), train.valid, counts)

    def factors(params: Factors, train: Interactions, edges: Array) -> Factors:
        return graph.propagate(params, train, edges, n_layers=loss.n_layers)

    return Model(prepare, fit, factors, loss, margins=loss, by_row=True)


def _check(
    optimiser: str,
    *,
    lr: float | None,
    batch_size: int | None,
    patience: int | None,
    tol: float | None,
) -> float:
    """Refuses what the optimiser does not read; returns the rate, 0 where it has none."""
    _checks.choice("model", OPTIMISERS, optimiser=optimiser)
    chosen = f'optimiser="{optimiser}"'
    if optimiser == "minibatch":
        _checks.unread("model", chosen, tol=tol)
    else:
        _checks.unread("model", chosen, batch_size=batch_size, patience=patience)
    if optimiser == "lbfgs":
        _checks.unread("model", chosen, lr=lr)
        return 0.0
    if lr is None or not lr > 0:
        raise _checks.SettingError(
            f"{optimiser} needs lr > 0; got {lr}: its right value depends on the data"
        )
    return lr


def _draw(key: Array, train: Interactions, dim: int, scale: float) -> Factors:
    """Normal factors of standard deviation ``scale``, in the precision of the values."""
    dtype, keys = train.values.dtype, jax.random.split(key)
    users = scale * jax.random.normal(keys[0], (train.n_users, dim), dtype)
    return Factors(users, scale * jax.random.normal(keys[1], (train.n_items, dim), dtype))


def _check_labels(train: Interactions) -> None:
    """Refuses labels outside [0, 1]; traced ones cannot be read."""
    if is_traced(train.values):
        return
    values = np.asarray(train.values)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"labels must lie in [0, 1]; got {values.min()} to {values.max()}: "
            "binarise the data first"
        )
