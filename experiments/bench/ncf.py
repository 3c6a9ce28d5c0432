"""Implicit ALS on the leave-one-out file of neural collaborative filtering, MovieLens-1M.

For each user the latest item is held out and found among 99 sampled ones: the lines of
ml-1m.test.negative as they were published, and all other ratings for training. Settings are chosen
on another item of each user, drawn from the training ratings, among 99 that the user did not rate
in them; the held-out file plays no part in that. Then the best setting is trained on all training
ratings from several seeds and judged once. A run that was stopped goes on where it was.
"""

import argparse
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget import data, models
from jaxforget.data import _formats
from jaxforget.metrics import candidates, rank_measures
from jaxforget.prepare import forget

from ..errors import PROGRAM, Refused
from ..lab import clock, setup
from ._options import count
from ._rows import Rows, tell

FILE = "ml-1m/ncf/ml-1m.test.negative.gz"
KEYS = ["stage", "dim", "alpha", "reg", "nu", "passes", "seed"]
GRID = {  # the confidence of an observed pair, the ridge of a row of mean count, and its power
    "alpha": (1.0, 2.0, 4.0, 8.0),
    "ridge": (10.0, 20.0, 40.0),
    "nu": (0.0, 0.5, 1.0),
}
PASSES, K = 16, 10


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} bench ncf", description=__doc__)
    parser.add_argument("--dim", type=count, default=64)
    parser.add_argument("--seeds", type=count, default=5, metavar="n")
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--out", default="results/bench/ncf.csv", help="the table")
    options = parser.parse_args(argv)
    setup.configure(None, "float32")
    train, users, lists = _read(setup.root(options.root))
    kept = forget.pairs(train, users, lists[:, 0])[1].after  # all but the held-out file
    own, among = _validation(train, kept)
    known = forget.pairs(train, own, among[:, 0], before=kept)[1].after
    rows = Rows(options.out, KEYS, ["users", "hit", "ndcg", "seconds"])

    def measure(stage, seed, weights, where, setting):
        key = {"stage": stage, "dim": options.dim, **setting, "passes": PASSES, "seed": seed}
        return rows.get(key, lambda: _measured(train, options.dim, seed, weights, where, setting))

    tried = [measure("validation", 0, known, (own, among), one) for one in _settings(train)]
    best = max(tried, key=lambda row: row["ndcg"])
    setting = {name: best[name] for name in ("alpha", "reg", "nu")}
    found = [measure("test", s, kept, (users, lists), setting) for s in range(options.seeds)]
    tell(found, {"hit": f"hit@{K}", "ndcg": f"ndcg@{K}"})
    return 0


def _read(root):
    """The ratings, each a like; and the published users and lists, numbered alike."""
    try:
        frame = data.read("movielens", root, size="1m")
        users, lists = _formats.read_candidates(Path(root) / FILE)
    except FileNotFoundError as fault:
        raise Refused(str(fault)) from fault
    # the file numbers users and items by their first appearance, as ``encode`` does
    return data.encode(frame.assign(value=np.ones(len(frame), np.float32)))[0], users, lists


def _validation(train, kept):
    """One remembered item of each user, at random, before 99 that are none of them."""
    rng, seen = np.random.default_rng(0), np.zeros((train.n_users, train.n_items), bool)
    real = np.asarray(kept) > 0
    seen[np.asarray(train.users)[real], np.asarray(train.items)[real]] = True
    users = np.flatnonzero(seen.sum(1) > 1).astype(np.int32)

    def line(own):
        rest = rng.choice(np.flatnonzero(~own), 99, replace=False)
        return np.append(rng.choice(np.flatnonzero(own)), rest)

    return users, np.stack([line(seen[user]) for user in users]).astype(np.int32)


def _settings(train):
    """The grid: ridges are stated for a row of mean count, whatever the power of the count."""
    for alpha, ridge, nu in itertools.product(*GRID.values()):
        mean = len(train.users) / train.n_users + train.n_items / alpha
        yield {"alpha": alpha, "reg": ridge / mean**nu, "nu": nu}


def _measured(train, dim, seed, weights, where, setting):
    """Trains one model, and finds the held-out items among the sampled ones."""
    others = {"unobserved": 1 / setting["alpha"]} if setting["nu"] else {}
    model = models.load("ials")(dim=dim, max_sweeps=PASSES, **setting, **others)
    (factors, _), timing = clock.timed(jax.jit(model.fit), jax.random.key(seed), train, weights)

    def measures(ranked):
        return {name: getattr(rank_measures, name)(ranked, k=K) for name in ("hit", "ndcg")}

    users, lists = (jnp.asarray(x) for x in where)
    judged = jax.jit(lambda f: candidates.over_candidates(measures, f, users, lists))(factors)
    return {"users": len(users), **{k: float(v) for k, v in judged.items()}, "seconds": timing.run}
