"""Unlearn until it is proved that the model is within ``tol`` of retraining, without retraining."""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _checks, _varying, als
from jaxforget._settings import checked
from jaxforget.als import certificate, proximal
from jaxforget.als.certificate import Certificate
from jaxforget.metrics import claims
from jaxforget.types import Factors, ForgetSet, Interactions, Method, Model, Terms

PRECISION = "float64"  # of what it returns, whatever it is given
TRACED = ("tol", "max_steps", "retries")  # may be arguments of a compiled program
AIM = 0.95  # of the tolerance: who verifies without the directions gets a bound 1 % looser
RETRY = 0.8  # of the last change that would have given the bound: the aim of the next attempt
LANCZOS = 10  # block steps of a certificate: the directions carried along do the rest


class Certified(NamedTuple):
    """The served model and the directions its next update starts from."""

    factors: Factors
    directions: proximal.Spectral  # holds the same model, and where it may grow


@checked
def build(
    model: Model,
    *,
    tol: float = 1e-3,
    dim: int = 0,
    oversample: int = 16,
    max_steps: int = 200,
    proof: Literal["lanczos", "cholesky"] = "lanczos",
    failure: float | None = None,
    retries: int = 6,
) -> Method:
    """Builds exact unlearning with a certificate, for implicit feedback (model ``ials``).

    Both training and unlearning run ``proximal`` steps, and stop when ``certificate`` proves
    ``|M - M*|_F <= tol |M|_F`` for the one optimum M* of the retained data. Needs float64.
    Unlearning takes ``Factors`` too, of a model of the same objective that was trained elsewhere.

    Args:
      model: one whose ``terms`` weight every pair, as ``ials`` does. Its own sweeps are not used.
      tol: relative distance to be certified; below 1e-6 rounding gets in the way.
      dim: factor dimension; 0 takes the model's. The rank of the optimum must not exceed it:
        ``info["rank_short"]`` says when it does, and ``info["certified"]`` is then false.
      oversample: directions carried beyond ``dim``.
      max_steps: most proximal steps of one call.
      proof: how singular values are bounded, see ``certificate.certify``.
      failure: probability that ``"lanczos"`` errs, in (0, 1); 1e-9 if None.
      retries: most certificates of one call.

    Raises:
      ValueError: the model has no such objective, or a setting is out of range.
    """
    if proof == "cholesky":
        _checks.unread("certified_als", 'proof="cholesky"', failure=failure)
    chance = 1e-9 if failure is None else failure
    certificate.check_settings("certified_als", failure=chance)
    if not model.implicit or model.terms is None:
        raise ValueError("certified_als needs the objective of implicit ALS; use the model ials")

    terms_of, proving = model.terms, {"proof": proof, "failure": chance, "steps": LANCZOS}
    solve = functools.partial(
        _solve, tol=tol, max_steps=max_steps, retries=retries, proving=proving
    )

    def objective(train: Interactions, weights: Array) -> Terms:
        return jax.tree.map(lambda x: x.astype(jnp.float64), terms_of(train, weights))

    def fit(
        key: Array, train: Interactions, weights: Array, start: Factors | None = None
    ) -> tuple[Certified, dict[str, Array]]:
        _require_float64()
        draw, key = jax.random.split(key)
        terms = objective(train, weights)
        shapes = jax.eval_shape(model.fit, key, train, weights)[0]
        rank = dim or shapes.users.shape[1]
        if start is None:
            start = Factors(*(jnp.zeros((n, rank)) for n in (train.n_users, train.n_items)))
        directions = proximal.spectral(draw, start, terms, width=rank + oversample)
        return solve(key, train, terms, directions, rank)

    def unlearn(
        key: Array, state: Certified | Factors, train: Interactions, forget: ForgetSet
    ) -> tuple[Certified, dict[str, Array]]:
        _require_float64()
        terms = objective(train, forget.after)
        return solve(key, train, terms, *_start(key, state, train, terms, dim, oversample))

    return Method(fit, unlearn, lambda state, train, weights: state.factors)


def _solve(
    key: Array,
    train: Interactions,
    terms: Terms,
    directions: proximal.Spectral,
    rank: int,
    *,
    tol: float | Array,
    max_steps: int | Array,
    retries: int | Array,
    proving: dict[str, Any],
) -> tuple[Certified, dict[str, Array]]:
    """Steps and certificates in turn, until the bound is met or a limit is."""

    def unfinished(carry: tuple) -> Array:
        state, proved, _, rounds = carry
        going = (rounds < retries) & (state.steps < max_steps)
        return going & ~(proved.relative_bound <= AIM * tol)

    def attempt(carry: tuple) -> tuple:
        state, _, target, rounds = carry
        state = proximal.descend(state, train, terms, dim=rank, max_steps=max_steps, tol=target)
        served = proximal.serve(state.now, terms, dim=rank)
        proved = certificate.certify(
            served,
            train,
            terms,
            key=jax.random.fold_in(key, rounds),
            directions=state.now.right,
            **proving,
        )
        better = jnp.clip(tol / proved.relative_bound, 0.05, 1) * RETRY
        return state, proved, jnp.minimum(target, state.change) * better, rounds + 1

    state = proximal.start(directions, train, terms)
    target = jnp.asarray(AIM * tol, state.scores.dtype)  # the bound is about the last change
    first = (state, _unproved(state.scores.dtype), target, jnp.zeros((), jnp.int32))
    state, proved, _, rounds = _varying.while_loop(unfinished, attempt, first)
    served = proximal.serve(state.now, terms, dim=rank)
    info = _report(proved, tol) | {
        "rank_short": state.spilled > 1,
        "steps": state.steps,
        "certificates": rounds,
        "residual": als.optimality(served, train, terms),
        "objective": als.cost(served, train, terms),
    }
    return Certified(served, state.now), info


def _start(
    key: Array,
    state: Certified | Factors,
    train: Interactions,
    terms: Terms,
    dim: int,
    oversample: int,
) -> tuple[proximal.Spectral, int]:
    """The directions that unlearning starts from, and the rank that it serves."""
    if isinstance(state, Certified):
        return state.directions, state.factors.users.shape[1]
    rows = len(state.users), len(state.items)
    if rows != (train.n_users, train.n_items):
        raise ValueError(
            f"certified_als: factors of {rows[0]} users and {rows[1]} items, but interactions of "
            f"{train.n_users} and {train.n_items}"
        )
    given = Factors(*(jnp.asarray(x, jnp.float64) for x in state))
    rank = dim or given.users.shape[1]
    draw = jax.random.fold_in(key, 2**31 - 1)  # no number of a certificate, see ``_solve``
    return proximal.spectral(draw, given, terms, width=rank + oversample), rank


def _unproved(dtype: jnp.dtype) -> Certificate:
    """What is known before the first certificate: nothing."""
    infinite = jnp.full((), jnp.inf, dtype)
    return Certificate(
        sigma_ratio=infinite,
        gap=infinite,
        bound=infinite,
        relative_bound=infinite,
        pair_bound=infinite,
        rank=jnp.zeros((), jnp.int64),
        failure_probability=jnp.zeros((), dtype),
    )


def _report(proved: Certificate, tol: float | Array) -> dict[str, Array]:
    names = ("bound", "relative_bound", "pair_bound", "sigma_ratio", "rank")
    scalars = {name: getattr(proved, name) for name in names}
    return scalars | {"certified": proved.relative_bound <= tol}


def _require_float64() -> None:
    if jax.dtypes.canonicalize_dtype(float) != jnp.float64:
        raise ValueError(
            "certified_als computes in float64; got JAX in 32 bits: set JAX_ENABLE_X64=1"
        )


def EXACTNESS(*, tol: float, **settings: Any) -> claims.Claim:
    """As near to the one optimum as was certified; retraining is as near on another side."""
    del settings
    given = "info certifies the distance to the one optimum"
    return claims.exact_given(given, within=2 * tol, parameters="moved", statistics="recomputed")
