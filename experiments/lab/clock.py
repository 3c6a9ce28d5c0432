"""The only stopwatch: compiles outside, blocks inside, and keeps the two apart."""

import itertools
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax

from . import compilation


class Recent:
    """A cache of the entries used last."""

    def __init__(self, size: int):
        self.size, self.entries = size, OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The entry under this key, computed now where there is none."""
        if key not in self.entries:
            self.entries[key] = compute()
            while len(self.entries) > self.size:
                self.entries.popitem(last=False)
        self.entries.move_to_end(key)
        return self.entries[key]


class Program(NamedTuple):
    """A function that compiles once, and the numbers to call it with."""

    shell: Callable  # (numbers, *args)
    numbers: dict[str, dict[str, float]]


def opened(f: Callable | Program, args: tuple) -> tuple[Callable, tuple]:
    """The function that is compiled, and all its arguments: a program's numbers come first."""
    return (f.shell, (f.numbers, *args)) if isinstance(f, Program) else (f, args)


class Timing(NamedTuple):
    """Seconds of one compilation, and of one run (median).

    None where cells shared a run, and for a program that an earlier process had compiled.
    """

    compile: float | None
    run: float | None


_programs = Recent(64)  # (compiled program, seconds its compilation took)

# Every compiled program takes some hundred memory maps, of which Linux gives a process 65,530; JAX
# keeps programs in caches of its own even when nobody else does, so these are emptied now and then.
KEPT_BY_JAX = 32
_counter = itertools.count(1)


def _compile(f: Callable, args: tuple) -> tuple[Any, float | None]:
    if next(_counter) % KEPT_BY_JAX == 0:
        jax.clear_caches()
    found, start = compilation.hits(), time.perf_counter()
    program = jax.jit(f).lower(*args).compile()
    seconds = time.perf_counter() - start
    return program, None if compilation.hits() > found else seconds


def compiled(f: Callable, *args: Any) -> tuple[Any, float | None]:
    """The compiled program of ``f`` at these shapes, and the seconds its compilation took, if any.

    It is compiled once: another call with the same function object at the same shapes finds it.
    """
    return _programs.get((f, shapes(args)), lambda: _compile(f, args))


def shapes(args: Any) -> Hashable:
    """What arguments must have in common to be served by one program."""
    leaves, tree = jax.tree.flatten(jax.tree.map(lambda x: jax.typeof(x), args))
    return tree, tuple(leaves)


def timed(f: Callable | Program, *args: Any, repeats: int = 1) -> tuple[Any, Timing]:
    """Runs ``f(*args)`` as one compiled program and says how long that took.

    One compilation serves every call of the same function at the same shapes, so a sweep over
    requests compiles once; each such call reports the seconds that one compilation took, which
    is what a lone request would have paid.

    Args:
      f: a pure function of pytrees; must be the same object for a compilation to be shared. Of a
        ``Program`` the numbers are arguments, so a sweep over them shares one compilation too.
      *args: arrays, never closed over, or they would become constants of the program.
      repeats: timed runs; the median is reported.

    Returns:
      (output, Timing), the output on the device and ready.
    """
    f, args = opened(f, args)
    program, compiling = compiled(f, *args)
    jax.block_until_ready(args)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        output = jax.block_until_ready(program(*args))
        seconds.append(time.perf_counter() - start)
    return output, Timing(compiling, statistics.median(seconds))
