"""What implicit and explicit ALS share: everything but the objective."""

from collections.abc import Callable

import jax

from jaxforget import _checks, als
from jaxforget.als import proximal
from jaxforget.types import Factors, Interactions, Model

OVERSAMPLE = 16  # directions that proximal steps carry beyond the factors


def check(owner: str, *, dim: int, max_sweeps: int, tol: float, cg_steps: int) -> None:
    """Refuses settings out of range, of those that both models have; ``owner`` is the model."""
    _checks.count(owner, 1, dim=dim, max_sweeps=max_sweeps)
    _checks.count(owner, 0, cg_steps=cg_steps)
    _checks.not_negative(owner, tol=tol)


def build(
    terms: Callable,
    *,
    dim: int,
    init_scale: float,
    max_sweeps: int,
    tol: float,
    cg_steps: int,
    implicit: bool,
    solver: str = "als",
    prepare: Callable[[Interactions], Interactions] = lambda train: train,
) -> Model:
    """Wraps ``terms(train, weights, *, statistics)`` as a model trained by ``als.descend``.

    ``solver="proximal"`` takes steps of ``proximal`` instead; ``tol`` then bounds their change.
    """
    limits = {"max_sweeps": max_sweeps, "tol": tol}

    def refine(key, train, terms, start=None, **changed):
        if start is None:
            draws = zip(jax.random.split(key), (train.n_users, train.n_items))
            dtype = train.values.dtype
            start = Factors(
                *(init_scale * jax.random.uniform(k, (n, dim), dtype) for k, n in draws)
            )
        if solver == "als":
            return als.descend(start, train, terms, **(limits | changed), cg_steps=cg_steps)
        return _proximal(key, start, train, terms, **(limits | changed))

    def fit(key, train, weights, start=None):
        return refine(key, train, terms(train, weights), start)

    def loss(params, train, weights, edges):
        del edges  # nothing travels along edges here
        return als.cost(params, train, terms(train, weights))

    def factors(params, train, edges):
        del train, edges
        return params

    return Model(prepare, fit, factors, loss, terms, refine, implicit, by_row=True)


def _proximal(key, start, train, terms, *, max_sweeps, tol):
    """Trains by proximal steps; the same ``info`` as ``als.descend``, a step for a sweep."""
    dim = start.users.shape[1]
    point = proximal.spectral(key, start, terms, width=dim + OVERSAMPLE)
    state = proximal.start(point, train, terms)
    state = proximal.descend(state, train, terms, dim=dim, max_steps=max_sweeps, tol=tol)
    factors = proximal.serve(state.now, terms, dim=dim)
    residual, objective = (f(factors, train, terms) for f in (als.optimality, als.cost))
    return factors, {"sweeps": state.steps, "residual": residual, "objective": objective}
