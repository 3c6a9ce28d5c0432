"""Single users erased from a served ALS model one after another, against a pass of training."""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget import models
from jaxforget.erase import Session

from ..errors import PROGRAM
from ..lab import clock, provenance, setup
from . import _pairs
from ._options import count
from ._rows import Measured

COLUMNS = "interactions,users,items,dim,what,n,p50,p95,total,commit,jaxlib,device".split(",")
KEY = ["interactions", "users", "items", "dim", "what", "device"]  # tells the rows apart
SIZES = {"n_users": 50_000, "n_items": 10_000}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} bench stream", description=__doc__)
    parser.add_argument("--interactions", type=count, default=1_000_000)
    parser.add_argument("--dim", type=count, default=64)
    parser.add_argument("--requests", type=count, default=100)
    parser.add_argument("--out", default="results/bench/stream.csv", help="the table")
    options = parser.parse_args(argv)
    setup.configure(None, "float32")
    table = Measured(options.out, COLUMNS, KEY)
    train, _ = _pairs.workload(options.interactions, options.dim, **SIZES)
    ones, key = jnp.ones_like(train.values), jax.random.key(0)
    how = {"dim": options.dim, "reg": 5.0, "alpha": 10.0}
    model = models.load("ials")(max_sweeps=5, cg_steps=3, **how)
    served = jax.jit(model.fit)(key, train, ones)[0]
    found = {"one user, local": _stream(Session(model, served, train), options.requests)}
    for name, steps in (("one pass, CG-3", 3), ("one pass, exact rows", 0)):
        one = jax.jit(models.load("ials")(max_sweeps=1, cg_steps=steps, **how).fit)
        runs = [clock.timed(one, key, train, ones, served)[1].run for _ in range(3)]
        found[name] = runs
    facts = provenance.lasting()
    size = [options.interactions, train.n_users, train.n_items, options.dim]
    tail = [provenance.commit(), facts["jaxlib"], facts["device_kind"]]
    for name, seconds in found.items():
        p50, p95 = np.percentile(seconds, (50, 95)).tolist()
        print(f"{name:<22} n {len(seconds)}  p50 {p50:.3f} s  p95 {p95:.3f} s", flush=True)
        table.put([*size, name, len(seconds), p50, p95, float(sum(seconds)), *tail])
    return 0


def _stream(session: Session, n: int) -> list[float]:
    """Seconds of single users, after a first one that compiles."""
    filled = np.unique(np.asarray(session.train.users))
    asked = np.random.default_rng(0).permutation(filled)[: n + 1]
    seconds = []
    for user in asked.tolist():
        started = time.perf_counter()
        session.erase(users=[user])
        seconds.append(time.perf_counter() - started)
    return seconds[1:]
