"""What `erase` is about: the model, the data, the request; and what became of them."""

import argparse
import time
from typing import Any, NamedTuple

import numpy as np

from ..errors import Refused
from ..lab import provenance
from . import _receipt_files as receipts
from . import _served, _served_table, _updates

K = 10  # length of the lists that are compared
SAMPLE = 2_000  # users whose lists are compared
UNFIT = 0.2  # residual: after two passes it is below .1, with rows in another order about 1


class Job(NamedTuple):
    """A request, ready to be met."""

    served: _served.Served
    table: _served_table.Table
    objective: dict[str, float]
    model: Any  # Model
    factors: Any  # Factors, on the device, in the precision that is computed in
    train: Any  # Interactions, likewise
    forget: Any  # ForgetSet
    named: tuple[np.ndarray | None, np.ndarray | None]  # users and items of the request
    counts: dict[str, int]
    method: str
    why: str


class Done(NamedTuple):
    """What a finished job leaves behind."""

    factors: Any  # Factors, NumPy, as they are written
    report: dict[str, Any]
    receipt: dict[str, Any] | None


def prepare(args: argparse.Namespace) -> Job:
    """Reads everything, and finds the request in the data."""
    import jax
    import jax.numpy as jnp

    from jaxforget.prepare import forget, requests
    from jaxforget.sparse import layout
    from jaxforget.types import Factors, Split

    served = _served.model(args.model)
    objective = _served.objective(served, args, args.model)
    table = _served_table.read(args.interactions, served.factors, args)
    sizes = {"n_users": table.train.n_users, "n_items": table.train.n_items}
    nothing = layout.build([], [], [], **sizes)
    found = receipts.read(
        lambda path: requests.listed(
            path,
            Split(table.train, nothing, nothing),
            table.users,
            table.items,
            ignore_missing=args.ignore_missing,
        ),
        args.request,
    )
    train = table.train
    if args.certify is not None:
        train = layout.build(
            train.users, train.items, np.asarray(train.values, np.float64), **sizes
        )
    _, request = forget.listed(train, users=found.users, items=found.items)
    if not np.asarray(request.after).any():
        raise Refused(f"{args.request}: names every interaction: there is nothing to serve then")
    share = found.counts["train"] / len(train.users)
    method, why = _updates.choose(args.method, args.certify, share)
    dtype = train.values.dtype
    factors = Factors(*(jnp.asarray(side, dtype) for side in served.factors))
    more = {"cg_steps": 0} if method == "certified" else {}
    try:
        model = _served.build(served, objective, **more)
    except ValueError as fault:
        raise Refused(f"{args.model}: {fault}") from fault
    if not args.trust:
        _check_fit(args, model, train, factors, request)
    if method in _updates.PASSES and args.passes is None:
        trained = int(served.settings.get("iterations", 15))
        args.passes = _updates.PASSES[method] or trained
    named = found.users, found.items
    train = jax.tree.map(jnp.asarray, train)
    return Job(
        served,
        table,
        objective,
        model,
        factors,
        train,
        request,
        named,
        found.counts,
        method,
        why,
    )


def _check_fit(args: argparse.Namespace, model: Any, train: Any, factors: Any, request: Any):
    """Refuses a model that training on these interactions would move far at once."""
    from jaxforget import als

    residual = float(als.optimality(factors, train, model.terms(train, request.before)))
    if not residual <= UNFIT:
        raise Refused(
            f"{args.model} is no model of {args.interactions}: residual {residual:.2g}, where one "
            "that was trained on it is near 0: its rows may be numbered otherwise (--ids, --users, "
            "--items), its values be others (--threshold), or its --reg and --alpha; or --trust"
        )


def estimate(job: Job, args: argparse.Namespace) -> str:
    """What a run would touch and about how long it would take, from one unit of its work."""
    import jax

    from jaxforget import als

    terms = jax.jit(job.model.terms)(job.train, job.forget.after)
    passes = {"local": 0, "certified": 0, "difference": 2 * (args.passes or 0)}
    n = passes.get(job.method, args.passes or 0)
    if n:

        def unit():
            limits = {"max_sweeps": 1, "tol": 0.0}
            return job.model.refine(jax.random.key(0), job.train, terms, job.factors, **limits)
    else:
        n = 20 if job.method == "local" else 0

        def unit():
            return als.optimality(job.factors, job.train, terms)

    unit = jax.jit(unit)
    jax.block_until_ready(unit())
    started = time.perf_counter()
    jax.block_until_ready(unit())
    seconds = time.perf_counter() - started
    took = f"about {n * seconds:.2g} s after compiling" if n else "as long as the proof needs"
    memory = provenance.peak_memory()["peak_memory_mb"]
    counts = (int(np.count_nonzero(lost)) for lost in _lost(job))
    rows = [f"{count:,} {name}" for count, name in zip(counts, ("users", "items"))]
    return f"touched: {' and '.join(rows)} lose interactions\ntime: {took}\nmemory: {memory:.0f} MB"


def _lost(job: Job) -> list[np.ndarray]:
    """How many interactions each user and each item loses."""
    gone = np.asarray(job.forget.before) > np.asarray(job.forget.after)
    sides = (job.train.users, job.train.n_users), (job.train.items, job.train.n_items)
    return [np.bincount(np.asarray(ids)[gone], minlength=size) for ids, size in sides]


def finish(job: Job, update: _updates.Update, args: argparse.Namespace) -> Done:
    """Rounds the model to what is served, measures it, and states it."""
    from jaxforget.types import Factors

    dtype = job.served.factors.users.dtype
    factors = Factors(*(np.asarray(side).astype(dtype) for side in update.factors))
    made = _receipt(job, factors, args) if job.method == "certified" else None
    return Done(factors, _report(job, update, factors, made, args), made)


def _receipt(job: Job, factors: Any, args: argparse.Namespace) -> dict[str, Any]:
    """The receipt of what is served, the rounding of its numbers included."""
    from jaxforget.als.certificate import receipt

    try:
        return receipt.make(
            factors,
            job.train,
            job.forget,
            before=job.served.factors,
            objective=job.objective,
            tol=args.certify,
            seed=0,
            version=provenance.version("jaxforget") or "unknown",
        )
    except ValueError as fault:
        raise Refused(f"not certified as it is served: {fault}") from fault


def _report(
    job: Job,
    update: _updates.Update,
    factors: Any,
    made: dict[str, Any] | None,
    args: argparse.Namespace,
) -> dict[str, Any]:
    from jaxforget.als.certificate.digests import hash_arrays, hash_data, hash_pairs

    train, forget = job.train, job.forget
    gone = np.asarray(forget.before) > np.asarray(forget.after)
    users, items = (np.asarray(side)[gone] for side in (train.users, train.items))
    kind = {(True, False): "users", (False, True): "items", (True, True): "pairs"}
    named = tuple(side is not None for side in job.named)
    lost = _lost(job)
    facts = provenance.lasting()
    return {
        "schema": 1,
        "date": provenance.now(),
        "request": {
            "kind": kind[named],
            "lines": job.counts["asked"],
            "ignored": job.counts["missing"],
            "interactions": job.counts["train"],
            "users": int(np.count_nonzero(lost[0])),
            "items": int(np.count_nonzero(lost[1])),
            "sha256": hash_pairs(users, items),
        }
        | ({"ids": _original(job)} if args.name_ids else {}),
        "retained": {
            "interactions": int(np.sum(~gone)),
            "sha256": hash_data(train, forget.after),
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
        "versions": {
            name: facts[name] for name in (*provenance.PACKAGES, "python", "platform", "git_sha")
        },
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
    sides = (job.train.users, job.train.items)
    for name, ids, rows, lost in zip(("users", "items"), sides, factors, _lost(job)):
        left = np.bincount(np.asarray(ids)[np.asarray(job.forget.after) > 0], minlength=len(lost))
        emptied = (lost > 0) & (left == 0)
        found[f"{name}_emptied"] = int(emptied.sum())
        found[f"{name}_zero"] = int((~rows[emptied].any(axis=1)).sum())
    return found


def _others(job: Job, factors: Any) -> dict[str, float | int]:
    """How far the recommendations moved of users who lost nothing."""
    import jax
    import jax.numpy as jnp

    from jaxforget.metrics import distance, ranking
    from jaxforget.sparse import layout
    from jaxforget.types import Factors

    stay = np.flatnonzero(_lost(job)[0] == 0)
    stay = stay[np.isin(stay, np.asarray(job.train.users))]
    if not len(stay):
        return {"users": 0}
    old, new = (
        Factors(jnp.asarray(f.users[stay]), jnp.asarray(f.items))
        for f in (job.served.factors, factors)
    )
    sample = np.sort(np.random.default_rng(0).permutation(stay)[:SAMPLE])
    number = np.full(job.train.n_users, -1)
    number[sample] = np.arange(len(sample))
    kept = (number[np.asarray(job.train.users)] >= 0) & (np.asarray(job.forget.after) > 0)
    users, items, values = (
        np.asarray(x)[kept] for x in (job.train.users, job.train.items, job.train.values)
    )
    seen = layout.build(
        number[users], items, values, n_users=len(sample), n_items=job.train.n_items
    )
    models = (
        Factors(jnp.asarray(f.users[sample]), jnp.asarray(f.items))
        for f in (job.served.factors, factors)
    )
    k = min(K, job.train.n_items)
    shared = ranking.overlap(*models, [(seen, jnp.ones_like(seen.values))], ks=[k])
    return {
        "users": len(stay),
        "distance": float(jax.jit(distance.prediction_distance)(new, old)),
        "compared": len(sample),
        "k": k,
        "overlap": float(shared[k]),
    }
