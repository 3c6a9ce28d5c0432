"""Requests that are hard to meet: how hard every training interaction of a cell would be."""

from typing import Any

import jax
import numpy as np

from jaxforget.gradient.influence import single
from jaxforget.metrics import hardness
from jaxforget.sparse import serving
from jaxforget.types import Interactions

from ..config.grid import Cell
from ..errors import Refused
from . import bank_models
from .jobs import Job
from .programs import keys, model_plug, program
from .setup import Laboratory

AT_ONCE = 8  # models whose scores of all interactions are held before they are kept


def memorised(lab: Laboratory, cell: Cell, n_models: int) -> np.ndarray:
    """Memorisation ``[N]`` by models trained on random halves of the training interactions."""
    train, request = lab.materials.request(cell)
    before = np.asarray(request.before)
    held = np.random.default_rng(0).random((n_models, len(before))) < 0.5
    model = model_plug(cell.spec["model"])
    fit, factors = program("fit", model), program("factors", model)
    run = (lab.batches or lab.singly).run
    scores = []
    for first in range(0, n_models, AT_ONCE):
        seeds = range(first, min(first + AT_ONCE, n_models))
        weights = [(before * held[seed]).astype(before.dtype) for seed in seeds]
        asked = zip(seeds, weights, strict=True)
        states = run([Job(fit, (keys(seed)["fit"], train, w)) for seed, w in asked])
        trained = [done.output[0] for done in states]
        served = bank_models.served_by(run, factors, trained, train, weights)
        scores.append(bank_models.scores_of(run, served, train))
    return np.asarray(hardness.memorisation(np.concatenate(scores), held))


def entangled(lab: Laboratory, cell: Cell) -> np.ndarray:
    """Entanglement ``[N]`` in the item rows of the undeleted model."""
    _, train, weights = trained = _undeleted(lab, cell)
    job = Job(program("factors", model_plug(cell.spec["model"])), trained)
    (served,) = lab.singly.run([job])
    tables = serving.tables(served.output)
    return np.asarray(hardness.entanglement(tables, train, weights))


def influential(lab: Laboratory, cell: Cell) -> np.ndarray:
    """The change ``[N]`` that the undeleted model predicts of forgetting each interaction alone."""
    model = lab.programs.model(cell.spec["model"])
    if model.margins is None or model.margins.draws_items:  # before it is trained
        raise Refused(
            f"influential: {cell.axes['model']} predicts no change of single pairs; it takes "
            'mf or lightgcn with loss = "bce", of others ask for memorised ones'
        )
    return np.asarray(single.predicted_change(model, *_undeleted(lab, cell)))


def _undeleted(lab: Laboratory, cell: Cell) -> tuple[Any, Interactions, jax.Array]:
    """The model trained on everything, on what, and with which weights."""
    train, request = lab.materials.request(cell)
    learn = program("fit", model_plug(cell.spec["model"]))
    job = Job(learn, (keys(cell.spec["seed"])["fit"], train, request.before))
    return lab.singly.run([job])[0].output[0], train, request.before


def sensitive(
    users: np.ndarray, chosen: np.ndarray, n_wanted: int, seed: int
) -> tuple[np.ndarray, int]:
    """Rows of listed items, of one person after the other in random order, until enough are named.

    Args:
      users: ``[N]`` who interacts.
      chosen: ``[N]`` bool, whether with an item of the list.
      n_wanted: how many rows; whole persons are taken, so that there can be a few more.
      seed: of the order of the persons.

    Returns:
      The rows in ascending order, and the number of persons.
    """
    rows = np.flatnonzero(chosen)
    people, counts = np.unique(users[rows], return_counts=True)
    order = np.random.default_rng(seed).permutation(len(people))
    enough = int(np.searchsorted(np.cumsum(counts[order]), n_wanted)) + 1
    some = people[order[:enough]]
    return rows[np.isin(users[rows], some)], len(some)
