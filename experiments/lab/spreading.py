"""One model over the devices of all processes: its passes, and its checkpoints on disk.

Every process reads the same data and holds a part of the tables. After every few passes each
device's part is a file; a run that is started again with the same words goes on from the last pass
of which all parts are there.
"""

import functools
import hashlib
import os
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

from .. import files
from ..config.grid import Cell
from ..errors import Refused
from .clock import timed
from .programs import keys
from .setup import Laboratory

STAGES = ("trained", "unlearned", "retrained")


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
    words = f"{cell.id} {lab.materials.attacked(cell).hash} {n_devices}"
    identity = hashlib.sha256(words.encode()).hexdigest()
    return Work(train, start, stages, chosen["cg_steps"] or 0, identity)


def clear(folder: Path) -> None:
    """Removes what earlier calls wrote into a folder, and nothing else; all processes wait."""
    if jax.process_index() == 0:
        for stage in STAGES:
            for path in (*folder.glob(f".{stage}-*.npz"), folder / f"{stage}.npz"):
                path.unlink(missing_ok=True)
    multihost_utils.sync_global_devices("cleared")


class Checkpoints:
    """The tables after every few passes, a file for each device's part."""

    def __init__(self, folder: Path, identity: str, n_parts: int):
        self.folder, self.identity, self.n_parts = folder, identity, n_parts

    def write(self, stage: str, done: int, tables: Factors) -> None:
        """Writes the parts of this process, and removes its earlier ones once all are written."""
        rows = len(tables.users) // self.n_parts
        own = []
        for users, items in zip(*(t.addressable_shards for t in tables), strict=True):
            part = (users.index[0].start or 0) // rows
            arrays = {"users": users.data, "items": items.data, "identity": self.identity}
            files.write_atomically(self._path(stage, done, part), files.archive(arrays))
            own.append(part)
        multihost_utils.sync_global_devices(f"{stage} {done}")
        for part in own:
            for path in self.folder.glob(f".{stage}-*-{part:04d}.npz"):
                if path != self._path(stage, done, part):
                    path.unlink()

    def last(self, stage: str) -> int:
        """The last pass of which all parts are there; 0 if none is. All processes agree.

        Raises:
          Refused: a part is of other data, other settings or another number of devices.
        """
        found = sorted(self.folder.glob(f".{stage}-*.npz"))
        for path in found:
            with np.load(path, allow_pickle=False) as arrays:
                if str(arrays["identity"]) != self.identity:
                    why = "of other data, settings or devices; give another --out, or --force"
                    raise Refused(f"{path}: {why}")
        passes = [int(path.stem.split("-")[-2]) for path in found]
        whole = [n for n in set(passes) if passes.count(n) == self.n_parts]
        last = np.int32(max(whole, default=0))
        return int(multihost_utils.broadcast_one_to_all(last))

    def read(self, stage: str, done: int, part: int) -> Factors:
        """One device's part.

        Raises:
          Refused: it is not there.
        """
        path = self._path(stage, done, part)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return Factors(arrays["users"], arrays["items"])
        except FileNotFoundError:
            raise Refused(f"{path}: not there; all processes need one folder") from None

    def _path(self, stage: str, done: int, part: int) -> Path:
        return self.folder / f".{stage}-{done:06d}-{part:04d}.npz"


def run(todo: Work, there: Mesh, folder: Path, every: int) -> Iterator[tuple[str, int, int, float]]:
    """Takes all passes, from the last checkpoint on.

    Yields (stage, passes done, passes in all, seconds of a pass) after every checkpoint, and writes
    the factors of every stage, as ``interop.save_factors`` does, once it is done.
    """
    dealt = dealing.deal(todo.train, there.size)
    kept = Checkpoints(folder, todo.identity, there.size)
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
        temporary = path.with_suffix(".part")
        interop.save_factors(temporary, factors, dtype=factors.users.dtype)
        os.replace(temporary, path)
    multihost_utils.sync_global_devices(f"{stage.name} written")
