"""Host: states one certified deletion as a dictionary, and checks such a dictionary."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxforget import als
from jaxforget.als import certificate
from jaxforget.types import Factors, ForgetSet, Interactions

NUMBERS = ("sigma_ratio", "gap", "bound", "relative_bound", "pair_bound", "rank")


def make(
    factors: Factors,
    train: Interactions,
    forget: ForgetSet,
    *,
    objective: Mapping[str, float],
    tol: float,
    seed: int,
    version: str,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """States the request, the retained data, and how close the factors provably are.

    Args:
      factors: the model after unlearning, float64.
      train: all interactions of the model before the request.
      forget: the request.
      objective: ``reg``, ``alpha`` and, where used, ``nu`` and ``unobserved``.
      tol: the relative bound that was promised.
      seed: of the certificate's random starts.
      version: of the code.
      settings: of ``certificate.certify``, by name; None for its defaults.

    Returns:
      a JSON-ready dictionary: hashes of the request, of the retained data and of the factors,
      settings, the optimality residual, the certificate, and a digest of all of that.

    Raises:
      ValueError: a pair occurs twice: the certificate is about distinct pairs.
    """
    settings = dict(settings or {})
    gone = np.asarray(forget.before - forget.after) > 0
    request = hash_pairs(np.asarray(train.users)[gone], np.asarray(train.items)[gone])
    numbers = evidence(
        factors, train, forget.after, objective=objective, seed=seed, settings=settings
    )
    body = {
        "request": {"hash": request, "pairs": int(gone.sum())},
        "retained": hash_data(train, forget.after),
        "factors": hash_arrays(*factors),
        "objective": {name: float(value) for name, value in objective.items()},
        "promise": {"tol": float(tol), "seed": int(seed), "settings": settings},
        "version": version,
        "certificate": numbers,
    }
    return body | {"digest": digest(body)}


def evidence(
    factors: Factors,
    train: Interactions,
    weights: ArrayLike,
    *,
    objective: Mapping[str, Any],
    seed: int,
    settings: Mapping[str, Any],
) -> dict[str, float]:
    """Computes the numbers of a receipt from factors and retained data alone."""
    _check_distinct(train, weights)
    terms = als.implicit(train, jnp.asarray(weights), **objective)
    proved = certificate.certify(factors, train, terms, key=jax.random.key(seed), **settings)
    numbers = {name: float(getattr(proved, name)) for name in NUMBERS}
    return numbers | {
        "failure_probability": float(proved.failure_probability),
        "residual": float(als.optimality(factors, train, terms)),
    }


def hash_arrays(*arrays: ArrayLike) -> str:
    """SHA-256 of arrays: their types, shapes and bytes, as hexadecimal digits."""
    state = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(array.tobytes())
    return state.hexdigest()


def hash_pairs(users: ArrayLike, items: ArrayLike) -> str:
    """SHA-256 of a set of (user, item) pairs, whatever their order."""
    user_ids, item_ids = np.asarray(users, np.int64), np.asarray(items, np.int64)
    order = np.lexsort((item_ids, user_ids))
    return hash_arrays(user_ids[order], item_ids[order])


def hash_data(train: Interactions, weights: ArrayLike) -> str:
    """SHA-256 of the remembered interactions and of the numbers of users and items."""
    remembered = np.asarray(weights) > 0
    size = np.array([train.n_users, train.n_items], np.int64)
    columns = (train.users, np.int64), (train.items, np.int64), (train.values, np.float64)
    return hash_arrays(size, *(np.asarray(column, dtype)[remembered] for column, dtype in columns))


def digest(body: Mapping[str, Any]) -> str:
    """SHA-256 of a receipt without its digest, independent of the order of its keys."""
    stated = {name: value for name, value in body.items() if name != "digest"}
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def check(
    receipt: Mapping[str, Any],
    factors: Factors,
    retained: Interactions,
    *,
    fresh_seed: int,
    request: Sequence[ArrayLike] | None = None,
) -> list[str]:
    """Recomputes a receipt and lists every disagreement, a line each; none means verified.

    Args:
      receipt: from ``make``.
      factors: the model, float64.
      retained: the interactions that may have been learnt from.
      fresh_seed: chosen by whoever verifies: the promise must hold for it as well.
      request: ``(users, items)`` of the request, where the verifier has it.
    """
    wrong = []
    if receipt["digest"] != digest(receipt):
        wrong.append("the receipt was edited: its digest does not match its contents")
    if receipt["factors"] != hash_arrays(*factors):
        wrong.append("the factors are not those of the receipt")
    ones = np.ones(len(retained.users))
    if receipt["retained"] != hash_data(retained, ones):
        wrong.append("the retained data are not those of the receipt")
    if request is not None:
        wrong += _check_request(receipt, retained, *request)
    objective, promise = receipt["objective"], receipt["promise"]
    for seed, which in ((promise["seed"], "the receipt's seed"), (fresh_seed, "a fresh seed")):
        numbers = evidence(
            factors, retained, ones, objective=objective, seed=seed, settings=promise["settings"]
        )
        if not numbers["relative_bound"] <= promise["tol"]:
            wrong.append(
                f"with {which} the certified distance is {numbers['relative_bound']:.3g}, "
                f"over the promised {promise['tol']:.3g}"
            )
        if seed == promise["seed"]:
            wrong += _compare(receipt["certificate"], numbers)
    return wrong


def _compare(stated: Mapping[str, float], recomputed: Mapping[str, float]) -> list[str]:
    return [
        f"{name} is stated as {stated.get(name)} and recomputed as {value}"
        for name, value in recomputed.items()
        if not np.isclose(stated.get(name, np.nan), value, rtol=1e-3, atol=1e-9)
    ]


def _check_request(
    receipt: Mapping[str, Any], retained: Interactions, users: ArrayLike, items: ArrayLike
) -> list[str]:
    wrong = []
    if receipt["request"]["hash"] != hash_pairs(users, items):
        wrong.append("the request is not the one of the receipt")
    known = _pair_ids(retained.users, retained.items, retained.n_items)
    n_left = int(np.isin(_pair_ids(users, items, retained.n_items), known).sum())
    if n_left:
        wrong.append(f"{n_left} pairs of the request are still in the retained data")
    return wrong


def _check_distinct(train: Interactions, weights: ArrayLike) -> None:
    seen = np.asarray(weights) > 0
    ids = _pair_ids(np.asarray(train.users)[seen], np.asarray(train.items)[seen], train.n_items)
    n_repeated = len(ids) - len(np.unique(ids))
    if n_repeated:
        raise ValueError(
            f"a certificate needs distinct pairs; got {n_repeated} repeated ones: merge them first"
        )


def _pair_ids(users: ArrayLike, items: ArrayLike, n_items: int) -> np.ndarray:
    """One integer per pair."""
    return np.asarray(users, np.int64) * n_items + np.asarray(items, np.int64)
