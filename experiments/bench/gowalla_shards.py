"""SISA and RecEraser on Gowalla: LightGCN in ten shards, and a request of 1 % of the interactions.

The settings are those of 300 epochs that ``bench gowalla`` chose on validation for one model of all
data. A shard has a tenth of the interactions, and a batch here a quarter of the size: at 13 steps
an epoch for the whole, 5 for each shard. Nothing is searched for the shards. The request is
the one of ``bench gowalla_forgetting``, and so are recall, NDCG and *membership*. *Before* is the
training of all shards, *after* that of those which the request touches, on what is left.
A run that was stopped goes on where it was; ``--keep`` keeps the trained shards.
"""

import argparse
import functools
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxforget import methods, models

from ..errors import PROGRAM
from ..lab import clock, setup
from . import gowalla, gowalla_forgetting
from ._kept import Kept
from ._options import count
from ._rows import Rows

KEYS = ["method", "settings", "stage", "seed"]
VALUES = ["recall", "ndcg", "membership", "shards_touched", "seconds"]
N_EPOCHS, SMALLER = 300, 4
REQUEST = "1 % of interactions"
ATTENTION = {"attention_lr": 1e-2, "attention_steps": 30}  # as results/influence_shards
METHODS = {"sisa": {"n_shards": 10}, "receraser": {"n_shards": 10} | ATTENTION}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} bench gowalla_shards", description=__doc__)
    parser.add_argument("--method", default=[*METHODS], nargs="+", choices=METHODS)
    parser.add_argument("--seeds", type=count, default=1, metavar="n")
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--chosen", default="results/bench/gowalla.csv", help="by bench gowalla")
    parser.add_argument("--keep", metavar="FOLDER", help="of trained shards, as of bench gowalla")
    parser.add_argument("--out", default="results/bench/gowalla_shards.csv", help="the table")
    options = parser.parse_args(argv)
    setup.configure(None, "float32")
    kept = Kept(options.keep)
    chosen = gowalla_forgetting.best(Path(options.chosen), "lightgcn", n_epochs=N_EPOCHS)
    settings = chosen | {"batch_size": chosen["batch_size"] // SMALLER}
    whole = gowalla.read(setup.root(options.root))
    rows = Rows(options.out, KEYS, VALUES)
    for seed in range(options.seeds):
        for method in options.method:
            _measure(rows, kept, whole, method, settings, seed)
    return 0


def _measure(rows, kept, whole, name, settings, seed):
    """A row before the request and one after it, of one method and seed."""
    model, key = models.load("lightgcn")(**settings), jax.random.key(seed)
    method = methods.load(name)(model, **METHODS[name])
    train = model.prepare(whole.train)
    asked = dict(gowalla_forgetting.requests(key, train))[REQUEST]
    spelled = gowalla.spelled(settings | METHODS[name])

    @functools.cache
    def trained():
        return kept.fit(method, f"{name} {spelled}", key, train, jnp.ones_like(train.values))

    def compute(stage):
        (state, seconds), along, touched = trained(), asked.before, METHODS[name]["n_shards"]
        if stage == "after":
            unlearn, along = jax.jit(method.unlearn), asked.after
            (state, info), timing = clock.timed(unlearn, key, state, train, asked)
            seconds, touched = timing.run, int(info["shards_touched"])
        served = jax.jit(method.factors)(state, train, along)
        found = gowalla_forgetting.judged(served, whole, asked)
        return found | {"shards_touched": touched, "seconds": seconds}

    for stage in ("before", "after"):
        row = {"method": name, "settings": spelled, "stage": stage, "seed": seed}
        rows.get(row, functools.partial(compute, stage))
