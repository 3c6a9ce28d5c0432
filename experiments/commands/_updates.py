"""How `erase` brings a served model up to date, and what each way claims."""

import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..errors import Refused

METHODS = ("local", "difference", "passes", "retrain", "certified")
SMALL, LARGE = 0.01, 0.1  # shares of the interactions, measured: docs/tutorials/erase.md
# factors from which solving rows apart takes longer: results/bench/gowalla_forgetting.csv
WIDE = 512
PASSES = {"difference": 3, "passes": 10, "retrain": None}  # None: as many as the model was trained
CLAIMS = {
    "local": "Approximate. The rows that lost interactions, and those disturbed by that, were "
    "solved again; how far the training of the others had come is as it was. Nothing is proved.",
    "difference": "Approximate. The difference that the request makes to a few training passes was "
    "added to the model. Nothing is proved.",
    "passes": "In the limit. Training was continued without the request; what is left of it fades "
    "with every pass, and the residual says how far the model is from a stationary point. All "
    "recommendations go on moving as training does.",
    "retrain": "Exact. The model was trained anew, without the request, from random numbers.",
    "certified": "Proved. The distance of the served numbers to the one optimum of the retained "
    "interactions has a proved bound, which anybody can recompute from the receipt.",
}


class Update(NamedTuple):
    """A model after a request."""

    factors: Any  # Factors
    info: dict[str, float]
    seconds: float


def choose(method: str | None, certify: float | None, share: float, width: int) -> tuple[str, str]:
    """The method and why it is the one.

    ``share`` of the interactions are to be forgotten, by a model of ``width`` factors.
    """
    if certify is not None:
        if method not in (None, "certified"):
            raise Refused(f"--certify proves by --method certified; got --method {method}")
        return "certified", "a proof was asked for"
    if method == "certified":
        raise Refused("--method certified needs the distance to be proved: --certify 1e-3")
    if method is not None:
        return method, "it was asked for"
    part = f"the request is {share:.2%} of the interactions"
    if share <= SMALL and width < WIDE:
        return "local", f"{part}, and others should not move"
    if share <= SMALL:
        return "difference", f"{part}, and rows of {width} factors take long to solve apart"
    if share <= LARGE:
        return "difference", f"{part}, more than {SMALL:.0%}"
    return "retrain", f"{part}, more than {LARGE:.0%}"


def run(method: str, model: Any, served: Any, train: Any, forget: Any, args: Any) -> Update:
    """Brings the model up to date; says on standard error how far it is."""
    import jax

    from jaxforget.sparse.degrees import clear_emptied

    started = time.perf_counter()
    if method == "certified":
        factors, info = _certified(model, served, train, forget, args.certify)
    elif method == "local":
        factors, info = _local(model, served, train, forget, args.tol)
    else:
        factors, info = served, {}
        for done, new in _passes(method, model, served, train, forget, args.passes):
            factors = jax.block_until_ready(new)
            _tell(method, done, args.passes, time.perf_counter() - started)
    # the optimum of a row without data is 0; a few steps of CG, or a proof, only come near it
    factors = clear_emptied(factors, train, forget)
    if not all(np.isfinite(side).all() for side in factors):
        raise Refused(f"{method}: the new model is not finite: retrain it (--method retrain)")
    return Update(factors, info, time.perf_counter() - started)


def _tell(method: str, done: int, total: int, seconds: float) -> None:
    left = seconds / done * (total - done)
    print(f"{method}: pass {done} of {total}, {left:.0f} s left", file=sys.stderr, flush=True)


def _local(model, served, train, forget, tol):
    import jax

    from jaxforget import methods

    how = {} if tol is None else {"tol": tol}
    method = methods.load("local_als")(model, **how)
    factors, info = jax.jit(method.unlearn)(jax.random.key(0), served, train, forget)
    return factors, {name: x.item() for name, x in info.items()}


def _passes(method, model, served, train, forget, n) -> Iterator[tuple[int, Any]]:
    """One pass at a time: how many are done, and the factors so far."""
    import jax

    @jax.jit
    def step(start, weights):
        limits = {"max_sweeps": 1, "tol": 0.0}
        terms = model.terms(train, weights)
        return model.refine(jax.random.key(0), train, terms, start, **limits)[0]

    before, after = served, None if method == "retrain" else served
    for k in range(n):
        after = step(after, forget.after)
        if method != "difference":
            yield k + 1, after
            continue
        before = step(before, forget.before)
        yield k + 1, jax.tree.map(lambda m, a, b: m + (a - b), served, after, before)


def _certified(model, served, train, forget, tol):
    import jax

    from jaxforget import methods

    print("certified: steps and proofs until the bound is met", file=sys.stderr, flush=True)
    method = methods.load("certified_als")(model, tol=tol)
    state, info = jax.jit(method.unlearn)(jax.random.key(0), served, train, forget)
    info = {name: x.item() for name, x in info.items()}
    if not info["certified"]:
        why = (
            "the optimum has more dimensions than the model"
            if info["rank_short"]
            else f"{info['steps']} steps did not suffice"
        )
        raise Refused(
            f"not certified: the bound is {info['relative_bound']:.3g}, over {tol:g} ({why}): "
            "promise less, train with more factors or regularization, or leave out --certify"
        )
    return state.factors, info
