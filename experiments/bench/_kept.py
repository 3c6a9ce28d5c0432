"""Trained models that runs of one commit share: what takes half an hour is trained once."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget.als.certificate.digests import hash_arrays
from jaxforget.data import _whole

from .. import files
from ..errors import Refused
from ..lab import clock, provenance


class Kept:
    """A folder of trained models; without one, a model is trained where it is asked for."""

    def __init__(self, folder: str | None):
        """Takes the folder.

        Raises:
          Refused: the code is not that of a commit, so nothing would say what trained a model.
        """
        self.folder, facts = folder and Path(folder), provenance.lasting()
        if folder and facts["dirty"] is not False:
            raise Refused(f"--keep {folder}: needs a git checkout without changes: commit them")
        self.facts = json.dumps(facts, sort_keys=True)

    def fit(self, model: Any, name: str, *args: Any) -> tuple[Any, float]:
        """``model.fit(*args)`` without its info, and the seconds of the run that trained it.

        The name of the model and the arguments tell models of one commit apart.
        """
        fit = jax.jit(model.fit)
        path = self.folder and self.folder / f"{self._digest(name, args)}.npz"
        if path and path.is_file():
            shapes, tree = jax.tree.flatten(jax.eval_shape(fit, *args)[0])
            with _whole.arrays(path) as arrays:
                leaves = [_as(shape, arrays[str(n)]) for n, shape in enumerate(shapes)]
                seconds = float(arrays["seconds"])
            return jax.tree.unflatten(tree, leaves), seconds
        (params, _), timing = clock.timed(fit, *args)
        if path:
            leaves = {str(n): np.asarray(_plain(x)) for n, x in enumerate(jax.tree.leaves(params))}
            files.write_atomically(path, files.archive(leaves | {"seconds": timing.run}))
        return params, timing.run

    def _digest(self, name, args):
        words = np.frombuffer(f"{self.facts}\n{name}".encode(), np.uint8)
        return hash_arrays(words, *map(_plain, jax.tree.leaves(args)))[:32]


def _plain(leaf):
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _as(shape, array):
    """What ``_plain`` gave, as the leaf that it was."""
    return jax.random.wrap_key_data(array) if _is_key(shape) else jnp.asarray(array)


def _is_key(leaf):
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
