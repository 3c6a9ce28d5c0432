"""The folder of a stream of requests: its journal, and the state from which it goes on."""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Refused
from ..files import archive, clean, write_atomically
from . import _beginning, _erased, _journal, _served, _state
from . import _receipt_files as receipts
from ._asked import SIDES, Line
from ._stream_folder import BEGINNING, JOURNAL, STATE, TABLE, locked, refuse_used

PARTS = STATE, JOURNAL, TABLE


class Stream:
    """A session whose requests are on disk before they are met."""

    def __init__(self, folder: Path, table: Any, how: dict[str, Any], state: dict[str, Any]):
        self.folder, self.how = folder, how
        labels = dict(zip(SIDES, (table.users, table.items)))
        self.numbers = {
            side: {label: k for k, label in enumerate(ids.tolist())} for side, ids in labels.items()
        }
        self.text = [side for side, ids in labels.items() if ids.dtype.kind not in "iu"]
        self.unfit = [np.asarray(state[f"unfit_{side}"]) for side in SIDES]
        self.done, self.table = int(state["done"]), str(state["table"])
        self.whole = True  # no request is met in part
        self.session = receipts.read(lambda _: _session(table.train, how, state), folder / STATE)
        # what the first line of the journal follows: so that no other stream's goes on from here
        self.last = self.first = _state.digest(_state.packed(how) + self.table.encode())
        sizes = dict(zip(SIDES, (table.train.n_users, table.train.n_items)))
        self.entries = _journal.read(folder / JOURNAL, self.first, sizes)
        if self.done > len(self.entries):
            raise Refused(
                f"{folder / JOURNAL} has {len(self.entries)} requests, the state {self.done}: "
                "lines were lost; put the journal back"
            )
        if self._digest(self.done) != str(state.get("journal", self.first)):
            raise Refused(
                f"{folder / JOURNAL}, line {self.done}: is not the request that {STATE} has met: "
                "one of the two was edited, or is of another stream; put it back"
            )

    def _digest(self, done: int) -> str:
        """Of the last of so many requests of the journal."""
        return _journal.digest(self.entries[done - 1]) if done else self.first

    def replay(self) -> int:
        """Meets what the journal has and the state has not; how many requests."""
        todo = self.entries[self.done :]
        for entry in todo:
            self._apply(entry)
        if self.entries:
            self.last = _journal.digest(self.entries[-1])
        return len(todo)

    def check(self, columns: list[str], lines: list[Line]) -> None:
        """Refuses lines that cannot be met, before the journal has them.

        They name all that is left, or people, or items, whose rows were not theirs when the stream
        began.
        """
        from jaxforget.prepare import forget

        known = self._known(columns, lines)
        if not known:
            return
        named = {f"{side}s": np.array(ids, np.int32) for side, ids in zip(columns, zip(*known))}
        train, before = self.session.train, self.session.weights
        _, request = forget.listed(train, before=before, **named)
        if not np.asarray(request.after).any():
            raise Refused(
                "the list of requests names every interaction: there is nothing to serve then"
            )
        _erased.refuse_unfit(self.unfit, train, request, "the list of requests", "the model")

    def meet(self, columns: list[str], lines: list[Line]) -> tuple[str, int]:
        """Writes a request into the journal, then meets it.

        Returns:
          what was done, and how many lines name nothing.
        """
        known = self._known(columns, lines)
        entry = {"request": self.done + 1, "lines": len(lines), "follows": self.last}
        entry |= {"read": lines[-1].number, "digest": lines[-1].digest}
        entry |= {side: [ids[k] for ids in known] for k, side in enumerate(columns)}
        _journal.add(self.folder / JOURNAL, entry)
        self.entries.append(entry)
        self.last = _journal.digest(entry)
        told, missing = self._apply(entry), len(lines) - len(known)
        return told + (f", {missing} lines name nothing" if missing else ""), missing

    def _known(self, columns: list[str], lines: list[Line]) -> list[list[int]]:
        """The numbers of what the lines name, without those that name nothing."""
        sides = [self.numbers[side] for side in columns]
        found = [[side.get(x, -1) for side, x in zip(sides, line.ids)] for line in lines]
        return [ids for ids in found if min(ids) >= 0 and self._there(columns, ids)]

    def _there(self, columns: list[str], ids: list[int]) -> bool:
        """Whether the table has an interaction of this user, this item or this pair."""
        train, given = self.session.train, dict(zip(columns, ids))
        if len(given) == 1:
            side = train.by_user if "user" in given else train.by_item
            start, end = np.asarray(side.indptr[ids[0] : ids[0] + 2])
            return bool(end > start)
        start, end = np.asarray(train.by_user.indptr[given["user"] : given["user"] + 2])
        return bool(np.isin(given["item"], np.asarray(train.items[start:end])))

    def _apply(self, entry: dict[str, Any]) -> str:
        """Meets one request of the journal, and checks the drift where it is time to."""
        named = {f"{side}s": np.array(entry[side], np.int32) for side in SIDES if side in entry}
        number, told = self.done + 1, "0 interactions"
        self.whole = False
        try:
            if len(next(iter(named.values()))):
                told = f"{self.session.erase(**named)['interactions']} interactions"
            if number % self.how["check"] == 0:
                told += self._check_drift(number)
        except ValueError as fault:
            raise Refused(f"request {number}, which is in the journal: {fault}") from fault
        self.done, self.whole = number, True
        return told

    def _check_drift(self, number: int) -> str:
        import jax

        drift = self.session.drift()["drift"]
        told = f", drift {drift:.2g}"
        if not drift <= self.how["budget"]:
            self.session.retrain(jax.random.key(number))
            self.unfit = [np.zeros_like(side) for side in self.unfit]
            told += ", trained anew"
        return told

    def save(self) -> None:
        """Writes the model to be served, and then the state.

        A request that was met in part is not saved: the journal has it, and it is met again.
        """
        if not self.whole:
            return
        session = self.session
        rows = (np.asarray(side).astype(self.how["dtype"]) for side in session.factors)
        factors = session.factors._replace(**dict(zip(("users", "items"), rows)))
        served = _served.Served(factors, self.how["settings"], self.how["text"])
        path = self.folder / f"model{self.how['suffix']}"
        write_atomically(path, _served.content(served, factors, path))
        how = np.frombuffer(_state.packed(self.how), np.uint8)
        state = {"done": self.done, "weights": session.weights, "how": how}
        state |= {"journal": self._digest(self.done), "table": self.table}
        state |= {f"unfit_{side}": rows for side, rows in zip(SIDES, self.unfit)}
        for name in _state.TABLES:
            for side, rows in zip(SIDES, getattr(session, name)):
                state[f"{name}_{side}"] = rows
        write_atomically(self.folder / STATE, archive(state))


@contextlib.contextmanager
def opened(folder: Path, args: argparse.Namespace, *, new: bool) -> Iterator[Stream]:
    """The stream of a folder, begun as ``args`` say where it is new; for one process only.

    Raises:
      Refused: what ``args`` say of the beginning is not how the stream began.
    """
    begun = _begun(folder, args) if new else None
    with locked(folder):
        clean(folder)
        if begun is None:
            stream = _gone_on(folder, args)
        else:
            stream, content = begun
            refuse_used(folder, args)  # another process may have begun one meanwhile
            (folder / BEGINNING).touch()
            write_atomically(folder / TABLE, content)
            stream.save()
        (folder / BEGINNING).unlink(missing_ok=True)
        yield stream


def _begun(folder: Path, args: argparse.Namespace) -> tuple[Stream, bytes]:
    """A new stream and its table, for a folder that is made once nothing can be refused."""
    refuse_used(folder, args)
    table, how, state = _beginning.of(args)
    content = _state.table_bytes(table)
    state["table"] = _state.digest(content)
    stream = Stream(folder, table, how, state)
    folder.mkdir(parents=True, exist_ok=True)
    return stream, content


def _gone_on(folder: Path, args: argparse.Namespace) -> Stream:
    """The stream that was begun in a folder."""
    state = receipts.read(_state.read, folder / STATE)
    how = receipts.read(lambda _: _state.unpacked(state["how"].tobytes()), folder / STATE)
    wanted = str(state["table"])
    table = receipts.read(lambda path: _state.read_table(path, wanted), folder / TABLE)
    _beginning.same(folder, how["began"], args)
    return Stream(folder, table, how, state)


def _session(train: Any, how: dict[str, Any], state: dict[str, Any]) -> Any:
    from jaxforget.erase import Session
    from jaxforget.types import Factors

    def both(name):
        pair = [state.get(f"{name}_{side}") for side in SIDES]
        return None if pair[0] is None else Factors(*pair)

    factors = both("factors")
    more = {"weights": state.get("weights"), "rest": both("rest"), "rhs": both("rhs")}
    more |= {"tol": how["tol"], "trust": True}  # who was erased before is asked at the beginning
    return Session(_beginning.model(how, factors), factors, train, **more)
