"""What cells will take of a device's memory, as their compiled programs say.

Nothing is computed: a cell is led through its jobs with zeros in the place of every outcome.
"""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ..config.grid import Cell
from ..errors import Refused
from .clock import Timing, compiled, opened
from .jobs import Job, Outcome
from .programs import method_plug
from .setup import Laboratory

STAGES = ("training", "unlearning", "serving", "measures")  # what a cell asks for, in turn
CGROUP = Path("/sys/fs/cgroup")
ROOM = 0.8  # share of a device's free memory that a program may take


def of_program(program: Any) -> int:
    """Bytes that a compiled program takes on one device: arguments, results and temporaries."""
    found = program.memory_analysis()
    if found is None:  # a backend that does not tell
        return 0
    return found.temp_size_in_bytes + found.output_size_in_bytes + found.argument_size_in_bytes


def of_cell(lab: Laboratory, cell: Cell) -> dict[str, int]:
    """Bytes that the largest program of each stage of a cell takes, the interactions included.

    Raises:
      Skipped: the method does not serve the model.
    """
    row, needed = lab.judging.row(cell), []
    jobs = next(row)
    while jobs is not None:
        found = [_unrun(job) for job in jobs]
        needed.append(max(size for _, size in found))
        try:
            jobs = row.send([outcome for outcome, _ in found])
        except StopIteration:
            jobs = None
    return dict(zip(STAGES, needed, strict=True))


def of_states(lab: Laboratory, cells: list[Cell]) -> int:
    """Bytes that a cell holds while it waits for others: its three states and what they serve.

    Of cells of one model, those of the one that holds most.
    """
    one_each = {method_plug(cell.spec["method"]).recipe: cell for cell in cells}
    return 6 * max(_state(lab, cell) for cell in one_each.values())


def _state(lab: Laboratory, cell: Cell) -> int:
    """Bytes of what training returns; 0 where a cell fails in a way that is its own to tell."""
    try:
        trained = [opened(job.function, job.args) for job in next(lab.judging.row(cell))]
        states = [jax.eval_shape(shell, *args) for shell, args in trained]
    except Refused:
        raise
    except Exception:
        return 0
    return max(sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(one)) for one in states)


def _unrun(job: Job) -> tuple[Outcome, int]:
    """Zeros of the shapes that a job returns, and the bytes that its program takes."""
    shell, args = opened(job.function, job.args)
    program, _ = compiled(shell, *args)
    output = jax.tree.map(_zeros, jax.eval_shape(shell, *args))
    return Outcome(output, Timing(None, None)), of_program(program)


def _zeros(like: Any) -> jax.Array:
    if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0), like.shape)
    return jnp.zeros(like.shape, like.dtype)


def host_memory() -> int:
    """Bytes of memory that this process may still take; 8 GiB where the machine does not tell.

    What nobody uses, or what is left of the limit of a container (cgroup v2) where that is less.
    """
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        free = 8 << 30
    try:
        limit, used = (int((CGROUP / f"memory.{x}").read_text()) for x in ("max", "current"))
        rows = (line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        cached = int(dict(rows)["inactive_file"])  # of files, which goes when others need room
    except (OSError, ValueError, KeyError):  # no such container, or "max": no limit
        return free
    return max(0, min(free, limit - used + cached))


def free_memory(device: Any) -> float | None:
    """Bytes that a program may take; None where the backend does not tell."""
    stats = device.memory_stats() or {}
    limit = stats.get("bytes_limit")
    return None if limit is None else ROOM * (limit - stats.get("bytes_in_use", 0))
