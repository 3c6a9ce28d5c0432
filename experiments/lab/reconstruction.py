"""Reconstructs deleted histories from two releases of a model, as an observer would."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget import metrics
from jaxforget.metrics import reconstruction
from jaxforget.types import Factors

from ..config.grid import Cell
from .jobs import Job
from .programs import keys, method_plug, model_plug, program, reference_key
from .setup import Laboratory

K = 20
_recovered = jax.jit(reconstruction.recovered)
_moved_rows, _moved_counts = (
    jax.jit(attack) for attack in (reconstruction.moved_rows, reconstruction.moved_counts)
)
NOISE = (0.1, 0.3, 1.0, 3.0)  # times the root mean square of the change of the item table


class Row(NamedTuple):
    """What was recovered of one request from one pair of releases."""

    release: str
    r_precision: float
    auc: float
    ndcg: float  # on test, at K, of the model that is released


def rows(lab: Laboratory, cell: Cell) -> tuple[dict[str, Any], list[Row]]:
    """What the request was, what popularity alone says of it, and what each release reveals."""
    train, request = lab.materials.request(cell)
    before, after = (np.asarray(weights) for weights in request)
    gone = before > after
    truth = np.zeros(train.n_items, bool)
    truth[np.asarray(train.items)[gone]] = True
    popular = np.bincount(np.asarray(train.items)[before > 0], minlength=train.n_items)
    base = _recovered(jnp.asarray(popular, jnp.float32), truth)
    facts = {
        "deleted_users": len(np.unique(np.asarray(train.users)[gone])),
        "deleted_pairs": int(gone.sum()),
        "deleted_items": int(truth.sum()),
        "popularity_r_precision": float(base[0]),
        "popularity_auc": float(base[1]),
    }
    first, others = _models(lab, cell, train, request)
    parts, found = lab.materials.attacked(cell).split._replace(train=train), []
    for release, old, new in _releases(first, others, cell.spec["seed"]):
        seen = _recovered(_attack(old, new), truth)
        found.append(Row(release, *map(float, seen), float(_ndcg(new, parts, request))))
    return facts, found


@jax.jit
def _ndcg(served: Any, parts: Any, request: Any) -> jax.Array:
    found = metrics.evaluate(served, parts, request, ks=(K,))
    return found.get(f"ndcg@{K}", jnp.nan)  # without a test part there is none


def _models(lab: Laboratory, cell: Cell, train: Any, request: Any) -> tuple[Any, dict[str, Any]]:
    """What is served before the request, and after it in each way."""
    model, method = model_plug(cell.spec["model"]), method_plug(cell.spec["method"])
    own = None if lab.programs.trains_plainly(cell) else method
    learn, key = program("fit", model, own), keys(cell.spec["seed"])
    shared = reference_key(cell), cell.key("method") if own else None

    def run(*jobs: Job) -> list[Any]:
        return [outcome.output for outcome in lab.singly.run(list(jobs))]

    def anew(stage: str) -> Job:  # methods that train alike share it
        return Job(learn, (key[stage], train, request.after), ("reference", (stage, *shared)))

    digest = lab.materials.attacked(cell).hash
    fit = lab.programs.fit(cell, digest, train, request)
    (state, _), (same, _), (fresh, _) = run(fit, anew("fit"), anew("reference"))
    ((forgot, _),) = run(lab.programs.unlearn(cell, state, train, request))
    serve = program("factors", model, method)
    served = run(
        Job(serve, (state, train, request.before)),
        *(Job(serve, (s, train, request.after)) for s in (forgot, same, fresh)),
    )
    names = ("unlearnt", "retrained, same seed", "retrained, another seed")
    return served[0], dict(zip(names, served[1:], strict=True))


def _attack(before: Any, after: Any) -> jax.Array:
    """The items ranked by the best known attack on this kind of table."""
    if isinstance(before, Factors):
        return _moved_rows(before.items, after.items)
    return _moved_counts(before.matrix, after.matrix)


def _releases(first: Any, others: dict[str, Any], seed: int) -> Iterator[tuple[str, Any, Any]]:
    """Pairs of models as an observer may see them: name, before, after."""
    for name, served in others.items():
        yield name, first, served
    last = others["unlearnt"]
    for name, rounded in ROUNDED.items():
        yield name, *(_with(x, rounded(_table(x))) for x in (first, last))
    old, new, key = _table(first), _table(last), jax.random.key(seed)
    scale = jnp.sqrt(jnp.mean((new - old) ** 2))
    for times in NOISE:
        noise = times * scale * jax.random.normal(key, new.shape, new.dtype)
        yield f"unlearnt, noise {times:g}", first, _with(last, new + noise)


def _table(served: Any) -> jax.Array:
    """The item table of what is served."""
    return served.items if isinstance(served, Factors) else served.matrix


def _with(served: Any, table: jax.Array) -> Any:
    """The same with another item table."""
    if isinstance(served, Factors):
        return served._replace(items=table)
    return dataclasses.replace(served, matrix=table)


def _float16(rows: jax.Array) -> jax.Array:
    return rows.astype(jnp.float16).astype(rows.dtype)


def _int8(rows: jax.Array) -> jax.Array:
    """Each row in steps of a 127th of its largest entry, as vector stores keep them."""
    step = jnp.max(jnp.abs(rows), axis=1, keepdims=True) / 127
    step = jnp.where(step > 0, step, 1)
    return jnp.round(rows / step) * step


ROUNDED: dict[str, Callable[[jax.Array], jax.Array]] = {
    "unlearnt, float16": _float16,
    "unlearnt, int8": _int8,
}
