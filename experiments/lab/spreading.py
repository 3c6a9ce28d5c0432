"""One model over the devices of all processes: its passes, and its checkpoints on disk.

Every process reads the same data and holds a part of the tables. After every few passes each
device's part is a file; a run that is started again with the same words goes on from the last pass
of which all parts are there.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxforget.als import dealing, mesh
from jaxforget.prepare import interop
from jaxforget.types import Factors, Terms

from ..config.grid import Cell
from ..errors import Refused
from .checkpoints import STAGES, Checkpoints
from .clock import timed
from .programs import keys
from .setup import Laboratory


class Stage(NamedTuple):
    """Some passes on one objective."""

    name: str
    terms: Terms
    n_passes: int


class Work(NamedTuple):
    """What is to be computed of a cell."""

    train: Any
    start: Factors
    stages: list[Stage]
    cg_steps: int
    identity: str  # of the data, the settings and the number of devices
    base: str  # of the data, the model and the request alone: what the methods of a folder share


def work(lab: Laboratory, cell: Cell, n_devices: int) -> Work:
    """Reads the data of a cell and states its two objectives.

    Raises:
      Refused: the model or the method is not one of passes alone.
    """
    spec, method = cell.spec["model"], cell.spec["method"]
    model = lab.programs.model(spec)
    if model.refine is None or model.terms is None:
        raise Refused(f"{spec['use']}: only models trained by ALS are spread over devices")
    if method["use"] not in ("unlearn_als", "retrain"):
        raise Refused(f"{method['use']}: a mesh takes passes; choose unlearn_als or retrain")
    chosen = spec["settings"]
    again = chosen | {k: v for k, v in method["settings"].items() if v is not None}
    if again.get("variant", "untrain") != "untrain":
        raise Refused(f'{method["use"]}: a mesh takes variant = "untrain" alone')
    if chosen["tol"] or again["tol"] or chosen.get("solver", "als") != "als":
        raise Refused('a mesh takes max_sweeps passes: give tol = 0 and solver = "als"')
    train, request = lab.materials.request(cell)
    before, after = (model.terms(train, weights) for weights in request)
    start, _ = model.refine(keys(cell.spec["seed"])["fit"], train, before, max_sweeps=0)
    trained, unlearned, retrained = STAGES
    stages = [Stage(trained, before, chosen["max_sweeps"])]
    if method["use"] == "unlearn_als":
        stages.append(Stage(unlearned, after, again["max_sweeps"]))
    else:  # from the same start, without the request
        stages = [Stage(retrained, after, chosen["max_sweeps"])]
    data, rest = lab.materials.attacked(cell).hash, [n for n in cell.spec if n != "method"]
    words = f"{cell.id} {data} {n_devices}", f"{cell.key(*rest)} {data}"
    names = (hashlib.sha256(text.encode()).hexdigest() for text in words)
    return Work(train, start, stages, chosen["cg_steps"] or 0, *names)


def clear(folder: Path) -> None:
    """Removes what earlier calls wrote into a folder, and nothing else; all processes wait."""
    if jax.process_index() == 0:
        for stage in STAGES:
            for path in (*folder.glob(f".{stage}-*.npz"), folder / f"{stage}.npz"):
                path.unlink(missing_ok=True)
    multihost_utils.sync_global_devices("cleared")


def run(todo: Work, there: Mesh, folder: Path, every: int) -> Iterator[tuple[str, int, int, float]]:
    """Takes all passes, from the last checkpoint on.

    Yields (stage, passes done, passes in all, seconds of a pass) after every checkpoint, and writes
    the factors of every stage, as ``interop.save_factors`` does, once it is done.
    """
    dealt = dealing.deal(todo.train, there.size)
    kept = Checkpoints(folder, todo.identity, todo.base, there.size)
    kept.check()
    tables = _put(there, mesh.to_tables(dealt, todo.start))
    for stage in todo.stages:
        parts = mesh.spread(dealt, stage.terms)
        alone = NamedSharding(there, PartitionSpec())
        parts = mesh.Spread(*_put(there, parts[:2]), unobserved=_global(alone, parts.unobserved))
        done = kept.last(stage.name)
        if done:
            tables = _read(there, kept, stage.name, done, tables)
        while done < stage.n_passes:
            step = min(every, stage.n_passes - done)
            tables, timing = timed(_passes(there, step, todo.cg_steps), tables, parts)
            done += step
            kept.write(stage.name, done, tables)
            yield stage.name, done, stage.n_passes, timing.run / step
        _finish(kept, stage, dealt, todo, folder / f"{stage.name}.npz")


@functools.cache
def _passes(there: Mesh, step: int, cg_steps: int) -> Callable:
    """So many passes as one program."""

    def run(tables, parts):
        return mesh.descend(tables, parts, mesh=there, max_sweeps=step, cg_steps=cg_steps)

    return run


def _global(where: NamedSharding, array: Any) -> jax.Array:
    """An array over the devices of all processes, each of which has all of it."""
    held = np.asarray(array)
    return jax.make_array_from_callback(held.shape, where, lambda index: held[index])


def _put(there: Mesh, tree: Any) -> Any:
    return jax.tree.map(lambda x: _global(mesh.sharding(there), x), tree)


def _read(there: Mesh, kept: Checkpoints, stage: str, done: int, like: Factors) -> Factors:
    """The tables of a checkpoint."""

    def table(side: int, shape: tuple[int, ...]) -> jax.Array:
        rows = shape[0] // there.size

        def part(index):
            return kept.read(stage, done, (index[0].start or 0) // rows)[side]

        return jax.make_array_from_callback(shape, mesh.sharding(there), part)

    return Factors(*(table(side, x.shape) for side, x in enumerate(like)))


def _finish(kept: Checkpoints, stage: Stage, dealt: dealing.Dealt, todo: Work, path: Path) -> None:
    """The first process writes the factors of a stage in the order of the data."""
    if jax.process_index() == 0:
        parts = [kept.read(stage.name, stage.n_passes, part) for part in range(kept.n_parts)]
        tables = Factors(*(np.concatenate(side) for side in zip(*parts, strict=True)))
        factors = mesh.from_tables(dealt, Factors(*map(jax.numpy.asarray, tables)), todo.train)
        interop.save_factors(path, factors, dtype=factors.users.dtype)
    multihost_utils.sync_global_devices(f"{stage.name} written")
