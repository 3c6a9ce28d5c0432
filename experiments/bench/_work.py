"""Made-up interactions of stated sizes, and the time of one program on them."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxforget import sparse
from jaxforget.types import Factors, Interactions, Split

from ..lab import clock
from . import _pairs


def timed(f: Callable, *args: Any, runs: int = 5) -> tuple[Any, float | None, float | None]:
    """The output of a program, the median of its seconds, and the seconds of its compilation."""
    clock.timed(f, *args)  # the first run of a program on a device loads it
    output, timing = clock.timed(f, *args, repeats=runs)
    return output, timing.run, timing.compile


@functools.cache
def interactions(n: int, n_users: int, n_items: int) -> Interactions:
    return _pairs.workload(n, 1, n_users=n_users, n_items=n_items)[0]


def workload(sizes: tuple[int, int, int], dim: int) -> tuple[Interactions, Factors, str]:
    """Interactions, factors to start from, and how large both are."""
    train, rng = interactions(*sizes), np.random.default_rng(dim)
    sides = (rng.normal(size=(n, dim)).astype(np.float32) / 10 for n in sizes[1:])
    shape = "{:,} interactions, {:,} x {:,}".format(*sizes)
    return train, Factors(*map(jnp.asarray, sides)), f"{shape}, k {dim}"


def parts(sizes: tuple[int, int, int], dim: int) -> tuple[Split, str]:
    """Training, validation and test interactions of one workload: 80, 10 and 10 percent."""
    train, _, shape = workload(sizes, dim)
    which = np.random.default_rng(1).choice(3, len(train.users), p=(0.8, 0.1, 0.1))
    columns = [np.asarray(x) for x in (train.users, train.items)]

    def part(number):
        users, items = (x[which == number] for x in columns)
        ones = np.ones(len(users), np.float32)
        return sparse.layout.build(users, items, ones, n_users=sizes[1], n_items=sizes[2])

    return Split(*map(part, range(3))), shape
