"""What every program would take at least on accelerators that are not here: FLOPs, bytes, seconds.

The least time of a program is the larger of its FLOPs over the device's and its bytes over the
device's bandwidth. Both are counted by hand from sizes, as the formulas in the code say; every
gathered row is counted as read from memory, none as found in a cache. The program is then compiled
for the device, which tells its loops, its temporaries and whether it calls the host. Nothing is
run: these seconds are a prediction.
"""

import argparse
import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxforget import als, metrics, models, sparse
from jaxforget.types import ForgetSet

from ..errors import PROGRAM
from ..lab import provenance
from . import _targets
from ._rows import Measured
from ._work import parts, workload

COLUMNS = ["program", "sizes", "device", "gflop", "gigabytes", "least_seconds", "loops"]
COLUMNS += ["calls_host", "temporary_mb", "compile_seconds", "jax", "jaxlib", "commit"]
KEY = ["program", "sizes", "device"]  # tells the rows apart
SIZES = ((44_000, 943, 1682), (535_000, 6040, 3706))
DIMS = (64, 256)
BATCH, LAYERS, CG, TOP = 4096, 2, 3, 10


class Work(NamedTuple):
    """A program, its arguments, and what it computes and moves at least."""

    function: Callable
    args: tuple
    flops: float
    bytes: float


def works(sizes: tuple[int, int, int], dim: int) -> dict[str, Work]:
    """The programs of the library by name, on made-up interactions."""
    train, factors, _ = workload(sizes, dim)
    n, n_users, n_items = sizes
    rows, table = n_users + n_items, (n_users + n_items) * dim
    ones = jnp.ones_like(train.values)
    terms = als.implicit(train, ones, reg=20.0, alpha=8.0)
    # one product reads the ids, the values and N rows, and writes a table or N numbers
    product = 2 * n * dim, 4 * (2 * n + n * dim)
    pairs = 2 * n * dim, 4 * (3 * n + 2 * n * dim)
    # both sides: right-hand sides, a matrix of D x D per row from N outer products, a Cholesky
    # factorisation and two solves; a matrix is written and read twice
    exact = 2 * n * dim * (dim + 2) * 2 + rows * (dim**3 / 3 + 2 * dim**2)
    exact_bytes = 2 * 4 * n * dim * 2 + 4 * rows * dim**2 * 4
    # a CG step is a product of both kinds and one with the Gram matrix
    cg = (CG + 1) * 2 * (product[0] + pairs[0]) + (CG + 1) * 2 * rows * dim**2
    cg_bytes = (CG + 1) * 2 * (product[1] + pairs[1]) + (CG + 1) * 4 * 4 * table
    by_user = functools.partial(sparse.spmm, by="user")
    return {
        "spmm": Work(by_user, (train, train.values, factors.items), *product),
        "sddmm": Work(sparse.sddmm, (train, *factors), *pairs),
        "ALS pass, exact": Work(als.alternate, (factors, train, terms), exact, exact_bytes),
        "ALS pass, CG, 3 steps": Work(
            functools.partial(als.alternate, cg_steps=CG), (factors, train, terms), cg, cg_bytes
        ),
        **_of_models(sizes, dim),
        **_of_measures(sizes, dim),
    }


def _of_models(sizes: tuple[int, int, int], dim: int) -> dict[str, Work]:
    """Training for an epoch."""
    train, _, _ = workload(sizes, dim)
    n, n_users, n_items = sizes
    table, steps = (n_users + n_items) * dim, -(-n // BATCH)
    ones = jnp.ones_like(train.values)
    found, key = {}, jax.random.key(0)
    for name, layers in (("mf", 0), ("lightgcn", LAYERS)):
        more = {"n_layers": layers} if layers else {}
        more |= {"reg": 1e-3, "lr": 0.01, "batch_size": BATCH, "n_epochs": 1, "loss": "bpr"}
        model = models.load(name)(dim=dim, init_scale=0.1, **more)
        # three rows per pair, forward and back; Adam reads and writes seven tables a step; a layer
        # is a product of both kinds, forward and back, in each step
        flops = 12 * n * dim + steps * (12 * table + layers * 8 * n * dim)
        moved = 4 * 6 * n * dim + steps * 4 * (7 * table + layers * 4 * (n * dim + 2 * n))
        found[f"{name}, one epoch"] = Work(model.fit, (key, train, ones), flops, moved)
    return found


def _of_measures(sizes: tuple[int, int, int], dim: int) -> dict[str, Work]:
    """All measures of a model: scores of two models for every user, and their first few items."""
    data, _ = parts(sizes, dim)
    _, factors, _ = workload(sizes, dim)
    _, n_users, n_items = sizes
    ones = jnp.ones_like(data.train.values)

    def judge(factors, data, request, reference):
        return metrics.evaluate(factors, data, request, ks=(TOP,), reference=reference)

    scores = n_users * n_items
    args = (factors, data, ForgetSet(ones, ones), factors)
    # of each model the scores are written once and read twice
    return {"evaluation": Work(judge, args, 4 * scores * dim, 2 * 4 * 3 * scores)}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} bench roofline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", default="results/bench/roofline.csv", help="the table")
    parser.add_argument("--device", nargs="*", choices=sorted(_targets.TARGETS))
    options = parser.parse_args(argv)
    jax.config.update("jax_platforms", "cpu")  # or jax looks for the devices of these compilers
    facts, table = provenance.lasting(), Measured(options.out, COLUMNS, KEY)
    here = [facts["jax"], facts["jaxlib"], provenance.commit()]
    for name in options.device or sorted(_targets.TARGETS):
        target = _targets.TARGETS[name]
        place = _targets.device(target)
        for sizes in SIZES:
            for dim in DIMS:
                for program, work in works(sizes, dim).items():
                    start = time.perf_counter()
                    found = _targets.compile_for(place, work.function, work.args)
                    seconds = time.perf_counter() - start
                    least = max(work.flops / target.flops, work.bytes / target.bandwidth)
                    shape = workload(sizes, dim)[2]
                    line = [program, shape, target.device, work.flops / 1e9, work.bytes / 1e9]
                    line += [least, found.loops, found.calls_host, found.temporaries / 1e6]
                    table.put([*line, seconds, *here])
                    print(f"{target.device:<16} {program:<24} {least:10.3g} s  {shape}", flush=True)
    return 0
