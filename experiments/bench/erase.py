"""Ways to erase users from a served ALS model: how near to retraining, whom they move, how long.

A model is trained for some passes of CG-3, and trained again, from the same seed and for as many
passes, without the users of a request. Each way starts from the first one. All numbers are about
the users who stay: the distance of their predictions to those of the retrained model, the distance
to what they were served before, and the share of their lists of ten that is as it was. Where the
catalogue is small enough for it, EASE and its closed form are measured in the same way. The sets
called "certified" have a ridge with which the one optimum has fewer dimensions than the model, so
that a proof is another way; they are computed in 64 bits.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget import data, methods, models
from jaxforget.prepare import forget, preprocess
from jaxforget.types import Factors

from ..errors import PROGRAM, Refused
from ..lab import clock, movement, provenance, setup
from ..lab.tables import add, there
from ._options import count

COLUMNS = [
    *("data", "interactions", "users", "items", "dim", "passes", "request", "seed", "way"),
    *("distance", "moved", "overlap", "seconds", "commit", "jaxlib", "device"),
]
KEY = ("data", "request", "seed", "way")  # tells the rows apart
ML1M = ("movielens", {"size": "1m"})
GOWALLA = ("adjacency", {"path": "gowalla-lightgcn/train.txt.gz"})
SETS = {  # name: reader, its settings, and the objective
    "ml1m": (*ML1M, {"dim": 64, "reg": 5.0, "alpha": 10.0}),
    "gowalla": (*GOWALLA, {"dim": 64, "reg": 20.0, "alpha": 10.0}),
    "ml1m-certified": (*ML1M, {"dim": 128, "reg": 60.0, "alpha": 3.0}),
    "gowalla-certified": (*GOWALLA, {"dim": 128, "reg": 60.0, "alpha": 3.0}),
}
WAYS = {
    "local": ("local_als", {}),
    "difference, 1 pass": ("difference_als", {"max_sweeps": 1}),
    "difference, 3 passes": ("difference_als", {"max_sweeps": 3}),
    "passes, 1": ("unlearn_als", {"max_sweeps": 1}),
    "passes, 10": ("unlearn_als", {"max_sweeps": 10}),
}
PROVED = {"certified, 1e-3": ("certified_als", {"tol": 1e-3})}
REQUESTS = {"1 user": 1, "25 users": 25, "1 % of users": 0.01, "10 % of users": 0.1}
PASSES = 15
EASE_ITEMS, EASE_REG = 5_000, 500.0  # the most items that EASE is measured with, and its ridge


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} bench erase", description=__doc__)
    parser.add_argument("--data", default="ml1m", choices=SETS)
    parser.add_argument("--seeds", type=count, default=5, metavar="n")
    parser.add_argument("--ways", nargs="+", metavar="way", help="these alone; default: all")
    parser.add_argument("--repeats", type=count, default=3, metavar="n", help="timed runs of each")
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--out", default="results/bench/erase.csv", help="rows are added to it")
    options = parser.parse_args(argv)
    setup.configure(None, "float64" if _is_proved(options.data) else "float32")
    ways = WAYS | (PROVED if _is_proved(options.data) else {})
    if unknown := set(options.ways or ()) - set(ways):
        parser.error(
            f"no way {', '.join(sorted(unknown))} for {options.data}; there are: {', '.join(ways)}"
        )
    ways = {way: ways[way] for way in ways if way in (options.ways or ways)}
    train = _read(options.data, setup.root(options.root))
    path = Path(options.out)
    there(path, COLUMNS)  # one of other columns is refused before anything is computed
    for seed in range(options.seeds):
        rows = []
        for row in (
            *_measure(options.data, train, seed, ways, options.repeats),
            *_measure_ease(options.data, train, seed, options.repeats),
        ):
            rows.append(row)
            told = "  ".join(f"{name} {row[name]:.4f}" for name in COLUMNS[9:12])
            print(
                f"{row['request']:<14}{row['way']:<22}seed {seed}  {told}  {row['seconds']:.3f} s"
            )
        add(path, COLUMNS, KEY, rows)  # after each seed: it takes long
    return 0


def _is_proved(name):
    return name.endswith("certified")


def _read(name, root):
    """All likes of a data set, each of value 1."""
    use, settings, _ = SETS[name]
    try:
        frame = data.read(use, root, **settings)
    except FileNotFoundError as fault:
        raise Refused(str(fault)) from fault
    if use == "movielens":
        frame = preprocess.binarise(frame, threshold=4.0)
    dtype = np.float64 if _is_proved(name) else np.float32
    return data.encode(frame.assign(value=np.ones(len(frame), dtype)))[0]


def _measure(name, train, seed, ways, repeats):
    """A row for each request and way, of models trained from one seed."""
    objective, ones = SETS[name][2], jnp.ones_like(train.values)
    model = models.load("ials")(max_sweeps=PASSES, cg_steps=3, **objective)
    fit, key = jax.jit(model.fit), jax.random.key(seed)
    served = fit(key, train, ones)[0]
    base = _facts(name, train, seed)
    for request, asked in _requests(train, seed):
        retrained, timing = clock.timed(fit, key, train, asked.after)
        stay = movement.staying(train, asked)
        other, _ = fit(jax.random.key(1000 + seed), train, asked.after)
        found = {"nothing": (served, 0.0), "retrained": (retrained[0], timing.run)}
        found["retrained, another seed"] = (other, timing.run)
        for way, (method, settings) in ways.items():
            unlearn = jax.jit(methods.load(method)(model, **settings).unlearn)
            (new, info), timing = clock.timed(unlearn, key, served, train, asked, repeats=repeats)
            if way in PROVED and not info["certified"]:
                raise Refused(
                    f"{name}, {request}: {way} has no proof: {info['relative_bound']:.2g}"
                )
            found[way] = getattr(new, "factors", new), timing.run
        for way, (new, seconds) in found.items():
            yield (
                base
                | {"request": request, "way": way, "seconds": seconds}
                | _numbers(new, served, retrained[0], train, asked, stay)
            )


def _requests(train, seed):
    """The requests and their names, drawn by the seed of the model."""
    for request, size in REQUESTS.items():
        count = size if isinstance(size, int) else round(size * train.n_users)
        yield request, forget.users(jax.random.key(seed), train, count=count)[1]


def _facts(name, train, seed):
    """What all rows of one model have in common."""
    facts = provenance.lasting()
    return {
        **{"data": name, "interactions": len(train.users), "users": train.n_users},
        **{"items": train.n_items, "dim": SETS[name][2]["dim"], "passes": PASSES, "seed": seed},
        **{"commit": provenance.commit(), "jaxlib": facts["jaxlib"]},
        "device": facts["device_kind"],
    }


def _measure_ease(name, train, seed, repeats):
    """A row for each request, of EASE, whose training draws nothing."""
    if train.n_items > EASE_ITEMS or _is_proved(name):
        return
    model = models.load("ease")(reg=EASE_REG)
    fit = jax.jit(model.fit)
    unlearn = jax.jit(methods.load("closed_form")(model).unlearn)
    served, _ = fit(None, train, jnp.ones_like(train.values))
    base = _facts(name, train, seed) | {"dim": train.n_items, "passes": 0}
    for request, asked in _requests(train, seed):
        (best, _), anew = clock.timed(fit, None, train, asked.after)
        (new, _), timing = clock.timed(unlearn, None, served, train, asked, repeats=repeats)
        stay = movement.staying(train, asked)

        def lists(params, stay=stay, asked=asked):
            served = model.factors(params, train, asked.after).tables()
            return Factors(served.users[stay], served.items)

        found = {"EASE, closed_form": (new, timing.run), "EASE, retrained": (best, anew.run)}
        for way, (params, seconds) in found.items():
            yield (
                base
                | {"request": request, "way": way, "seconds": seconds}
                | {
                    "distance": float(_apart(lists(params), lists(best))),
                    "moved": float(_apart(lists(params), lists(served))),
                    "overlap": movement.overlap(
                        lists(params), lists(served), train, asked.after, stay
                    )[1],
                }
            )


@jax.jit
def _apart(a, b):
    """The relative distance of all predictions of two models with the same users' rows.

    As these rows are as wide as the catalogue, the tables of scores are the cheaper way.
    """
    scores = b.users @ b.items.T
    return jnp.linalg.norm(a.users @ a.items.T - scores) / jnp.linalg.norm(scores)


def _numbers(new, served, retrained, train, asked, stay):
    new, old, best = (movement.of_users(x, stay) for x in (new, served, retrained))
    return {
        **movement.distances(new, old, best),
        "overlap": movement.overlap(new, old, train, asked.after, stay)[1],
    }
