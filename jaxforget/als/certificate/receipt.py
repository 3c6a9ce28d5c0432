"""Host: states one certified deletion as a dictionary, and checks such a dictionary."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxforget._settings import checked
from jaxforget.als.certificate import evidence, fields
from jaxforget.als.certificate.digests import digest, hash_arrays, hash_data, hash_pairs
from jaxforget.als.certificate.verifying import Verdict, check, nothing_done, verify
from jaxforget.types import Factors, ForgetSet, Interactions

__all__ = ["Verdict", "check", "digest", "hash_arrays", "hash_data", "hash_pairs", "make", "verify"]


@checked
def make(
    factors: Factors,
    train: Interactions,
    forget: ForgetSet,
    *,
    before: Factors,
    objective: Mapping[str, float],
    tol: float,
    seed: int,
    version: str,
) -> dict[str, Any]:
    """States the request, the retained data, and how close the factors provably are.

    Args:
      factors: the model after unlearning, as it is served: float64 or float32.
      train: all interactions of the model before the request.
      forget: the request; weights are 0 or 1.
      before: the model before the request, likewise: what doing nothing would have served.
      objective: ``reg``, ``alpha`` and, where used, ``nu`` and ``unobserved``.
      tol: the relative bound that was promised, in (0, 1).
      seed: of the certificate's random starts, in [0, 2^32).
      version: of the code.

    Returns:
      a JSON-ready dictionary: hashes of the request, of the retained data and of both models,
      the objective, the certificate, the same bounds for the model before (``before``) and for the
      data with the request still in them (``kept``), and a digest of all of that.

    Raises:
      ValueError: the model is not certified to ``tol``; or doing nothing meets ``tol``, so that
        nothing can be shown to be forgotten; or an argument is out of range.
    """
    made = state(
        factors,
        train,
        forget,
        before=before,
        objective=objective,
        tol=tol,
        seed=seed,
        version=version,
    )
    if not made["certificate"]["relative_bound"] <= tol:
        raise ValueError(
            f"no receipt: the certified distance is {made['certificate']['relative_bound']:.3g}, "
            f"over tol={tol:.3g}: take more steps, or promise less"
        )
    if made["request"]["pairs"] and (lines := nothing_done(made)):
        raise ValueError(f"no receipt: {lines[0]}: unlearn to a smaller tol")
    fields.require(made)
    return made


@checked
def state(
    factors: Factors,
    train: Interactions,
    forget: ForgetSet,
    *,
    before: Factors,
    objective: Mapping[str, float],
    tol: float,
    seed: int,
    version: str,
) -> dict[str, Any]:
    """The receipt of ``make``, whether or not it is one that ``verify`` would pass."""
    weights = np.stack([np.asarray(side) for side in forget])
    if not np.isin(weights, (0, 1)).all() or (weights[1] > weights[0]).any():
        raise ValueError("a receipt needs weights of 0 or 1, none of which grows by the request")
    gone = weights[0] > weights[1]
    users, items, values = (np.asarray(x)[gone] for x in (train.users, train.items, train.values))
    stated = {"reg": None, "alpha": None, "nu": 0.0, "unobserved": 0.0, **objective}
    given = {"objective": stated, "seed": seed, "request": (users, items)}
    after = evidence.numbers(factors, train, weights[1], **given)
    untouched = evidence.numbers(before, train, weights[1], **given)
    if not np.isfinite([after["bound"], after["relative_bound"], untouched["bound"]]).all():
        raise ValueError(
            "no receipt: nothing is proved of these factors: they are not finite, a pair is "
            "repeated, or a confidence is 0"
        )
    kept, trained = (
        evidence.numbers(model, train, weights[0], objective=stated, seed=seed)["bound"]
        for model in (factors, before)
    )
    body = {
        "schema": fields.SCHEMA,
        "version": version,
        "request": {
            "pairs": int(gone.sum()),
            "hash": hash_pairs(users, items),
            "data": hash_pairs(users, items, values),
        },
        "retained": hash_data(train, weights[1]),
        "factors": hash_arrays(*factors),
        "objective": {name: float(value) for name, value in stated.items()},
        "promise": {"tol": float(tol), "seed": int(seed)},
        "certificate": {name: after[name] for name in fields.NUMBERS},
        "before": {"factors": hash_arrays(*before), "trained": trained}
        | {name: untouched[name] for name in fields.PARTS},
        "kept": {"bound": kept},
    }
    return body | {"digest": digest(body)}
