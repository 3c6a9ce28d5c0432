"""What became of a model that was erased from: rounded to what is served, measured, stated."""

import argparse
from typing import Any, NamedTuple

import numpy as np

from ..errors import Refused
from ..lab import movement, provenance
from . import _updates
from ._erased import Job, lost


class Done(NamedTuple):
    """What a finished job leaves behind."""

    factors: Any  # Factors, NumPy, as they are written
    report: dict[str, Any]
    receipt: dict[str, Any] | None
    ids: list[np.ndarray] | None  # of users and items, in the order of the rows, if some are gone


def finish(job: Job, update: _updates.Update, args: argparse.Namespace) -> Done:
    """Rounds the model to what is served, measures it, and states it."""
    from jaxforget.als.certificate.digests import hash_arrays
    from jaxforget.types import Factors

    dtype = job.served.factors.users.dtype
    factors = Factors(*(np.asarray(side).astype(dtype) for side in update.factors))
    made = _receipt(job, factors, args) if job.method == "certified" else None
    report = _finite(_report(job, update, factors, made, args))
    if args.drop_rows:
        kept = [~gone for gone in _emptied(job)]
        factors = Factors(*(side[rows] for side, rows in zip(factors, kept)))
        report["model"]["after"] = hash_arrays(*factors)
        return Done(factors, report, made, [side[rows] for side, rows in zip(job.table[1:], kept)])
    return Done(factors, report, made, None)


def _finite(found: Any) -> Any:
    """The same, with None for what is not defined, as JSON has no other word for it."""
    if isinstance(found, dict):
        return {name: _finite(value) for name, value in found.items()}
    return None if isinstance(found, float) and not np.isfinite(found) else found


def _receipt(job: Job, factors: Any, args: argparse.Namespace) -> dict[str, Any]:
    """The receipt of what is served, the rounding of its numbers included."""
    from jaxforget.als.certificate import receipt, signing

    try:
        made = receipt.make(
            factors,
            job.train,
            job.forget,
            before=job.served.factors,
            objective=job.objective,
            tol=args.certify,
            seed=0,
            version=provenance.version("jaxforget") or "unknown",
        )
        if args.sign is None:
            return made
        return signing.sign(made, args.sign.read_bytes())
    except ModuleNotFoundError as fault:
        raise Refused(f"--sign: {fault}") from fault
    except ValueError as fault:
        raise Refused(f"no receipt of what is served: {fault}") from fault


def _report(
    job: Job,
    update: _updates.Update,
    factors: Any,
    made: dict[str, Any] | None,
    args: argparse.Namespace,
) -> dict[str, Any]:
    from jaxforget.als.certificate.digests import hash_arrays, hash_data

    retained = np.asarray(job.forget.after) > 0
    facts = provenance.lasting()
    names = (*provenance.PACKAGES, "python", "platform", "git_sha")
    return {
        "schema": 1,
        "date": provenance.now(),
        "request": _request(job) | ({"ids": _original(job)} if args.name_ids else {}),
        "retained": {
            "interactions": int(np.sum(retained)),
            "sha256": hash_data(job.train, retained),
        },
        "method": {"name": job.method, "why": job.why, "claim": _updates.CLAIMS[job.method]},
        "certified": made is not None,
        "bound": None if made is None else made["certificate"]["relative_bound"],
        "promised": args.certify,
        "model": {
            "dtype": str(factors.users.dtype),
            "factors": factors.users.shape[1],
            "before": hash_arrays(*job.served.factors),
            "after": hash_arrays(*factors),
            "objective": job.objective,
        },
        "residual": _residuals(job, factors),
        "zero": _zero(job, factors),
        "others": _others(job, factors),
        "update": update.info,
        "seconds": update.seconds,
        "keep_served_until": args.keep_served_until,
        "versions": {name: facts[name] for name in names},
    }


def _request(job: Job) -> dict[str, Any]:
    """What was asked for and found, as counts and a hash."""
    from jaxforget.als.certificate.digests import hash_pairs

    gone = np.asarray(job.forget.before) > np.asarray(job.forget.after)
    kinds = {(True, False): "users", (False, True): "items", (True, True): "pairs"}
    users, items = lost(job)
    return {
        "kind": kinds[tuple(side is not None for side in job.named)],
        "lines": job.counts["asked"],
        "ignored": job.counts["missing"],
        "interactions": job.counts["train"],
        "users": int(np.count_nonzero(users)),
        "items": int(np.count_nonzero(items)),
        "sha256": hash_pairs(np.asarray(job.train.users)[gone], np.asarray(job.train.items)[gone]),
    }


def _original(job: Job) -> dict[str, list]:
    """The original ids of the request."""
    labels = {"users": job.table.users, "items": job.table.items}
    return {
        name: labels[name][ids].tolist() for name, ids in zip(labels, job.named) if ids is not None
    }


def _residuals(job: Job, factors: Any) -> dict[str, float]:
    """How far from stationary: the old model on all data and on retained data, and the new one."""
    import jax
    import jax.numpy as jnp

    from jaxforget import als

    on_all, on_retained = (
        job.model.terms(job.train, weights) for weights in (job.forget.before, job.forget.after)
    )
    dtype = job.train.values.dtype
    new = jax.tree.map(lambda side: jnp.asarray(side, dtype), factors)
    cases = {
        "before, on all data": (job.factors, on_all),
        "before, on retained data": (job.factors, on_retained),
        "after, on retained data": (new, on_retained),
    }
    return {
        name: float(als.optimality(model, job.train, terms))
        for name, (model, terms) in cases.items()
    }


def _zero(job: Job, factors: Any) -> dict[str, int]:
    """How many users and items lost everything, and how many of these are exactly 0 now."""
    found = {}
    for name, rows, emptied in zip(("users", "items"), factors, _emptied(job)):
        found[f"{name}_emptied"] = int(emptied.sum())
        found[f"{name}_zero"] = int((~rows[emptied].any(axis=1)).sum())
    return found


def _emptied(job: Job) -> list[np.ndarray]:
    """Which users, and which items, lose their last interaction."""
    found = []
    for ids, gone in zip((job.train.users, job.train.items), lost(job)):
        left = np.bincount(np.asarray(ids)[np.asarray(job.forget.after) > 0], minlength=len(gone))
        found.append((gone > 0) & (left == 0))
    return found


def _others(job: Job, factors: Any) -> dict[str, float | int]:
    """How far the recommendations moved of users who lost nothing."""
    import jax
    import jax.numpy as jnp

    from jaxforget.metrics import distance
    from jaxforget.types import Factors

    stay = movement.staying(job.train, job.forget)
    if not len(stay):
        return {"users": 0}
    dtype = job.train.values.dtype
    old, new = (
        Factors(jnp.asarray(f.users[stay], dtype), jnp.asarray(f.items, dtype))
        for f in (job.served.factors, factors)
    )
    compared, shared = movement.overlap(new, old, job.train, job.forget.after, stay)
    return {
        "users": len(stay),
        "distance": float(jax.jit(distance.prediction_distance)(new, old)),
        "compared": compared,
        "k": min(movement.K, job.train.n_items),
        "overlap": shared,
    }
