"""What implicit and explicit ALS share: everything but the objective."""

from collections.abc import Callable

import jax

from jaxforget import als
from jaxforget.types import Factors, Model


def build(
    terms: Callable,
    *,
    dim: int,
    init_scale: float,
    max_sweeps: int,
    tol: float,
    cg_steps: int,
    implicit: bool,
) -> Model:
    """Wraps ``terms(train, weights, *, statistics)`` as a model trained by ``als.descend``."""
    limits = {"max_sweeps": max_sweeps, "tol": tol}

    def refine(key, train, terms, start=None, **changed):
        if start is None:
            draws = zip(jax.random.split(key), (train.n_users, train.n_items))
            dtype = train.values.dtype
            start = Factors(
                *(init_scale * jax.random.uniform(k, (n, dim), dtype) for k, n in draws)
            )
        return als.descend(start, train, terms, **(limits | changed), cg_steps=cg_steps)

    def fit(key, train, weights, start=None):
        return refine(key, train, terms(train, weights), start)

    def loss(params, train, weights, edges):
        del edges  # nothing travels along edges here
        return als.cost(params, train, terms(train, weights))

    def factors(params, train, edges):
        del train, edges
        return params

    return Model(lambda train: train, fit, factors, loss, terms, refine, implicit)
