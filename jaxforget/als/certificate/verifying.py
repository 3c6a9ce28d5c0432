"""Host: recomputes a receipt, from what a verifier has."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxforget._checks import shorten
from jaxforget.als.certificate import evidence, fields, signing
from jaxforget.als.certificate.digests import digest, hash_arrays, hash_data, hash_pairs
from jaxforget.sparse import layout
from jaxforget.types import Factors, Interactions

NOTHING = "doing nothing meets the tolerance"


class Verdict(NamedTuple):
    """What a verifier found."""

    wrong: list[str]  # every disagreement, a line each; none: what the receipt states holds
    unproved: list[str]  # what was not recomputed, a line each
    numbers: dict[str, float]  # ``evidence.numbers`` with the verifier's own seed and settings
    forgotten: bool  # the request is shown to be forgotten, not only close to the optimum
    factor: float | None  # bound of the model before / of the model after, where both are proved
    signed_by: str | None  # fingerprint of the key; None where nobody signed, or none was checked


def nothing_done(receipt: Mapping[str, Any]) -> list[str]:
    """Why a receipt does not tell forgetting from doing nothing, a line each; none: it does."""
    tol, size = receipt["promise"]["tol"], receipt["certificate"]["size"]
    untouched, kept = receipt["before"], receipt["kept"]["bound"]
    lines = []
    if untouched["bound"] <= tol * untouched["size"]:
        lines.append(
            f"{NOTHING}: the model before the request is within "
            f"{untouched['bound'] / untouched['size'] if untouched['size'] else 0:.3g} of the "
            f"optimum of the retained data, and {tol:.3g} was promised"
        )
    if kept <= tol * size:
        lines.append(
            f"{NOTHING}: with the request still in the data this model is within "
            f"{kept / size if size else 0:.3g} of the optimum, and {tol:.3g} was promised"
        )
    return lines


def check(
    receipt: Mapping[str, Any],
    factors: Factors,
    retained: Interactions,
    *,
    fresh_seed: int,
    request: Sequence[ArrayLike] | None = None,
    before: Factors | None = None,
) -> list[str]:
    """The disagreements that ``verify`` finds, a line each; none means verified."""
    return verify(
        receipt, factors, retained, fresh_seed=fresh_seed, request=request, before=before
    ).wrong


def verify(
    receipt: Mapping[str, Any],
    factors: Factors,
    retained: Interactions,
    *,
    fresh_seed: int,
    request: Sequence[ArrayLike] | None = None,
    before: Factors | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Verdict:
    """Recomputes a receipt, with random starts and a proof that its issuer did not choose.

    Args:
      receipt: from ``make``.
      factors: the model as it is served: float64 or float32.
      retained: the interactions that may have been learnt from, all of them remembered.
      fresh_seed: chosen by whoever verifies: the promise must hold for it.
      request: ``(users, items)`` of the request, or ``(users, items, values)`` with the values
        that the data had, where the verifier has them.
      before: the model before the request, likewise, where the verifier has it.
      settings: of ``certificate.certify`` for the verifier's own proof; the standard ones if None.

    Raises:
      ValueError: this is no receipt, or a setting is out of range.
    """
    fields.require(receipt)
    wrong = _identity(receipt, factors, retained, request, before)
    signed_by, unproved = _signature(receipt, wrong)
    if wrong:  # of other things, or edited: nothing in it is worth recomputing
        return Verdict(wrong, unproved, {}, False, None, signed_by)
    tol = receipt["promise"]["tol"]
    pairs = None if request is None else (request[0], request[1])
    fresh = evidence.numbers(
        factors,
        retained,
        np.ones(len(retained.users)),
        objective=receipt["objective"],
        seed=fresh_seed,
        request=pairs,
        settings=settings,
    )
    if not fresh["relative_bound"] <= tol:
        wrong.append(
            f"with a fresh seed the certified distance is {fresh['relative_bound']:.3g}, "
            f"over the promised {tol:.3g}"
        )
    wrong += _recompute(receipt, factors, retained, request, before)
    asked = receipt["request"]["pairs"]
    if asked:
        wrong += nothing_done(receipt)
    whole = request is not None and len(request) == 3
    shown = not wrong and whole and asked > 0
    stated = receipt["before"]
    better = shown and before is not None and stated["trained"] < stated["bound"]
    bound = receipt["certificate"]["bound"]
    factor = (stated["bound"] / bound if bound else math.inf) if better else None
    return Verdict(wrong, unproved + _unproved(request, before), fresh, shown, factor, signed_by)


def _identity(
    receipt: Mapping[str, Any],
    factors: Factors,
    retained: Interactions,
    request: Sequence[ArrayLike] | None,
    before: Factors | None,
) -> list[str]:
    """Whether this is about these models, these data and this request, and is not edited."""
    wrong = []
    if receipt["digest"] != digest(receipt):
        wrong.append("the receipt was edited: its digest does not match its contents")
    models = {"factors": (factors, receipt["factors"])}
    if before is not None:
        models["factors of the model before"] = before, receipt["before"]["factors"]
    for name, (model, stated) in models.items():
        if stated != hash_arrays(*model):
            wrong.append(f"the {name} are not those of the receipt")
        if [len(side) for side in model] != [retained.n_users, retained.n_items]:
            wrong.append(f"the {name} have other numbers of users and items than the data")
    if receipt["retained"] != hash_data(retained, np.ones(len(retained.users))):
        wrong.append("the retained data are not those of the receipt")
    if request is not None:
        wrong += _check_request(receipt["request"], retained, *request)
    return wrong


def _check_request(
    stated: Mapping[str, Any],
    retained: Interactions,
    users: ArrayLike,
    items: ArrayLike,
    values: ArrayLike | None = None,
) -> list[str]:
    sides = (("user", users, retained.n_users), ("item", items, retained.n_items))
    for name, ids, bound in sides:
        for one in np.asarray(ids).reshape(-1).tolist():
            if not (isinstance(one, int) and 0 <= one < bound):
                return [f"{name} {shorten(one)} of the request is none of the {bound} in the data"]
    wrong = []
    asked, kept = (
        np.asarray(u, np.int64) * retained.n_items + np.asarray(i, np.int64)
        for u, i in ((users, items), (retained.users, retained.items))
    )
    if stated["hash"] != hash_pairs(users, items):
        wrong.append("the request is not the one of the receipt")
    elif values is not None and stated["data"] != hash_pairs(users, items, values):
        wrong.append("the values of the request are not those of the receipt")
    if stated["pairs"] != len(asked):
        wrong.append(f"the receipt states {stated['pairs']} pairs; the request has {len(asked)}")
    if len(np.unique(asked)) < len(asked):
        wrong.append("the request names a pair twice")
    if n_left := int(np.isin(asked, kept).sum()):
        wrong.append(f"{n_left} pairs of the request are still in the retained data")
    return wrong


def _signature(receipt: Mapping[str, Any], wrong: list[str]) -> tuple[str | None, list[str]]:
    """Who signed, and what could not be checked; adds to ``wrong`` what does not fit."""
    try:
        return signing.signer(receipt), []
    except ModuleNotFoundError as fault:
        return None, [f"the signature: {fault}"]
    except ValueError as fault:
        wrong.append(str(fault))
        return None, []


def _unproved(request: Sequence[ArrayLike] | None, before: Factors | None) -> list[str]:
    """The fields that nothing was compared with, and what a verifier would need for them."""
    lines = ["version: the issuer's own word"]
    if request is None:
        lines.append("request, kept, certificate.rows, rows_size, pairs: no request was given")
    elif len(request) == 2:
        lines.append("request.data and kept: the values of the request were not given")
    if before is None:
        lines.append("before: the model before the request was not given")
    elif request is None or len(request) == 2:
        lines.append("before.trained: the request was not given with its values")
    return lines


def _recompute(
    receipt: Mapping[str, Any],
    factors: Factors,
    retained: Interactions,
    request: Sequence[ArrayLike] | None,
    before: Factors | None,
) -> list[str]:
    """Compares every number of a receipt with what its own seed and the standard proof give."""
    given = {"objective": receipt["objective"], "seed": receipt["promise"]["seed"]}
    pairs = None if request is None else (request[0], request[1])
    models = {"certificate": factors} | ({} if before is None else {"before": before})
    ones = np.ones(len(retained.users))
    wrong, sizes = [], {}
    for place, model in models.items():
        found = evidence.numbers(model, retained, ones, request=pairs, **given)
        sizes[place] = found["size"]
        wrong += _compare(place, receipt[place], found, sizes[place])
    if request is None or len(request) == 2:
        return wrong
    own = retained.users, retained.items, np.asarray(retained.values, np.float64)
    columns = zip(map(np.asarray, own), request)
    whole = layout.build(
        *(np.append(kept, np.asarray(asked, kept.dtype)) for kept, asked in columns),
        n_users=retained.n_users,
        n_items=retained.n_items,
    )
    for place, model in models.items():
        found = evidence.numbers(model, whole, np.ones(len(whole.users)), **given)["bound"]
        if place == "before":
            stated, found = {"trained": receipt[place]["trained"]}, {"trained": found}
            wrong += _compare(place, stated, found, sizes[place])
        else:
            wrong += _compare("kept", receipt["kept"], {"bound": found}, sizes[place])
    return wrong


def _compare(
    place: str, stated: Mapping[str, Any], recomputed: Mapping[str, float], size: float
) -> list[str]:
    """The numbers that are not those computed here."""
    return [
        f"{place}.{name} is stated as {value} and recomputed as {recomputed[name]}"
        for name, value in stated.items()
        if name in recomputed and not fields.agree(name, value, recomputed[name], size)
    ]
