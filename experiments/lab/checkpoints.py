"""Checkpoints of a model over several devices, a file for each device's part."""

from pathlib import Path

import numpy as np
from jax.experimental import multihost_utils

from jaxforget.data import _whole
from jaxforget.types import Factors

from .. import files
from ..errors import Refused

STAGES = ("trained", "unlearned", "retrained")
ANEW = "give another --out, or --force"


class Checkpoints:
    """The tables after every few passes, a file for each device's part."""

    def __init__(self, folder: Path, identity: str, base: str, n_parts: int):
        self.folder, self.identity, self.base, self.n_parts = folder, identity, base, n_parts

    def check(self) -> None:
        """Refuses a folder with tables of another model: they would stand beside this one's.

        Finished tables do not say of what they are; the checkpoints beside them do.

        Raises:
          Refused: a file of any stage is of other data, another model or request, or is damaged; or
            there are finished tables, and no checkpoint.
        """
        found = sorted(x for stage in STAGES for x in self.folder.glob(f".{stage}-*.npz"))
        for path in found:
            if str(*_arrays(path, "base")) != self.base:
                raise Refused(f"{path}: of other data, settings or devices; {ANEW}")
        finished = [self.folder / f"{stage}.npz" for stage in STAGES]
        if not found and (there := [path for path in finished if path.exists()]):
            raise Refused(
                f"{there[0]}: is there without the checkpoints that say of what data and settings "
                f"it is; {ANEW}"
            )

    def write(self, stage: str, done: int, tables: Factors) -> None:
        """Writes the parts of this process, and removes its earlier ones once all are written."""
        rows = len(tables.users) // self.n_parts
        own = []
        for users, items in zip(*(t.addressable_shards for t in tables), strict=True):
            part = (users.index[0].start or 0) // rows
            path = self._path(stage, done, part)
            arrays = {"users": users.data, "items": items.data, "place": path.name}
            arrays |= {"identity": self.identity, "base": self.base}
            files.write_atomically(path, files.archive(arrays))
            own.append(part)
        multihost_utils.sync_global_devices(f"{stage} {done}")
        for part in own:
            for path in self.folder.glob(f".{stage}-*-{part:04d}.npz"):
                if path != self._path(stage, done, part):
                    path.unlink()

    def last(self, stage: str) -> int:
        """The last pass of which all parts are there; 0 if none is. All processes agree.

        Raises:
          Refused: a part is of other data, other settings, another number of devices, or another
            stage or pass than its name says.
        """
        found = sorted(self.folder.glob(f".{stage}-*.npz"))
        for path in found:
            self._arrays(path)
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
            return Factors(*self._arrays(path, "users", "items"))
        except FileNotFoundError:
            raise Refused(f"{path}: not there; all processes need one folder") from None

    def _arrays(self, path: Path, *names: str) -> list[np.ndarray]:
        """Arrays of a checkpoint, if it is one of this work, and the one that its name says."""
        identity, place, *found = _arrays(path, "identity", "place", *names)
        if str(identity) != self.identity:
            raise Refused(f"{path}: of other data, settings or devices; {ANEW}")
        if str(place) != path.name:
            raise Refused(f"{path}: was written as {place}; {ANEW}")
        return found

    def _path(self, stage: str, done: int, part: int) -> Path:
        return self.folder / f".{stage}-{done:06d}-{part:04d}.npz"


def _arrays(path: Path, *names: str) -> list[np.ndarray]:
    """Arrays of a file.

    Raises:
      Refused: it is damaged, or lacks one.
      FileNotFoundError: it is not there.
    """
    try:
        with _whole.arrays(path) as arrays:
            return [arrays[name] for name in names]
    except FileNotFoundError:
        raise
    except Exception as fault:  # a damaged archive raises anything
        told = " ".join(str(fault).split())
        raise Refused(f"{path}: no checkpoint that can be read ({told}); {ANEW}") from fault
