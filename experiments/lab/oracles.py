"""Banks of models for a request: trained without it, trained with it, and made to forget it.

Model number m of every kind has the keys of the seed m, as a run with that seed would have. Of a
model only its scores of some pairs are kept, some models to a file, so that a bank that was stopped
goes on where it was, and parts of it may be made by several machines.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxforget.data import _oracles, _whole
from jaxforget.sparse import layout
from jaxforget.types import ForgetSet, Interactions

from ..config.grid import identity, named
from ..config.owned import DECIDES
from ..errors import Refused
from ..files import archive, write_atomically
from . import bank_models, measured, provenance
from .plans import Plan
from .setup import Laboratory

AT_ONCE = 10  # models of a file


class Sample(NamedTuple):
    """The pairs of a bank, in the order of a layout."""

    cells: Interactions
    part: np.ndarray  # [P] of which part a pair is
    users: np.ndarray  # [P] original ids
    items: np.ndarray


def sample(lab: Laboratory, plan: Plan) -> Sample:
    """Forgotten pairs and, as many at most, retained and test pairs; drawn once per bank.

    All are of users and items that keep an interaction: of others a retrained model knows nothing
    and serves whatever it began with. Where whole users go, no forgotten pair is left to ask for.
    """
    source = lab.materials.attacked(plan.cell)
    train, request = lab.materials.request(plan.cell)
    before, after = (np.asarray(weights) for weights in request)
    tables = [train, train, source.split.test]
    wanted = [before > after, after > 0, np.ones(len(tables[2].users), bool)]
    rows = [np.flatnonzero(some & known(train, after, x)) for x, some in zip(tables, wanted)]
    draw = np.random.default_rng(int(plan.id, 16))
    columns: list[list[np.ndarray]] = []
    for number, (table, there) in enumerate(zip(tables, rows)):
        some = draw.permutation(there)[: plan.n_pairs]
        triple = (table.users, table.items, table.values)
        columns.append([*(np.asarray(x)[some] for x in triple), np.full(len(some), number)])
    users, items, values, part = (np.concatenate(x) for x in zip(*columns))
    order = np.lexsort((items, users))
    users, items, part = users[order], items[order], part[order]
    sizes = {"n_users": train.n_users, "n_items": train.n_items}
    cells = layout.build(users, items, values[order], **sizes)
    names = np.asarray(_oracles.PARTS)[part]
    ids = source.users[users].astype(str), source.items[items].astype(str)
    return Sample(cells, names, *ids)


def known(train: Interactions, after: np.ndarray, table: Interactions) -> np.ndarray:
    """Which rows of a table are of a user and an item that keep an interaction."""
    users, items = (np.asarray(ids)[after > 0] for ids in (train.users, train.items))
    return np.isin(table.users, users) & np.isin(table.items, items)


def make(
    lab: Laboratory,
    folder: Path,
    plan: Plan,
    pairs: Sample,
    told: Callable[[str], None],
    *,
    part: tuple[int, int],
    wanted: set[str],
    asked: Callable[[int], ForgetSet] | None = None,
) -> None:
    """Trains what a bank lacks; ``part`` i of n makes every n-th file, from i on.

    Of the methods only those in ``wanted``. ``asked`` says what model number m is asked to forget;
    all of them the request of the plan if None.
    """
    _same_data(lab, folder, plan)
    train, request = lab.materials.request(plan.cell)
    extra = _asked(plan, pairs)
    for number, first in enumerate(range(0, plan.n_models, AT_ONCE)):
        if number % part[1] != part[0]:
            continue
        seeds = range(first, min(first + AT_ONCE, plan.n_models))
        kinds = [k for k in _kinds(plan) if k in wanted or k not in plan.methods]
        missing = {k for k in kinds if _kept(folder, plan, extra, k, seeds) is None}
        requests = [asked(seed) if asked else request for seed in seeds]
        task = bank_models.Task(lab, plan, train, pairs.cells, extra, seeds, requests)
        for kind, kept in bank_models.kept(task, missing):
            path = _file(folder, plan, kind, first)
            arrays = {**kept, "commit": provenance.commit(), "piece": _piece(path)}
            write_atomically(path, archive(arrays, compressed=True))
            told(f"{plan.id} {kind}: models {first} to {seeds[-1]} of {plan.n_models}")


def _same_data(lab: Laboratory, folder: Path, plan: Plan) -> None:
    """Refuses to add to a bank of other data: the file that they were read from has changed."""
    path, digest = folder / plan.id / "data", lab.materials.attacked(plan.cell).hash
    if not path.is_file():
        write_atomically(path, digest.encode())
    elif path.read_text() != digest:
        raise Refused(
            f"{path.parent} was made of other data than are there now: move it away, or put the "
            "data back"
        )


def _asked(plan: Plan, pairs: Sample) -> measured.Asked | None:
    """What models are asked for beside scores, in a bank for trying measures."""
    return measured.asked(pairs.cells, pairs.part) if plan.known else None


def _kept(
    folder: Path, plan: Plan, extra: measured.Asked | None, kind: str, seeds: range
) -> dict[str, np.ndarray] | None:
    """What a file holds of some models; None if there is none, or it was asked for less.

    Raises:
      Refused: it is damaged, or of other models than its name says.
    """
    path = _file(folder, plan, kind, seeds.start)
    if not path.is_file():
        return None
    found = _read(path)
    made_as = str(found.pop("piece", "a file of an earlier version"))
    if made_as != _piece(path):
        raise Refused(f"{path}: was written as {made_as}: remove it and run again")
    judged = extra is not None and kind not in plan.methods
    if len(found["scores"]) < len(seeds) or (judged and _oracles.LISTS not in found):
        return None
    names = found if judged else ("scores", "commit")
    return {n: found[n] if n == "commit" else found[n][: len(seeds)] for n in names}


def _kinds(plan: Plan) -> list[str]:
    return [_oracles.RETRAINED, _oracles.UNDELETED, *plan.known, *plan.methods]


def _file(folder: Path, plan: Plan, kind: str, first: int) -> Path:
    name = kind
    if kind in plan.methods:  # the settings decide, not what they are called
        spec = plan.methods[kind].spec
        name = identity([spec["method"]])
    return folder / plan.id / f"{name}-{first:05d}.npz"


def _piece(path: Path) -> str:
    """The bank, the kind or the method by its settings, and the first seed of a file."""
    return f"{path.parent.name}/{path.name}"


def gather(lab: Laboratory, folder: Path, plan: Plan, pairs: Sample) -> _oracles.Bank | None:
    """The whole bank; None while some of its models are missing."""
    scores, more, commits = {}, {}, set()
    extra = _asked(plan, pairs)
    for kind in _kinds(plan):
        parts = []
        for first in range(0, plan.n_models, AT_ONCE):
            seeds = range(first, min(first + AT_ONCE, plan.n_models))
            part = _kept(folder, plan, extra, kind, seeds)
            if part is None:
                return None
            commits.add(str(part.pop("commit")))
            parts.append(part)
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        scores[kind] = whole.pop("scores")
        more |= {kind: whole} if whole else {}
    lengths = {array.shape for array in scores.values()}
    if lengths != {(plan.n_models, len(pairs.part))}:
        raise Refused(f"{folder / plan.id}: its files are of other pairs: remove that folder")
    facts = provenance.lasting()
    about = {
        **{name: plan.cell.spec[name] for name in DECIDES},
        "draws": plan.draws,
        "model_name": named(plan.cell, "model"),
        "methods": {name: cell.spec["method"] for name, cell in plan.methods.items()},
        "axes": {"data": named(plan.cell, "data")}
        | {name: plan.cell.axes[name] for name in ("kind", "ratio", "count")},
        "data_hash": lab.materials.attacked(plan.cell).hash,
        "id": plan.id,
        "n_models": plan.n_models,
        "commits": sorted(commits),
        "versions": {name: facts[name] for name in provenance.PACKAGES},
    } | ({"known": plan.known} if plan.known else {})
    values = np.asarray(pairs.cells.values)
    return _oracles.Bank(pairs.users, pairs.items, values, pairs.part, scores, about, more)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with _whole.arrays(path) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as fault:
        raise Refused(f"{path}: cannot be read: {fault}: remove it and run again") from None


def described(bank: _oracles.Bank) -> str:
    """What a bank holds, in one line."""
    axes = " ".join(f"{k}={v}" for k, v in bank.about["axes"].items() if v is not None)
    kinds = f"{bank.about['n_models']} models of {len(bank.scores)} kinds"
    counts = ", ".join(f"{int(np.sum(bank.part == p))} {p}" for p in _oracles.PARTS)
    return f"{axes} model={bank.about['model_name']}: {kinds}, {counts} pairs"
