"""Runs jobs that share a program as one call of it, with the jobs as an axis of its arguments.

The axis is dealt to the devices of this host, each of which computes its jobs side by side
(``jax.vmap``) on an accelerator, one at a time on a CPU, which one job keeps busy. No device waits
for another: the batched program holds no collective.
"""

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from jaxforget.types import Interactions

from . import memory
from .clock import Timing, compiled, opened, shapes
from .jobs import Job, Outcome, Shelf

AXIS = "cells"
MOST = 64  # cells of a batch where nobody says: what an interrupted run computes again
WAITING = 0.25  # share of the host's free memory for cells that wait for each other
UNTIMED = Timing(None, None)


class Arguments(NamedTuple):
    """The arguments of some jobs of one program, by whether the jobs have them in common."""

    tree: Any
    shared: tuple[bool, ...]  # of each leaf
    common: list[Any]  # leaves that are one and the same object in every job
    own: list[list[Any]]  # per job, the other leaves


class Batches:
    """Runs jobs together; counts the seconds that took, as no job has seconds of its own."""

    def __init__(self, shelf: Shelf, devices: list[Any], most: int | None = None):
        self.shelf, self.devices, self.most = shelf, devices, most
        self.mesh = Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Explicit,))
        self._widths: dict[Any, int] = {}  # jobs per device, of each program
        self.seconds = self.compiling = 0.0
        self.own_data = False  # the jobs to come have interactions of their own, even where equal

    def cells_at_once(self, train: Interactions, states: int) -> int:
        """How many cells may wait for each other, with their requests and ``states`` bytes each.

        So many, where nobody says, that all of them fit a part of the host's memory.
        """
        each = 16 * len(train.users) + states
        each += self.own_data * sum(x.nbytes for x in jax.tree.leaves(train))
        return max(1, min(MOST, int(WAITING * memory.host_memory() / each)))

    def run(self, jobs: list[Job]) -> list[Outcome]:
        """The outcomes of the jobs, in their order; of jobs of one name one is run."""
        names = [job.name or number for number, job in enumerate(jobs)]
        wanted = dict(zip(names, jobs, strict=True))
        found = {name: self.shelf.find(job.name) for name, job in wanted.items()}
        missing = {name: job for name, job in wanted.items() if found[name] is None}
        for shell, alike in _by_program(missing):
            outputs = self._together(shell, list(alike.values()))
            for name, output in zip(alike, outputs, strict=True):
                found[name] = Outcome(output, UNTIMED)
        return [self.shelf.keep(job.name, found[name]) for name, job in zip(names, jobs)]

    def _together(self, shell: Callable, jobs: list[tuple]) -> Iterator[Any]:
        """The outputs of one program for the arguments of some jobs, on the host."""
        arguments = _sorted(jobs, self.own_data)
        common = [self._put(x, PartitionSpec()) for x in arguments.common]
        width, program = self._fitting(shell, arguments, common)
        step = width * len(self.devices)
        for first in range(0, len(jobs), step):
            some = arguments.own[first : first + step]
            stacked = self._stacked(some + some[-1:] * (step - len(some)))  # padding is dropped
            start = time.perf_counter()
            output = jax.block_until_ready(program(stacked, common))
            self.seconds += time.perf_counter() - start
            yield from _unstacked(output, len(some))

    def _fitting(self, shell: Callable, arguments: Arguments, common: list[Any]):
        """How many jobs a device takes at a time, and the program compiled for as many."""
        key = (shell, arguments.shared, shapes((arguments.own[0], common)))
        room = memory.free_memory(self.devices[0])
        known = key in self._widths
        width = self._widths[key] if known else self._wanted(len(arguments.own))
        while True:
            body = _batched(shell, arguments.tree, arguments.shared, width > 1, self.mesh)
            program, seconds = compiled(body, self._shapes(arguments.own[0], width), common)
            self.compiling += 0 if known else seconds or 0
            needed = memory.of_program(program)
            if known or width == 1 or room is None or needed <= room:
                self._widths[key] = width
                return width, program
            width = max(1, min(width - 1, int(width * room / needed)))

    def _shapes(self, job: list[Any], width: int) -> list[Any]:
        """What the own arguments of a full batch look like."""
        where = self._sharding(PartitionSpec(AXIS))
        return [
            jax.ShapeDtypeStruct(
                (width * len(self.devices), *jnp.shape(x)), _dtype(x), sharding=where
            )
            for x in job
        ]

    def _wanted(self, count: int) -> int:
        """Jobs per device if memory is no matter: equal shares, so that little is padding."""
        if self.devices[0].platform == "cpu":
            return 1
        each = -(-count // len(self.devices))
        return -(-each // -(-each // (self.most or MOST)))

    def _stacked(self, jobs: list[list[Any]]) -> list[Any]:
        """The own arguments of some jobs, with the jobs as the first axis."""
        return [self._put(_stack(leaves), PartitionSpec(AXIS)) for leaves in zip(*jobs)]

    def _put(self, array: Any, spec: PartitionSpec) -> Any:
        return jax.device_put(array, self._sharding(spec))

    def _sharding(self, spec: PartitionSpec) -> Any:
        """Over the devices; of one device alone nothing is to be said in the types of arrays."""
        if len(self.devices) == 1:
            return SingleDeviceSharding(self.devices[0])
        return NamedSharding(self.mesh, spec)


@functools.cache
def _batched(shell: Callable, tree: Any, shared: tuple[bool, ...], wide: bool, mesh: Mesh):
    """``(own, common) -> outputs`` of the shell for every job: one function object per program."""

    def one(own, common):
        own, common = iter(own), iter(common)
        return shell(*tree.unflatten([next(common if s else own) for s in shared]))

    def on_device(own, common):
        if checked:  # or the gradient by what all devices hold were added up over them
            common = jax.lax.pcast(common, AXIS, to="varying")
        if wide:
            return jax.vmap(one, in_axes=(0, None))(own, common)
        return jax.tree.map(lambda x: x[None], one([x[0] for x in own], common))

    # of a condition that is batched jax refuses branches with constants, where it checks types
    checked = mesh.size > 1 and not wide
    if mesh.size == 1:
        return on_device
    specs = {"in_specs": (PartitionSpec(AXIS), PartitionSpec()), "out_specs": PartitionSpec(AXIS)}
    return jax.shard_map(on_device, mesh=mesh, check_vma=checked, **specs)


def _by_program(jobs: dict[Any, Job]) -> list[tuple[Callable, dict[Any, tuple]]]:
    """The functions that are compiled, each with the arguments of its jobs by their names."""
    groups: dict[Any, dict[Any, tuple]] = {}
    for name, job in jobs.items():
        shell, args = opened(job.function, job.args)
        groups.setdefault((shell, shapes(args)), {})[name] = args
    return [(shell, alike) for (shell, _), alike in groups.items()]


def _sorted(jobs: list[tuple], own_data: bool) -> Arguments:
    """Finds what jobs have in common: interactions, where they are the very same arrays.

    Nothing where all have ``own_data``. Everything else is a job's own even where it is equal, so
    that one program serves all batches.
    """
    flat = [jax.tree.flatten(arguments) for arguments in jobs]
    leaves, tree = [x for x, _ in flat], flat[0][1]
    nodes = jax.tree.leaves(jobs[0], is_leaf=lambda node: isinstance(node, Interactions))
    data = [isinstance(node, Interactions) for node in nodes for _ in jax.tree.leaves(node)]
    columns = zip(*leaves, strict=True)
    if own_data:
        data = [False] * len(data)
    shared = [d and all(x is c[0] for x in c) for d, c in zip(data, columns, strict=True)]
    own = [[x for x, s in zip(row, shared, strict=True) if not s] for row in leaves]
    common = [x for x, s in zip(leaves[0], shared, strict=True) if s]
    return Arguments(tree, tuple(shared), common, own)


def _stack(leaves: Iterable[Any]) -> Any:
    """Some arrays, keys or Python numbers as one array, in the precision they have as arguments."""
    leaves = list(leaves)
    dtype = _dtype(leaves[0])
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return jnp.stack(leaves)
    return np.stack([np.asarray(x, dtype) for x in jax.device_get(leaves)])  # all copied at once


def _dtype(leaf: Any) -> Any:
    """As an argument of a program; Python's whole numbers are counts, which are int32 here."""
    return np.dtype(np.int32) if type(leaf) is int else jax.typeof(leaf).dtype


def _unstacked(output: Any, count: int) -> Iterator[Any]:
    """The outputs of the first jobs, on the host: what comes next is stacked anew."""
    leaves, tree = jax.tree.flatten(output)
    rows = [_on_host(x) for x in leaves]
    return (tree.unflatten([x[number] for x in rows]) for number in range(count))


def _on_host(array: Any) -> Any:
    """Numbers as NumPy's; keys, of which NumPy has none, on one device."""
    if not jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return np.asarray(array)
    numbers = np.asarray(jax.random.key_data(array))
    return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(array))
