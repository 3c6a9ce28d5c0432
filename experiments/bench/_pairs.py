"""What the benchmarks share: a workload of stated size, and timing of two rivals in turns."""

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget.sparse import layout
from jaxforget.types import Factors, Interactions

from ..lab import provenance


def workload(
    n: int, dim: int, *, n_users: int = 6040, n_items: int = 3706
) -> tuple[Interactions, Factors]:
    """About ``n`` interactions with long-tailed users and items, as in MovieLens-1M, 4+ stars."""
    rng = np.random.default_rng(0)
    weights = [(np.arange(size) + 30.0) ** -0.9 for size in (n_users, n_items)]
    pairs = np.zeros(0, np.int64)
    while len(pairs) < n:
        drawn = [rng.choice(len(w), n, p=w / w.sum()) for w in weights]
        pairs = np.sort(np.append(pairs, drawn[0] * n_items + drawn[1]))
        pairs = pairs[np.append(True, np.diff(pairs) > 0)]  # many times faster than np.unique
    users, items = np.divmod(rng.permutation(pairs)[:n], n_items)
    train = layout.build(users, items, rng.integers(1, 6, n) / 2, n_users=n_users, n_items=n_items)
    factors = (0.1 * rng.normal(size=(size, dim)) for size in (n_users, n_items))
    return train, Factors(*(jnp.asarray(part, jnp.float32) for part in factors))


def seconds(f: Callable[[], Any]) -> float:
    """Times one call to its end; compile it first."""
    start = time.perf_counter()
    jax.block_until_ready(f())
    return time.perf_counter() - start


def compare(
    ours: Callable[[], Any], theirs: Callable[[], Any], *, runs: int = 9, calls: int = 1
) -> dict[str, float]:
    """Runs the two in turns, so that a machine whose speed drifts slows both.

    Each is run once untimed before it is timed: a solver calls a kernel many times in a row, and
    the first call after the rival's pays for the caches and the memory that the rival has used.

    Args:
      calls: timed together in a turn, one after the other; the mean of a turn counts.

    Returns:
      median milliseconds of each, and the median, lowest and highest ratio theirs / ours.
    """

    def steady(f):
        seconds(f)
        return sum(seconds(f) for _ in range(calls)) / calls

    for f in (ours, theirs):  # compile
        seconds(f)
    pairs = [(steady(ours), steady(theirs)) for _ in range(runs)]
    ratios = [b / a for a, b in pairs]
    return {
        "ours_ms": 1e3 * statistics.median(a for a, _ in pairs),
        "theirs_ms": 1e3 * statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }


def heading(title: str, sizes: str, *libraries: str) -> str:
    """Device, versions and sizes: what a quoted ratio must name."""
    device = jax.devices()[0]
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", *libraries)
    )
    machine = f"{device.platform} ({device.device_kind}), {platform.machine()}"
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    pages = "huge pages" if provenance.HUGE_PAGES in tunables else "plain pages"
    python = f"Python {platform.python_version()}"
    return f"{title}\n  {sizes}\n  {machine}, {python}; {versions}; {pages}\n"


def line(name: str, rival: str, timing: dict[str, float], target: str = "") -> str:
    """One row: how many times faster than the rival, median and range over the pairs."""
    row = (
        f"  {name:<26} {timing['ours_ms']:>9.2f} ms   {rival:<24} {timing['theirs_ms']:>9.2f} ms   "
        f"{timing['ratio']:>6.2f}x  [{timing['low']:.2f}, {timing['high']:.2f}]"
    )
    return f"{row}   {target}".rstrip()
