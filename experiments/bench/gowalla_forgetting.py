"""Forgetting on Gowalla, by a model that ``bench gowalla`` chose on validation.

The model is trained on the published training file and unlearnt by each way; beside them the model
that keeps everything and the one that is trained again without the request, from the same seed.
For LightGCN no damping is chosen: it is a row each.
Recall and NDCG are of the test file, of users who keep a training item; *distance* is that of the
predictions to the model trained again, *moved* that to the model before, both for users who stay;
*membership* is the chance that a forgotten pair outscores a test pair. A run that was stopped goes
on where it was.
"""

import argparse
import functools
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxforget import methods, metrics, models
from jaxforget.prepare import forget

from .. import frames
from ..errors import PROGRAM, Refused
from ..lab import clock, movement, setup
from . import gowalla
from ._kept import Kept
from ._options import count
from ._rows import Rows

KEYS = ["model", "settings", "request", "way", "seed"]
VALUES = ["recall", "ndcg", "membership", "distance", "moved", "seconds"]
REQUESTS = {"1 user": 1, "100 users": 100, "1 % of interactions": 0.01}
DAMPINGS = (0.01, 0.1, 1.0, 10.0, 100.0)
WAYS = {
    "ials": {
        "unlearn_als, 1 pass": ("unlearn_als", {"max_sweeps": 1}),
        "difference_als, 1 pass": ("difference_als", {"max_sweeps": 1}),
        "local_als": ("local_als", {}),
    },
    "lightgcn": {
        **{f"ifru, damping {d:g}": ("ifru", {"damping": d}) for d in DAMPINGS},
        **{
            f"ifru, damping {d:g}, no spillover": ("ifru", {"damping": d, "spillover": False})
            for d in (0.1, 10.0)
        },
        "replay": ("replay", {}),
    },
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} bench gowalla_forgetting", description=__doc__
    )
    parser.add_argument("--model", default="ials", choices=WAYS)
    parser.add_argument("--dim", type=count, help="the best settings of this size; 1024 for ials")
    parser.add_argument("--request", default=[*REQUESTS], nargs="+", choices=REQUESTS)
    parser.add_argument("--seeds", type=count, default=1, metavar="n")
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--chosen", default="results/bench/gowalla.csv", help="by bench gowalla")
    parser.add_argument("--keep", metavar="FOLDER", help="of trained models, as of bench gowalla")
    parser.add_argument("--out", default="results/bench/gowalla_forgetting.csv", help="the table")
    options = parser.parse_args(argv)
    setup.configure(None, "float32")
    kept = Kept(options.keep)
    dim = options.dim or (1024 if options.model == "ials" else None)
    settings = best(Path(options.chosen), options.model, **({"dim": dim} if dim else {}))
    whole = gowalla.read(setup.root(options.root))
    rows = Rows(options.out, KEYS, VALUES)
    for seed in range(options.seeds):
        _measure(rows, kept, whole, options.model, settings, seed, options.request)
    return 0


def best(path, model, **size):
    """The settings of a model with the best recall on validation; ``size`` fixes some of them."""
    if not path.is_file():
        raise Refused(f"{path} is not there; first: {PROGRAM} bench gowalla --model {model}")
    table = frames.read(path, ["stage", "model", "settings", "recall"], numbers=["recall"])
    table = table[(table["stage"] == "validation") & (table["model"] == model)]
    recall = dict(zip(table["settings"], table["recall"], strict=True))
    tried = [one for one in gowalla.GRIDS[model] if gowalla.spelled(one) in recall]
    of_size = [one for one in tried if size.items() <= one.items()]
    if not tried:
        raise Refused(f"{path} has no {model}; first: {PROGRAM} bench gowalla --model {model}")
    if not of_size:
        sizes = ", ".join(map(str, sorted({one[name] for one in tried for name in size})))
        raise Refused(f"{gowalla.spelled(size)}: tried were {sizes}")
    return max(of_size, key=lambda one: recall[gowalla.spelled(one)])


def requests(key, train):
    """The name of each request, and the request."""
    for request, size in REQUESTS.items():
        if isinstance(size, int):
            yield request, forget.users(key, train, count=size)[1]
        else:
            yield request, forget.random(key, train, size)[1]


def _measure(rows, kept, whole, name, settings, seed, asked_for):
    """A row for each request and way, of one seed; what no row needs is not trained."""
    model, key = models.load(name)(**settings), jax.random.key(seed)
    train, spelled = model.prepare(whole.train), gowalla.spelled(settings)
    serve, ones = jax.jit(model.factors), jnp.ones_like(train.values)

    @functools.cache
    def trained(request=None):
        weights = ones if request is None else asked[request].after
        return kept.fit(model, f"{name} {spelled}", key, train, weights)

    def compute(request, way):
        forget, old = asked[request], trained()[0]
        best, seconds = trained(request)
        new, along = best, forget.after
        if way == "nothing":
            new, along, seconds = old, forget.before, 0.0
        elif way in WAYS[name]:
            method, how = WAYS[name][way]
            unlearn = jax.jit(methods.load(method)(model, **how).unlearn)
            (new, _), timing = clock.timed(unlearn, key, old, train, forget)
            seconds = timing.run
        new, old = serve(new, train, along), serve(old, train, forget.before)
        best = serve(best, train, forget.after)
        return _numbers(new, old, best, whole, forget) | {"seconds": seconds}

    asked = dict(requests(key, train))
    for request, way in itertools.product(asked_for, ("nothing", "trained again", *WAYS[name])):
        row = {"model": name, "settings": spelled, "request": request, "way": way, "seed": seed}
        rows.get(row, functools.partial(compute, request, way))


@jax.jit
def _measures(factors, whole, asked):
    return metrics.evaluate(factors, whole, asked, ks=(gowalla.K,))


def judged(factors, whole, asked):
    """What is told of a model beside a request, as the table names it."""
    found = _measures(factors, whole, asked)
    return {
        "recall": float(found[f"recall@{gowalla.K}"]),
        "ndcg": float(found[f"ndcg@{gowalla.K}"]),
        "membership": float(found["membership"]),
    }


def _numbers(new, old, again, whole, asked):
    found, stay = judged(new, whole, asked), movement.staying(whole.train, asked)
    new, old, again = (movement.of_users(x, stay) for x in (new, old, again))
    return found | movement.distances(new, old, again)
