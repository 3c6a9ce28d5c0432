"""Seconds and memory from one million interactions up, on this machine: a table and a figure.

Made-up interactions with long tails; users and items grow with them, 130 and 670 interactions
each. Every size is measured in a process of its own, whose peak of memory is then its own: it reads
the interactions from a file, as a user would, builds the layout, and takes each product and each
pass a few times, of which the median counts. ``growth`` is the time per interaction over that at
the smallest size: 1 is linear. Measuring a model visits users times items and is timed only where
they are at most ten million interactions' worth.
"""

import argparse
import functools
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from .. import frames
from ..errors import PROGRAM, Refused
from ._options import count

SIZES = (1_000_000, 10_000_000, 50_000_000)
PER_USER, PER_ITEM = 130, 670
EVALUATED = 10_000_000
COLUMNS = ["stage", "interactions", "users", "items", "dim", "seconds", "growth", "peak_mb"]
COLUMNS += ["device", "jax", "jaxlib", "commit"]
ALIKE = ["stage", "dim", "device"]  # what rows share that differ in size


def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of ``n`` made-up interactions, without repetition."""
    n_users, n_items = n // PER_USER, n // PER_ITEM
    rng = np.random.default_rng(0)
    totals = [np.cumsum((np.arange(size) + 30.0) ** -0.9) for size in (n_users, n_items)]
    pairs = np.zeros(0, np.int64)
    while len(pairs) < n:
        drawn = [np.searchsorted(t, rng.random(n) * t[-1]) for t in totals]
        pairs = np.append(pairs, drawn[0] * n_items + drawn[1])
        pairs.sort()
        pairs = pairs[np.append(True, np.diff(pairs) > 0)]
    users, items = np.divmod(rng.permutation(pairs)[:n], n_items)
    return users.astype(np.int32), items.astype(np.int32)


def measure(folder: Path, dim: int, runs: int) -> None:
    """Prints a line for every stage of the interactions in a folder: stage, seconds, peak."""
    import jax
    import jax.numpy as jnp

    from jaxforget import als, metrics, sparse
    from jaxforget.types import Factors, ForgetSet, Split

    from ..lab import provenance
    from ._work import timed

    users, items = (np.load(folder / f"{side}.npy") for side in ("users", "items"))
    n, n_users, n_items = len(users), len(users) // PER_USER, len(users) // PER_ITEM

    def tell(stage: str, seconds: float) -> None:
        peak = provenance.peak_memory()["peak_memory_mb"]
        print(stage, n, n_users, n_items, seconds, peak, sep="\t", flush=True)

    def build(part: Any) -> Any:
        ones = np.ones(len(users[part]), np.float32)
        sizes = {"n_users": n_users, "n_items": n_items}
        return jax.block_until_ready(sparse.layout.build(users[part], items[part], ones, **sizes))

    start = time.perf_counter()
    train = build(slice(None))
    tell("layout", time.perf_counter() - start)
    rng = np.random.default_rng(1)
    start = (0.1 * rng.normal(size=(size, dim)) for size in (n_users, n_items))
    factors = Factors(*(jnp.asarray(rows, jnp.float32) for rows in start))
    ones = jnp.ones_like(train.values)
    terms = als.implicit(train, ones, reg=20.0, alpha=8.0)
    spmm = functools.partial(sparse.spmm, by="user")
    tell("spmm", timed(spmm, train, ones, factors.items, runs=runs)[1])
    tell("sddmm", timed(sparse.sddmm, train, *factors, runs=runs)[1])
    for stage, steps in (("ALS pass, CG, 3 steps", 3), ("ALS pass, exact", 0)):
        take = functools.partial(als.alternate, cg_steps=steps)
        tell(stage, timed(take, factors, train, terms, runs=runs)[1])
    if n <= EVALUATED:
        part = build(slice(0, n // 10))
        judge = functools.partial(metrics.evaluate, ks=(10,))
        args = (factors, Split(train, part, part), ForgetSet(ones, ones))
        tell("evaluation", timed(judge, *args, runs=1)[1])


def table(sizes: list[int], dim: int, runs: int) -> list[list[Any]]:
    """The rows of all sizes, each measured in a process of its own."""
    from ..lab import provenance

    facts = provenance.lasting()
    here = [*(facts[name] for name in ("device_kind", "jax", "jaxlib")), provenance.commit()]
    rows, least = [], {}
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            for side, ids in zip(("users", "items"), draw(n), strict=True):
                np.save(Path(folder) / f"{side}.npy", ids)
            command = [sys.executable, "-m", "experiments", "bench", "scale", "--measure", folder]
            done = subprocess.run(
                [*command, "--dim", str(dim), "--runs", str(runs)],
                stdout=subprocess.PIPE,
                text=True,
                check=False,
                cwd=Path(__file__).parents[2],
            )
        if done.returncode:
            raise Refused(f"{n:,} interactions: the process that measures them ended with an error")
        for line in done.stdout.splitlines():
            stage, *numbers, seconds, peak = line.split("\t")
            each = float(seconds) / n
            growth = each / least.setdefault(stage, each)
            rows.append(
                [stage, *map(int, numbers), dim, float(seconds), growth, float(peak), *here]
            )
            print(f"{stage:<24} {n:>12,} {float(seconds):9.3g} s  {growth:5.2f}  {peak:>8} MB")
    return rows


def grow(rows: list[dict[str, Any]]) -> None:
    """Sets ``growth`` in all rows of a table."""
    first: dict[tuple, float] = {}
    for row in sorted(rows, key=lambda row: row["interactions"]):
        each = row["seconds"] / row["interactions"]
        row["growth"] = each / first.setdefault(tuple(row[name] for name in ALIKE), each)


def picture(path: Path, dim: int, device: str) -> None:
    """Draws the rows of one dimension and device: seconds and memory, on logarithmic axes."""
    from ..figures import _plot

    found = frames.read(path).sort_values("interactions", kind="stable")
    found = found[(found["dim"] == dim) & (found["device"] == device)]
    with _plot.style():
        figure, axes = _plot.grid(1, 2)
        left, right = axes[0]
        looks = _plot.looks(list(dict.fromkeys(found["stage"])))
        for stage, look in looks.items():
            rows = found[found["stage"] == stage]
            left.plot(rows["interactions"], rows["seconds"], label=stage, **look)
        peak = found.groupby("interactions")["peak_mb"].max() / 1024
        right.plot(peak.index, peak, color=_plot.COLOURS[0], marker="o")
        for axis, name in ((left, "seconds"), (right, "peak memory, GiB")):
            axis.set(xscale="log", yscale="log", xlabel="interactions", ylabel=name)
        _plot.legend(figure, axes)
        _plot.note(figure, f"{device}, {dim} factors; n = 1 run of each size")
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} bench scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", nargs="+", type=count, default=list(SIZES), metavar="n")
    parser.add_argument("--dim", type=count, default=64)
    parser.add_argument("--runs", type=count, default=3, help="timed runs of each stage")
    parser.add_argument("--out", default="results/bench/scale.csv", help="the table")
    parser.add_argument("--measure", metavar="folder", help="of one size; what the others run")
    options = parser.parse_args(argv)
    if options.measure:
        measure(Path(options.measure), options.dim, options.runs)
        return 0
    if min(options.sizes) < PER_ITEM:
        raise Refused(f"--sizes {min(options.sizes)}: expected at least {PER_ITEM} interactions")
    from ._rows import Measured

    kept = Measured(options.out, COLUMNS, [*ALIKE, "interactions"])
    lines = table(options.sizes, options.dim, options.runs)
    kept.put(*lines)
    rows = kept.rows
    grow(rows)
    kept.put(*(list(row.values()) for row in rows))
    picture(kept.path, options.dim, lines[0][COLUMNS.index("device")])
    print(f"{options.out} .svg")
    return 0
