"""Exact forgetting on Gowalla, by the EASE model that ``bench gowalla`` chose on validation.

The model is trained once. Each request is an exact low-rank change of its matrix, of which nothing
but rounding sets it apart from the model trained again: *residual* is ``|A P v - v| / |v|`` of the
changed matrix ``P`` and the regularised Gram matrix ``A`` of what is left, and 0 for its inverse.
The changed model is judged, then the change is taken back by another one. Beside it stands the
matrix as it was. Either way users are served from what is left of their histories, so a user who
is forgotten has scores of 0. Recall and NDCG are of the test file; *membership* is the chance that
a forgotten pair outscores a test pair; *rank* is the number of users, or of items, whose rows or
columns change. A run that was stopped goes on where it was.
"""

import argparse
import functools
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxforget import models

from ..errors import PROGRAM
from ..lab import clock, setup
from . import gowalla
from ._rows import Rows
from .gowalla_forgetting import best, judged, requests

KEYS = ["model", "settings", "request", "way"]
VALUES = ["recall", "ndcg", "membership", "rank", "residual", "seconds"]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} bench gowalla_exact", description=__doc__)
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--chosen", default="results/bench/gowalla.csv", help="by bench gowalla")
    parser.add_argument("--out", default="results/bench/gowalla_exact.csv", help="the table")
    options = parser.parse_args(argv)
    setup.configure(None, "float32")
    settings = best(Path(options.chosen), "ease")
    whole = gowalla.read(setup.root(options.root))
    rows, changed = Rows(options.out, KEYS, VALUES), _Changed(settings, whole)
    for request, asked in requests(jax.random.key(0), whole.train):
        key = {"model": "ease", "settings": gowalla.spelled(settings), "request": request}
        rows.get(key | {"way": "nothing"}, functools.partial(changed.before, asked))
        rows.get(key | {"way": "closed_form"}, functools.partial(changed.after, asked))
    return 0


class _Changed:
    """The trained model, of which no second one is held while it is judged."""

    def __init__(self, settings, whole):
        self.model, self.whole = models.load("ease")(**settings), whole
        self.update, self.params = jax.jit(self.model.update), None

    def before(self, asked):
        self._train()
        return self._numbers(asked) | {"rank": 0, "residual": jnp.nan, "seconds": 0.0}

    def after(self, asked):
        self._train()
        info, timing = self._change(asked.before, asked.after)
        found = self._numbers(asked)
        self._change(asked.after, asked.before)
        found |= {"rank": int(info["rank"]), "residual": float(info["residual"])}
        return found | {"seconds": timing.run}

    def _train(self):
        if self.params is None:
            train = self.whole.train
            self.params, _ = jax.jit(self.model.fit)(None, train, jnp.ones_like(train.values))

    def _change(self, before, after):
        args = (self.params, self.whole.train, before, after)
        (self.params, info), timing = clock.timed(self.update, *args)
        return info, timing

    def _numbers(self, asked):
        served = jax.jit(self.model.factors)(self.params, self.whole.train, asked.after)
        return judged(served, self.whole, asked)
