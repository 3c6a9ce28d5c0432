"""Recommenders trained by gradient: a loss of ``losses`` and a way to minimise it, as a model."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget import _checks
from jaxforget.gradient import graph
from jaxforget.gradient.descent import full, minibatch
from jaxforget.metrics.labels import label_auc
from jaxforget.types import Factors, Model, Watched


def build(loss: Any, *, dim: int, init_scale: float, optimiser: str, lr: float | None,
          batch_size: int, n_epochs: int, patience: int | None, tol: float) -> Model:  # fmt: skip
    """Wraps a loss of ``losses`` as a model; see ``models/mf.py`` for the settings.

    Raises:
      ValueError: a setting is out of range, or ``lr`` is missing.
    """
    if optimiser not in ("minibatch", "lbfgs", "adam"):
        raise ValueError(f'optimiser must be "minibatch", "lbfgs" or "adam"; got {optimiser!r}')
    if optimiser != "lbfgs" and not (lr or 0) > 0:
        raise ValueError(f"{optimiser} needs lr > 0; got {lr}: its right value depends on the data")
    _checks.positive(optimiser, dim=dim, init_scale=init_scale, batch_size=batch_size)
    if patience is not None and optimiser != "minibatch":
        raise ValueError(
            f"patience is for minibatch training; {optimiser} stops on tol: set it to None"
        )

    def prepare(train):
        _check_labels(train)
        return train

    def fit(key, train, weights, start=None):
        draw, shuffle = jax.random.split(key)
        if start is None:
            dtype, sizes = train.values.dtype, (train.n_users, train.n_items)
            keys = jax.random.split(draw)
            start = Factors(
                *(init_scale * jax.random.normal(k, (n, dim), dtype) for k, n in zip(keys, sizes))
            )
        if optimiser != "minibatch":
            total = jnp.maximum(jnp.sum(weights), 1)
            rate = lr if optimiser == "adam" else None
            return full(lambda p: loss(p, train, weights, weights) / total, start,
                        tol=tol, max_steps=n_epochs, lr=rate)  # fmt: skip
        if patience is not None and not isinstance(train, Watched):
            raise ValueError(
                "patience needs validation interactions: call types.watch(train, valid) first"
            )

        def judge(p):
            return label_auc(factors(p, train, weights), train.valid)

        return minibatch(shuffle, loss, start, train, weights, lr=lr, batch_size=batch_size,
                         n_epochs=n_epochs, patience=patience, score=judge)  # fmt: skip

    def factors(params, train, edges):
        return graph.propagate(params, train, edges, n_layers=loss.n_layers)

    return Model(prepare, fit, factors, loss)


def _check_labels(train):
    values = np.asarray(train.values)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"labels must lie in [0, 1]; got {values.min()} to {values.max()}: binarise the data first"
        )
