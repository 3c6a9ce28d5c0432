"""Models whose truth is known by how they were made: what measures of forgetting are tried on.

*Half*: trained without a random half of the request, drawn once per bank. *Relearned*: trained
without the request, and then a short while on all data, with the request put back.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget.data._oracles import HALF, KNOWN, RELEARNED
from jaxforget.types import ForgetSet

from ..config.grid import Cell
from .programs import keys, make, method_plug
from .setup import Laboratory

SHARE = 0.5  # of the request that half of the models never saw
PASSES = 1  # of relearning, by alternating least squares
STEPS, RATE = 10, 1e-2  # of relearning by Adam; the rate where the model has none of its own


def kinds(lab: Laboratory, cell: Cell) -> dict[str, Any]:
    """How each kind is made of a cell's model; without one that this model cannot have."""
    found: dict[str, Any] = {HALF: {"share": SHARE}}
    model = lab.programs.model(cell.spec["model"])
    if model.refine is not None:
        settings: dict[str, Any] = {"max_sweeps": PASSES, "tol": 0.0}
        spec = {"use": "unlearn_als", "settings": settings}
    else:
        settings = {"lr": cell.spec["model"]["settings"].get("lr") or RATE, "n_steps": STEPS}
        spec = {"use": "finetune", "settings": settings}
    try:
        make(*method_plug(spec), model)
    except ValueError:  # no way to go on training this model
        return found
    return found | {RELEARNED: spec}


def keys_of(seed: int, kind: str) -> jax.Array:
    """Two keys of a model, to train and to go on: independent of those of every other kind.

    Siblings of the keys of a seed, and not made from one of these: ``fold_in(key, n)`` is the n-th
    part of ``split(key)``, which whoever uses that key may have drawn from.
    """
    own = jax.random.fold_in(jax.random.key(seed), len(keys(seed)) + KNOWN.index(kind))
    return jax.random.split(own, 2)


def half(request: ForgetSet, bank: str, share: float) -> jax.Array:
    """The weights before the request but for a random part of it, which is drawn by the bank."""
    before, after = (np.asarray(weights) for weights in request)
    asked = np.flatnonzero(before > after)
    draw = np.random.default_rng([1, int(bank, 16)])
    gone = draw.permutation(asked)[: round(share * len(asked))]
    weights = before.copy()
    weights[gone] = after[gone]
    return jnp.asarray(weights)
