"""What `erase` is about: the model, the data and the request, read and ready."""

import argparse
import dataclasses
import time
from typing import Any, NamedTuple

import numpy as np

from ..errors import Refused
from ..lab import provenance
from . import _receipt_files as receipts
from . import _served, _served_table, _updates

ROW_UNFIT = 0.2  # share that the equations of a row may be out by; wrong rows: mostly above 0.3
DOUBT = 1e-3  # such a share, ten times the usual one, and another's row that fits: exchanged ids
UNFIT = 0.05  # residual: below 0.03 after two passes, 0.06 to 0.13 with alpha off by a factor of 2


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


def prepare(args: argparse.Namespace) -> Job:
    """Reads everything, and finds the request in the data."""
    import jax.numpy as jnp

    from jaxforget.prepare import forget
    from jaxforget.types import Factors

    served = _served.model(args.model)
    objective = _served.objective(served, args, args.model)
    dtype = served.factors.users.dtype
    if args.certify is not None and dtype not in (np.float32, np.float64):
        raise Refused(
            f"{args.model}: factors of {dtype}: a receipt is about 32 or 64 bits: save them so, or "
            "leave out --certify"
        )
    table = _served_table.read(args.interactions, served.factors, args)
    found = _find(args, table)
    train = table.train
    if args.certify is not None:
        train = dataclasses.replace(train, values=jnp.asarray(train.values, jnp.float64))
    _, request = forget.listed(train, users=found.users, items=found.items)
    if not np.asarray(request.after).any():
        raise Refused(f"{args.request}: names every interaction: there is nothing to serve then")
    share = found.counts["train"] / len(train.users)
    method, why = _updates.choose(args.method, args.certify, share, served.factors.users.shape[1])
    factors = Factors(*(jnp.asarray(side, train.values.dtype) for side in served.factors))
    more = {"cg_steps": 0} if method == "certified" else {}
    try:
        model = _served.build(served, objective, **more)
        if method in _updates.PASSES and args.passes is None:
            args.passes = _updates.PASSES[method] or _served.n_passes(served)
    except (ValueError, TypeError) as fault:
        raise Refused(f"{args.model}: {fault}") from fault
    if not args.trust:
        refuse_erased(args, model, table._replace(train=train), factors, request.after)
        check_fit(args, model, train, factors)
        rows = unfit(model, train, factors)
        refuse_unfit(rows, train, request, str(args.request), str(args.model))
    named, counts = (found.users, found.items), found.counts
    return Job(served, table, objective, model, factors, train, request, named, counts, method, why)


def _find(args: argparse.Namespace, table: _served_table.Table) -> Any:
    """The request, found in the table."""
    from jaxforget.prepare import requests
    from jaxforget.sparse import layout
    from jaxforget.types import Split

    sizes = {"n_users": table.train.n_users, "n_items": table.train.n_items}
    nothing = layout.build([], [], [], **sizes)
    parts = Split(table.train, nothing, nothing)
    more = {"ignore_missing": args.ignore_missing}
    return receipts.read(
        lambda path: requests.listed(path, parts, table.users, table.items, **more), args.request
    )


def refuse_erased(
    args: argparse.Namespace, model: Any, table: _served_table.Table, factors: Any, after: Any
) -> None:
    """Refuses a table with the rows of people, or items, that were erased from this model before.

    Training on such rows brings the person back. The equations are those of what stays after this
    request.
    """
    from jaxforget.erase import _before
    from jaxforget.sparse.degrees import exchange

    pulls = exchange(table.train, model.terms(table.train, after).target, factors)
    for name, erased in zip(("users", "items"), _before.erased(factors, pulls)):
        if erased.any():
            ids = getattr(table, name)[erased]
            some = ", ".join(map(str, ids[:3].tolist())) + (", ..." if len(ids) > 3 else "")
            raise Refused(
                f"{args.interactions} has interactions of {len(ids)} {name} whose rows in "
                f"{args.model} are 0 ({some}): if they were erased before, take their interactions "
                "out of the table, or they come back; if not, the rows may be numbered otherwise "
                "(--ids, --users, --items); or --trust"
            )


def check_fit(args: argparse.Namespace, model: Any, train: Any, factors: Any) -> None:
    """Refuses a model that training on these interactions would move far at once."""
    import jax.numpy as jnp

    from jaxforget import als

    terms = model.terms(train, jnp.ones_like(train.values))
    residual = float(als.optimality(factors, train, terms))
    if not residual <= UNFIT:
        raise Refused(
            f"{args.model} is no model of {args.interactions}: residual {residual:.2g}, where one "
            "that was trained on it is near 0: its rows may be numbered otherwise (--ids, --users, "
            "--items), its values be others (--threshold), or its --reg and --alpha; or --trust"
        )


def unfit(model: Any, train: Any, factors: Any) -> list[np.ndarray]:
    """The users, and the items, whose rows fit their data far worse than those of others do.

    By their share alone only those are called so that no correctly numbered model had: rows that
    an update has left a little behind are out by up to a tenth (its ``tol``), while exchanged ones
    may be out by a thirtieth. What is far above the usual is ``_exchanged`` besides if another's
    row is what the data ask for.
    """
    import jax.numpy as jnp

    from jaxforget import als
    from jaxforget.sparse.degrees import exchange

    terms = model.terms(train, jnp.ones_like(train.values))
    gaps = als.objectives.gaps(factors, train, terms)
    pulls = exchange(train, terms.target, factors)
    found = []
    for by, gap, rhs, rows, fixed in zip(("user", "item"), gaps, pulls, factors, factors[::-1]):
        out, size = (np.linalg.norm(np.asarray(side), axis=1) for side in (gap, rhs))
        share = np.divide(out, size, out=np.zeros_like(out), where=size > 0)
        usual = float(np.percentile(share[size > 0], 99)) if size.any() else 0.0
        wrong = share > max(ROW_UNFIT, 3 * usual)
        doubted = share > max(3 * usual, min(ROW_UNFIT, max(DOUBT, 10 * usual)))
        if (doubted & ~wrong).any():
            wanted = als.half_sweep(fixed, train, terms, by=by)
            wrong |= _exchanged(doubted, *(np.asarray(x, np.float64) for x in (wanted, rows)))
        found.append(wrong)
    return found


def _exchanged(doubted: np.ndarray, wanted: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Which of the doubted rows are wanted where another of them stands, as nearly as is usual.

    Tried on likes of MovieTweetings and MovieLens-100K, five settings of ``ials``, exact and by CG,
    5 to 40 passes: no row of 32 models (half of them in 16 bits) nor of 48 that had met a request
    by ``local_als`` was found, where the share alone, above ``DOUBT`` and ten times the usual,
    finds some of the latter. Of 192 exchanges of two users or items 188 were refused (185 by
    ``ROW_UNFIT`` or ``UNFIT`` alone); the others were in a model with a residual of .02.
    """
    size = np.linalg.norm(wanted, axis=1)
    own = np.linalg.norm(wanted - rows, axis=1)
    usual = np.percentile(own[size > 0] / size[size > 0], 99)
    found, ids = np.zeros(len(rows), bool), np.flatnonzero(doubted & (size > 0))
    for row in ids:
        others = ids[ids != row]
        nearest = np.linalg.norm(rows[others] - wanted[row], axis=1).min(initial=np.inf)
        found[row] = nearest <= min(0.1 * own[row], 3 * usual * size[row])
    return found


def refuse_unfit(
    rows: list[np.ndarray], train: Any, request: Any, asked_in: str, model: str
) -> None:
    """Refuses a request that touches users, or items, whose rows are ``unfit``.

    So two ids that a file of ids has exchanged do not make the request forget somebody else.
    """
    gone = np.asarray(request.before) > np.asarray(request.after)
    for name, wrong in zip(("users", "items"), rows):
        asked = np.unique(np.asarray(getattr(train, name))[gone])
        if n := int(np.count_nonzero(wrong[asked])):
            raise Refused(
                f"{n} of the {len(asked)} {name} that {asked_in} touches fit their rows in "
                f"{model} far worse than others do: their ids may be exchanged: check --ids, "
                "--users and --items; or --trust"
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
    counts = (int(np.count_nonzero(side)) for side in lost(job))
    rows = [f"{count:,} {name}" for count, name in zip(counts, ("users", "items"))]
    return f"touched: {' and '.join(rows)} lose interactions\ntime: {took}\nmemory: {memory:.0f} MB"


def lost(job: Job) -> list[np.ndarray]:
    """How many interactions each user and each item loses."""
    gone = np.asarray(job.forget.before) > np.asarray(job.forget.after)
    sides = (job.train.users, job.train.n_users), (job.train.items, job.train.n_items)
    return [np.bincount(np.asarray(ids)[gone], minlength=size) for ids, size in sides]
