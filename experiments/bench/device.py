"""Everything that a device is asked for in one table: agreement with the CPU, kernels, passes,
epochs, unlearning against retraining, a sweep against one cell.

Made-up interactions of stated sizes; the table is written after every line, so that a run may be
stopped. Rows of other sections, sizes and devices stay. ``--small`` takes sizes for a CPU.
"""

import argparse
import functools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget import als, methods, metrics, models, sparse
from jaxforget.metrics import ranking
from jaxforget.prepare import forget
from jaxforget.types import ForgetSet

from ..errors import PROGRAM
from ..lab import provenance
from ..lab.batches import Batches
from ..lab.jobs import Job, Shelf, Singly
from ._rows import Measured
from ._work import parts, timed, workload

COLUMNS = ["section", "name", "sizes", "value", "unit", "compile_seconds", "peak_mb"]
COLUMNS += ["device", "jax", "jaxlib", "commit"]
KEY = ["section", "name", "sizes", "device"]  # tells the rows apart


class Sizes(NamedTuple):
    """How large the data sets and the models are."""

    small: tuple[int, int, int]  # interactions, users, items: a cell of a sweep
    middle: tuple[int, int, int]  # as MovieLens-1M, 4 stars and more
    large: tuple[int, int, int]  # as MovieLens-20M
    dims: tuple[int, ...]
    cells: int
    epochs: int


ACCELERATOR = Sizes(
    (44_000, 943, 1682),
    (535_000, 6040, 3706),
    (18_000_000, 138_000, 27_000),
    (64, 256, 1024),
    64,
    5,
)
SMALL = Sizes((4_000, 200, 150), (20_000, 600, 400), (60_000, 2000, 500), (8, 16), 8, 2)


class Line(NamedTuple):
    """One measurement."""

    section: str
    name: str
    sizes: str
    value: float
    unit: str
    compile_seconds: float | None = None


def ials(dim: int, **limits: Any):
    return models.load("ials")(dim=dim, reg=20.0, alpha=8.0, tol=0.0, **limits)


def agreement(sizes: Sizes) -> Iterator[Line]:
    """The same training and the same measures on the CPU and on the device."""
    data, shape = parts(sizes.small, sizes.dims[0])
    model, weights = ials(sizes.dims[0], max_sweeps=15), jnp.ones_like(data.train.values)
    request = forget.random(jax.random.key(1), data.train, 0.05)[1]

    def compute(key, data, weights, request):
        factors, info = model.fit(key, data.train, weights)
        found = metrics.evaluate(factors, data, request, ks=(10,))
        return factors, found | {"objective": info["objective"]}

    args = (jax.random.key(0), data, weights, request)
    ours, found = jax.device_get(jax.jit(compute)(*args))
    with jax.default_device(jax.devices("cpu")[0]):
        theirs, expected = jax.device_get(
            jax.jit(compute)(*jax.device_put(args, jax.devices("cpu")[0]))
        )
    hidden = [(data.train, weights)]
    shared = ranking.overlap(
        *(jax.tree.map(jnp.asarray, f) for f in (ours, theirs)), hidden, ks=(10,)
    )
    for name, value in found.items():
        gap = abs(float(value) - float(expected[name])) / max(abs(float(expected[name])), 1e-9)
        if np.isfinite(gap):
            yield Line("agreement with the CPU", name, shape, gap, "relative difference")
    yield Line("agreement with the CPU", "top 10 in common", shape, float(shared[10]), "share")


def kernels(sizes: Sizes) -> Iterator[Line]:
    """The two sparse products."""
    for size in (sizes.middle, sizes.large):
        train, factors, shape = workload(size, sizes.dims[0])
        for by, dense in (("user", factors.items), ("item", factors.users)):
            f = functools.partial(sparse.spmm, by=by)
            _, seconds, compiling = timed(f, train, train.values, dense)
            yield Line("kernels", f"spmm by {by}", shape, seconds, "s", compiling)
        _, seconds, compiling = timed(sparse.sddmm, train, *factors)
        yield Line("kernels", "sddmm", shape, seconds, "s", compiling)


def passes(sizes: Sizes) -> Iterator[Line]:
    """One pass of alternating least squares over users, then items."""
    for size, dims in ((sizes.middle, sizes.dims), (sizes.large, sizes.dims[:2])):
        for dim in dims:
            train, factors, shape = workload(size, dim)
            terms = als.implicit(train, jnp.ones_like(train.values), reg=20.0, alpha=8.0)
            for name, steps in (("exact", 0), ("CG, 3 steps", 3)):
                f = functools.partial(als.alternate, cg_steps=steps)
                _, seconds, compiling = timed(f, factors, train, terms, runs=3)
                yield Line("ALS pass", name, shape, seconds, "s", compiling)


def epochs(sizes: Sizes) -> Iterator[Line]:
    """One epoch of minibatches of the two models trained by gradient."""
    data, shape = parts(sizes.middle, sizes.dims[0])
    for name, more in (("mf", {}), ("lightgcn", {"n_layers": 2})):
        model = models.load(name)(
            dim=sizes.dims[0], init_scale=0.1, reg=1e-3, lr=0.01, batch_size=4096,
            n_epochs=sizes.epochs, loss="bpr", **more,
        )  # fmt: skip
        train = model.prepare(data.train)
        args = (jax.random.key(0), train, jnp.ones_like(train.values))
        _, seconds, compiling = timed(model.fit, *args, runs=3)
        yield Line(
            "epoch", name, f"{shape}, batches of 4096", seconds / sizes.epochs, "s", compiling
        )


def unlearning(sizes: Sizes) -> Iterator[Line]:
    """How many times faster unlearning is than training again, both to where they stop."""
    data, shape = parts(sizes.middle, sizes.dims[0])
    train, request = data.train, forget.random(jax.random.key(1), data.train, 0.01)[1]
    model = ials(sizes.dims[0], max_sweeps=15)
    yield from _against_retraining(
        "unlearn_als, 1 pass", model, {"max_sweeps": 1}, shape, train, request
    )
    model = models.load("mf")(
        dim=sizes.dims[0], init_scale=0.1, reg=1e-3, lr=0.01, batch_size=4096, n_epochs=20
    )
    yield from _against_retraining("ifru", model, {"damping": 1.0}, shape, train, request)


def _against_retraining(name, model, settings, shape, train, request):
    method = methods.load(name.partition(",")[0])(model, **settings)
    train, key = model.prepare(train), jax.random.key(0)
    (state, _), training, _ = timed(model.fit, key, train, request.before, runs=3)
    _, seconds, compiling = timed(method.unlearn, key, state, train, request, runs=3)
    yield Line("unlearning", f"{name}, seconds", shape, seconds, "s", compiling)
    yield Line("unlearning", f"{name}, retraining / unlearning", shape, training / seconds, "ratio")


def evaluation(sizes: Sizes) -> Iterator[Line]:
    """All measures of one model, with those against a reference."""
    for size in (sizes.small, sizes.middle):
        data, shape = parts(size, sizes.dims[0])
        pair = [workload(size, sizes.dims[0])[1] for _ in range(2)]
        ones = jnp.ones_like(data.train.values)

        def judge(factors, data, request, reference):
            return metrics.evaluate(factors, data, request, reference=reference)

        args = (pair[0], data, ForgetSet(ones, ones), pair[1])
        _, seconds, compiling = timed(judge, *args)
        yield Line("evaluation", "all measures", shape, seconds, "s", compiling)


def sweep(sizes: Sizes) -> Iterator[Line]:
    """Many cells together against one alone: training, training again, unlearning, measures."""
    data, shape = parts(sizes.small, sizes.dims[0])
    model = ials(sizes.dims[0], max_sweeps=15)
    method = methods.load("unlearn_als")(model, max_sweeps=3)

    def cell(key, data, request):
        state, _ = model.fit(key, data.train, request.before)
        goal, _ = model.fit(key, data.train, request.after)
        after, _ = method.unlearn(key, state, data.train, request)
        return metrics.evaluate(after, data, request, ks=(10,), reference=goal)

    jobs = []
    for number in range(sizes.cells):
        request = forget.random(jax.random.key(number), data.train, 0.01 * (1 + number % 8))[1]
        jobs.append(Job(cell, (jax.random.key(number), data, request)))
    seconds = {}
    for name, runner, some in (
        ("1 cell", Singly(Shelf()), jobs[:1]),
        (f"{len(jobs)} cells together", Batches(Shelf(), jax.local_devices()), jobs),
    ):
        first, *others = (_seconds(runner, some) for _ in range(6))
        seconds[name] = float(np.median(others))
        yield Line("sweep", name, shape, seconds[name], "s", first - seconds[name])
    one, many = seconds.values()
    yield Line("sweep", f"{len(jobs)} cells / 1 cell", shape, many / one, "ratio")


def _seconds(runner: Singly | Batches, jobs: list[Job]) -> float:
    start = time.perf_counter()
    runner.run(jobs)
    return time.perf_counter() - start


SECTIONS = (passes, sweep, agreement, unlearning, evaluation, epochs, kernels)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} bench device", description=__doc__)
    parser.add_argument("--small", action="store_true", help="sizes for a CPU")
    parser.add_argument("--out", default="results/bench/device.csv", help="the table")
    parser.add_argument("--only", nargs="*", choices=[f.__name__ for f in SECTIONS])
    options = parser.parse_args(argv)
    sizes = SMALL if options.small else ACCELERATOR
    facts = provenance.lasting()
    here = [*(facts[name] for name in ("device_kind", "jax", "jaxlib")), provenance.commit()]
    table = Measured(options.out, COLUMNS, KEY)
    for section in SECTIONS:
        if options.only and section.__name__ not in options.only:
            continue
        for line in section(sizes):
            peak = provenance.peak_memory()["peak_device_mb"]
            table.put([*line, peak, *here])
            print(
                f"{line.section:<24} {line.name:<40} {line.value:>10.4g} {line.unit}  {line.sizes}",
                flush=True,
            )
    return 0
