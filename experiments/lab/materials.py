"""What a cell learns from: its table, its split and its request, shared between cells."""

import dataclasses
import hashlib
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxforget import data
from jaxforget.prepare import forget, interop, preprocess, published, requests, split
from jaxforget.sparse import aligned
from jaxforget.types import ForgetSet, Interactions, Split, watch

from ..config.fields import INJECTED
from ..config.grid import Cell, canonical
from ..errors import Refused
from . import attack, provenance
from .clock import Recent
from .programs import Programs, keys, settings

SPLIT = ("data", "split", "dtype")  # what decides a split


class Prepared(NamedTuple):
    """One split of one data set, on the device, with the hash of its content."""

    split: Split
    users: np.ndarray  # labels of the user ids
    items: np.ndarray
    hash: str
    table: str  # hash of the table before it was split
    spam: attack.Injected | None = None  # its split is this one
    listed: requests.Listed | None = None  # likewise


def content_hash(parts: Split, users: np.ndarray, items: np.ndarray) -> str:
    """sha256 over the final arrays and labels: equal data, equal hash."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.n_users} {part.n_items} {part.values.shape}".encode())
        for array in (part.users, part.items, part.values):
            digest.update(np.ascontiguousarray(array).tobytes())
    for labels in (users, items):
        digest.update("\n".join(map(str, labels)).encode())
    return digest.hexdigest()


class Materials:
    """Tables, splits and requests of cells; the last few are kept."""

    def __init__(self, root: str, path: str | None, programs: Programs):
        self.root = root  # folder of the data sets
        self.path = path  # CSV of a request of kind "pairs" or "listed"
        self.programs = programs  # a model decides how its training data are laid out
        self._frames, self._splits = Recent(2), Recent(2)
        self._attacks, self._requests, self._trains = Recent(2), Recent(4), Recent(2)

    def frame(self, cell: Cell) -> Any:
        """The table of a cell's data after their preprocessing steps, with ``part`` where given."""
        spec, how = cell.spec["data"], cell.spec["split"]
        files = {part: how.get(part) for part in ("valid", "test")}

        def table(over: dict[str, Any]) -> Any:
            return data.read(spec["use"], self.root, **(settings(spec) | over))

        def compute():
            try:
                found = table({})
                if how["by"] == "files":
                    held = (None if over is None else table(over) for over in files.values())
                    found = published.join(found, *held)
                return preprocess.apply(found, spec["steps"])
            except (ValueError, TypeError, OSError, EOFError) as error:
                raise Refused(f"data {spec['use']}: {error}") from error

        return self._frames.get(canonical([spec, files]), compute)

    def prepared(self, cell: Cell) -> Prepared:
        """The split of one cell."""
        how = cell.spec["split"]

        def compute():
            table = self.frame(cell)
            try:
                if how["by"] == "files":
                    result = published.split_parts(table, cold=how["cold"])
                else:
                    result = split.split_frame(table, **how)
            except ValueError as error:
                raise Refused(f"split: {error}") from error
            parts = Split(*(_cast(part, cell.spec["dtype"]) for part in result.split))
            users, items = np.asarray(result.users), np.asarray(result.items)
            digest = content_hash(parts, users, items)
            return Prepared(parts, users, items, digest, provenance.table_hash(table))

        return self._splits.get(cell.key(*SPLIT), compute)

    def align(self, cells: list[Cell]) -> bool:
        """Lays the splits of some cells out alike, so that one program serves all of them.

        Only where all are of the same sizes and no request makes a split of its own; returns
        whether that is so.
        """
        splits = {cell.key(*SPLIT): cell for cell in cells}
        kinds = {cell.spec["request"]["kind"] for cell in cells}
        if len(splits) == 1 or kinds & {"listed", *INJECTED}:
            return False
        try:
            found = {key: self.prepared(cell) for key, cell in splits.items()}
            parts = zip(*(aligned.layouts(x) for x in zip(*(p.split for p in found.values()))))
        except (Refused, ValueError):  # of one split, which its own cells will tell; of sizes
            return False
        self._splits.size = max(self._splits.size, len(splits))
        for (key, old), some in zip(found.items(), parts, strict=True):
            self._splits.entries[key] = old._replace(split=Split(*some))
        for made in (self._attacks, self._requests, self._trains):  # of the layouts before
            made.size = max(made.size, 2 * len(splits))
            made.entries.clear()
        return True

    def attacked(self, cell: Cell) -> Prepared:
        """The split that is learnt from and judged on.

        With injected profiles where the request is an attack; where it is a list, without the
        validation and test rows that the list names.
        """
        how, clean = cell.spec["request"], self.prepared(cell)

        def compute():
            if how["kind"] == "listed":
                found = self._listed(clean, how["ignore_missing"])
                digest = content_hash(found.split, clean.users, clean.items)
                return clean._replace(split=found.split, hash=digest, listed=found)
            spam = attack.inject(keys(how["seed"])["request"], clean.split, how)
            if spam is None:
                return clean
            digest = content_hash(spam.split, clean.users, clean.items)
            new = range(spam.split.train.n_users - len(clean.users))
            users = np.concatenate([clean.users.astype(str), [f"planted-{n}" for n in new]])
            return clean._replace(split=spam.split, users=users, hash=digest, spam=spam)

        return self._attacks.get(cell.key("data", "split", "dtype", "request"), compute)

    def _listed(self, clean: Prepared, ignore_missing: bool) -> requests.Listed:
        """The list of a request, found in the split."""
        labels = clean.users, clean.items
        try:
            return requests.listed(
                self.path or "", clean.split, *labels, ignore_missing=ignore_missing
            )
        except (ValueError, OSError) as error:
            raise Refused(f"request: {error}") from error

    def request(self, cell: Cell) -> tuple[Interactions, ForgetSet]:
        """The training interactions (labels may be flipped) and the weights of a request."""
        prepared, model = self.attacked(cell), self.programs.model(cell.spec["model"])
        parts = prepared.split

        def ready():  # a recipe that stops on validation looks for it in train.valid
            return model.prepare(watch(parts.train, parts.valid))

        def compute():  # requests of one model are of the same arrays, which a batch then shares
            train = self._trains.get((prepared.hash, cell.key("model", "dtype")), ready)
            try:
                return self._weights(cell.spec["request"], prepared, train)
            except (ValueError, OSError) as error:
                raise Refused(f"request: {error}") from error

        key = cell.key("data", "split", "model", "request", "dtype")
        return self._requests.get(key, compute)

    def _weights(self, how, prepared, train):
        """Dispatches on the kind of a request."""
        if how["kind"] == "none":
            ones = jax.numpy.ones_like(train.values)
            return train, ForgetSet(ones, ones)
        if prepared.spam is not None:
            return train, attack.request(train, prepared.spam)
        if prepared.listed is not None:
            return forget.listed(train, users=prepared.listed.users, items=prepared.listed.items)
        if how["kind"] == "pairs":
            pairs = interop.read_pairs(self.path, prepared.users, prepared.items)
            return forget.pairs(train, *pairs)
        choose = getattr(forget, how["kind"])
        return choose(keys(how["seed"])["request"], train, how["ratio"], count=how["count"])


def _cast(part: Interactions, dtype: str) -> Interactions:
    return dataclasses.replace(part, values=part.values.astype(dtype))
