"""Host: the facts of one certified deletion, as a dictionary that anybody can check again."""

import hashlib
import json
from collections.abc import Mapping

import jax
import numpy as np

from jaxforget import als
from jaxforget.als import certificate
from jaxforget.types import Factors, ForgetSet, Interactions

NUMBERS = ("sigma_ratio", "gap", "bound", "relative_bound", "pair_bound", "rank")


def make(factors: Factors, train: Interactions, forget: ForgetSet, *, objective: Mapping,
         tol: float, seed: int, version: str, **settings) -> dict:  # fmt: skip
    """States what was asked, what is kept, and how close the factors provably are.

    Args:
      factors: the model after unlearning, float64.
      train: all interactions of the model before the request.
      forget: the request.
      objective: ``reg``, ``alpha`` and, where used, ``nu`` and ``unobserved``.
      tol: the relative bound that was promised.
      seed: of the certificate's random starts.
      version: of the code.
      settings: of ``certificate.certify``.

    Returns:
      a JSON-ready dictionary: hashes of the request, of the retained data and of the factors,
      settings, the optimality residual, the certificate, and a digest of all of that.

    Raises:
      ValueError: a pair occurs twice: the certificate is about distinct pairs.
    """
    gone = np.asarray(forget.before - forget.after) > 0
    body = {
        "request": {"hash": hash_pairs(np.asarray(train.users)[gone], np.asarray(train.items)[gone]),
                    "pairs": int(gone.sum())},
        "retained": hash_data(train, forget.after),
        "factors": hash_arrays(*factors),
        "objective": {name: float(value) for name, value in objective.items()},
        "promise": {"tol": float(tol), "seed": int(seed), "settings": settings},
        "version": version,
        "certificate": evidence(factors, train, forget.after, objective, seed, settings),
    }  # fmt: skip
    return body | {"digest": digest(body)}


def evidence(factors: Factors, train: Interactions, weights, objective: Mapping, seed: int,
             settings: Mapping) -> dict:  # fmt: skip
    """Computes the numbers of a receipt from factors and retained data alone."""
    _check_distinct(train, weights)
    terms = als.implicit(train, weights, **objective)
    proved = certificate.certify(factors, train, terms, key=jax.random.key(seed), **settings)
    numbers = {name: float(getattr(proved, name)) for name in NUMBERS}
    return numbers | {
        "failure_probability": float(proved.failure_probability),
        "residual": float(als.optimality(factors, train, terms)),
    }


def hash_arrays(*arrays) -> str:
    """SHA-256 of arrays: their types, shapes and bytes."""
    state = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(array.tobytes())
    return state.hexdigest()


def hash_pairs(users, items) -> str:
    """SHA-256 of a set of (user, item) pairs, in whatever order they come."""
    users, items = np.asarray(users, np.int64), np.asarray(items, np.int64)
    order = np.lexsort((items, users))
    return hash_arrays(users[order], items[order])


def hash_data(train: Interactions, weights) -> str:
    """SHA-256 of the remembered interactions and of the numbers of users and items."""
    kept = np.asarray(weights) > 0
    size = np.array([train.n_users, train.n_items], np.int64)
    columns = (train.users, np.int64), (train.items, np.int64), (train.values, np.float64)
    return hash_arrays(size, *(np.asarray(column, dtype)[kept] for column, dtype in columns))


def digest(body: Mapping) -> str:
    """SHA-256 of a receipt without its digest, independent of the order of its keys."""
    rest = {name: value for name, value in body.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def check(receipt: Mapping, factors: Factors, retained: Interactions, *, fresh_seed: int,
          request: tuple | None = None) -> list[str]:  # fmt: skip
    """Recomputes a receipt; every disagreement is one line of the answer, none means verified.

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
    for seed, of in ((promise["seed"], "the receipt's seed"), (fresh_seed, "a fresh seed")):
        found = evidence(factors, retained, ones, objective, seed, promise["settings"])
        if not found["relative_bound"] <= promise["tol"]:
            wrong.append(f"with {of} the certified distance is {found['relative_bound']:.3g}, "
                         f"over the promised {promise['tol']:.3g}")  # fmt: skip
        if seed == promise["seed"]:
            wrong += _compare(receipt["certificate"], found)
    return wrong


def _compare(stated, found):
    return [
        f"{name} is stated as {stated.get(name)} and recomputed as {value}"
        for name, value in found.items()
        if not np.isclose(stated.get(name, np.nan), value, rtol=1e-3, atol=1e-9)
    ]


def _check_request(receipt, retained, users, items):
    wrong = []
    if receipt["request"]["hash"] != hash_pairs(users, items):
        wrong.append("the request is not the one of the receipt")
    known = _pair_ids(retained.users, retained.items, retained.n_items)
    left = int(np.isin(_pair_ids(users, items, retained.n_items), known).sum())
    if left:
        wrong.append(f"{left} pairs of the request are still in the retained data")
    return wrong


def _check_distinct(train, weights):
    kept = np.asarray(weights) > 0
    ids = _pair_ids(np.asarray(train.users)[kept], np.asarray(train.items)[kept], train.n_items)
    if len(np.unique(ids)) != len(ids):
        raise ValueError(f"a certificate needs distinct pairs; got {len(ids) - len(np.unique(ids))} "
                         "repeated ones: merge them first")  # fmt: skip


def _pair_ids(users, items, n_items):
    return np.asarray(users, np.int64) * n_items + np.asarray(items, np.int64)
