"""The folder of a stream of requests: its journal, and the state from which it goes on."""

import argparse
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Refused
from ..files import archive, clean, write_atomically
from . import _journal, _served, _served_table
from . import _receipt_files as receipts

STATE, JOURNAL, TABLE = "state.npz", "journal.jsonl", "table.npz"
SIDES = ("user", "item")


class Stream:
    """A session whose requests are on disk before they are met."""

    def __init__(self, folder: Path, table: Any, how: dict[str, Any], state: dict[str, Any]):
        self.folder, self.how = folder, how
        self.numbers = {
            side: {str(label): k for k, label in enumerate(labels.tolist())}
            for side, labels in zip(SIDES, (table.users, table.items))
        }
        self.columns: list[str] = []
        self.done, self.lines, self.last = int(state["done"]), 0, _journal.FIRST
        self.session = _session(table.train, how, state)
        self.entries = _journal.read(folder / JOURNAL)
        if self.done > len(self.entries):
            raise Refused(
                f"{folder / JOURNAL} has {len(self.entries)} requests, the state {self.done}: "
                "lines were lost; put the journal back"
            )

    def replay(self) -> int:
        """Meets what the journal has and the state has not; how many requests."""
        todo = self.entries[self.done :]
        for entry in todo:
            self._apply(entry)
        if self.entries:
            self.lines = sum(entry["lines"] for entry in self.entries)
            self.last = _journal.digest(self.entries[-1])
        return len(todo)

    def take_header(self, header: list[str]) -> None:
        """Says which columns the following requests have."""
        if not header or set(header) - set(SIDES) or len(set(header)) < len(header):
            raise Refused(f"requests, line 1: must be user, item, or user,item; got {header}")
        self.columns = header

    def meet(self, lines: list[list[str]]) -> str:
        """Writes a request into the journal, then meets it; says what was done."""
        rows = [dict(zip(self.columns, line)) for line in lines]
        found = [[self.numbers[side].get(row[side], -1) for side in self.columns] for row in rows]
        known = [ids for ids in found if min(ids) >= 0 and self._there(ids)]
        entry = {"request": self.done + 1, "lines": len(lines), "follows": self.last}
        entry |= {side: [ids[k] for ids in known] for k, side in enumerate(self.columns)}
        _journal.add(self.folder / JOURNAL, entry)
        self.last = _journal.digest(entry)
        self.lines += len(lines)
        told = self._apply(entry)
        missing = len(lines) - len(known)
        return told + (f", {missing} lines name nothing" if missing else "")

    def _there(self, ids: list[int]) -> bool:
        """Whether the table has an interaction of this user, this item or this pair."""
        train, given = self.session.train, dict(zip(self.columns, ids))
        if len(given) == 1:
            side = train.by_user if "user" in given else train.by_item
            start, end = np.asarray(side.indptr[ids[0] : ids[0] + 2])
            return bool(end > start)
        start, end = np.asarray(train.by_user.indptr[given["user"] : given["user"] + 2])
        return bool(np.isin(given["item"], np.asarray(train.items[start:end])))

    def _apply(self, entry: dict[str, Any]) -> str:
        """Meets one request of the journal, and checks the drift where it is time to."""
        import jax

        named = {f"{side}s": np.array(entry[side], np.int32) for side in SIDES if side in entry}
        told = "0 interactions"
        if len(next(iter(named.values()))):
            told = f"{self.session.erase(**named)['interactions']} interactions"
        self.done += 1
        if self.done % self.how["check"] == 0:
            drift = self.session.drift()["drift"]
            told += f", drift {drift:.2g}"
            if not drift <= self.how["budget"]:
                self.session.retrain(jax.random.key(self.done))
                told += ", trained anew"
        return told

    def save(self) -> None:
        """Writes the model to be served, and then the state."""
        session = self.session
        rows = (np.asarray(side).astype(self.how["dtype"]) for side in session.factors)
        factors = session.factors._replace(**dict(zip(("users", "items"), rows)))
        served = _served.Served(factors, self.how["settings"], self.how["text"])
        path = self.folder / f"model{self.how['suffix']}"
        write_atomically(path, _served.content(served, factors, path))
        how = np.frombuffer(_packed(self.how), np.uint8)
        state = {"done": self.done, "weights": session.weights, "how": how}
        for name in ("factors", "rest", "rhs"):
            for side, rows in zip(SIDES, getattr(session, name)):
                state[f"{name}_{side}"] = rows
        write_atomically(self.folder / STATE, archive(state))


@contextlib.contextmanager
def opened(folder: Path, args: argparse.Namespace | None) -> Iterator[Stream]:
    """The stream of a folder, begun as ``args`` say where they are given; for one process only."""
    if args is not None:
        table, how, state = _begin(args)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / JOURNAL).exists():
            raise Refused(f"{folder / JOURNAL} is there, but no {STATE}: put that back")
    with _locked(folder):
        clean(folder)
        if args is None:
            table = receipts.read(_read_table, folder / TABLE)
            state = receipts.read(_read_state, folder / STATE)
            how = _unpacked(state)
        else:
            write_atomically(folder / TABLE, _table_bytes(table))
        stream = Stream(folder, table, how, state)
        if args is not None:
            stream.save()
        yield stream


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps a second process out of the folder, where the system can."""
    if not folder.is_dir():
        raise Refused(f"{folder}: no such folder")
    with open(folder / ".lock", "wb") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except OSError:
            raise Refused(f"{folder}: another process is serving requests there") from None
        yield


def _begin(args: argparse.Namespace) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Reads the model and the table of the first call."""
    from . import _erased

    served = _served.model(args.model)
    objective = _served.objective(served, args, args.model)
    table = _served_table.read(args.interactions, served.factors, args)
    how = {
        "objective": objective,
        "tol": args.tol,
        "check": args.check,
        "budget": args.budget,
        "suffix": args.model.suffix,
        "settings": served.settings,
        "text": served.text,
        "dtype": str(served.factors.users.dtype),
    }
    state = {"done": 0}
    state |= {f"factors_{side}": rows for side, rows in zip(SIDES, served.factors)}
    try:
        model = _model(how, served.factors)
    except (ValueError, TypeError) as fault:
        raise Refused(f"{args.model}: {fault}") from fault
    if not args.trust:
        _erased.check_fit(args, model, table.train, served.factors)
    return table, how, state


def _model(how: dict[str, Any], factors: Any) -> Any:
    served = _served.Served(factors, how["settings"], how["text"])
    return _served.build(served, how["objective"])


def _session(train: Any, how: dict[str, Any], state: dict[str, Any]) -> Any:
    from jaxforget.erase import Session
    from jaxforget.types import Factors

    def both(name):
        pair = [state.get(f"{name}_{side}") for side in SIDES]
        return None if pair[0] is None else Factors(*pair)

    factors = both("factors")
    more = {"weights": state.get("weights"), "rest": both("rest"), "rhs": both("rhs")}
    return Session(_model(how, factors), factors, train, tol=how["tol"], **more)


def _packed(how: dict[str, Any]) -> bytes:
    """The settings of a stream as bytes; those of the model's file keep their types."""
    plain = {name: value for name, value in how.items() if name != "settings"}
    return json.dumps(plain).encode() + b"\n" + archive(how["settings"])


def _unpacked(state: dict[str, Any]) -> dict[str, Any]:
    plain, _, settings = state["how"].tobytes().partition(b"\n")
    with np.load(io.BytesIO(settings), allow_pickle=False) as arrays:
        return json.loads(plain) | {"settings": dict(arrays)}


def _table_bytes(table: Any) -> bytes:
    train = table.train
    arrays = {"users": train.users, "items": train.items, "values": train.values}
    arrays |= {"user_labels": table.users, "item_labels": table.items}
    arrays["shape"] = np.array([train.n_users, train.n_items])
    return archive(arrays)


def _read_table(path: Path) -> Any:
    from jaxforget.sparse import layout

    with np.load(path, allow_pickle=False) as arrays:
        columns = [arrays[name] for name in ("users", "items", "values")]
        n_users, n_items = arrays["shape"].tolist()
        labels = [arrays[f"{side}_labels"] for side in SIDES]
    train = layout.build(*columns, n_users=n_users, n_items=n_items)
    return _served_table.Table(train, *labels)


def _read_state(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
