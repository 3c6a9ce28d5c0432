"""Host: deletion requests as files of original ids, numbered as the data are.

A file is a CSV with the columns ``user`` and ``item`` or, where its name ends in ``.inter`` or
``.inter.gz``, one of RecBole with the fields ``user_id`` and ``item_id``: the form in which forget
sets are published (ERASE, arXiv 2603.08341).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxforget._checks import shorten
from jaxforget.data._formats import read_delimited, read_recbole, recbole_header
from jaxforget.data._lines import Layout, first_record, problem, records
from jaxforget.sparse import layout
from jaxforget.types import Interactions, Split

RECBOLE = {"user_id": "user", "item_id": "item"}  # the fields of a .inter, others are not read


class Listed(NamedTuple):
    """A request as a list of ids, found in a split."""

    split: Split  # its validation and test parts without the rows that the request names
    users: np.ndarray | None  # [R] int32, for ``forget.listed``; None: the request names items
    items: np.ndarray | None  # [R] int32; None: it names users
    counts: dict[str, int]  # lines asked for; rows named in train, valid, test; lines missing


def read_pairs(
    path: str | Path, user_labels: np.ndarray, item_labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a deletion request: pairs of original ids.

    Args:
      path: a CSV with the header ``user,item``, or a ``.inter`` of RecBole; ``.gz`` and
        ``archive.zip!member`` work.
      user_labels: ``[U]`` original user ids, as ``encode`` returned them.
      item_labels: ``[I]`` original item ids.

    Returns:
      Two int32 vectors, for ``forget.pairs``.

    Raises:
      ValueError: a bad line, or ids that are not in the data, the first few of them by name.

    Example: ``users, items = read_pairs("request.csv", user_labels, item_labels)``
    """
    labels = {"user": np.asarray(user_labels), "item": np.asarray(item_labels)}
    text = [side for side, ids in labels.items() if not np.issubdtype(ids.dtype, np.integer)]
    if is_recbole(path):
        frame = read_recbole(path, value=None, time=None, text=text)
    else:
        frame = read_delimited(path, {"user": "user", "item": "item"}, text=text)
    users, items = (_numbers(frame[side].tolist(), labels[side]) for side in ("user", "item"))
    absent = np.flatnonzero((users < 0) | (items < 0))
    if len(absent):
        first = [(frame["user"][row], frame["item"][row]) for row in absent[:3].tolist()]
        listed = ", ".join(f"({user}, {item})" for user, item in first)
        raise ValueError(
            f"{path}: {len(absent)} pairs are not in the data, among them {listed}: remove them, "
            "or check that the ids are those of the data file"
        )
    return users, items


def listed(
    path: str | Path,
    parts: Split,
    user_labels: np.ndarray,
    item_labels: np.ndarray,
    *,
    ignore_missing: bool = False,
) -> Listed:
    """Finds what a list asks to forget: users, items, or pairs, by their original ids.

    The header says which: ``user`` names whole users, ``item`` whole items, both name pairs; other
    columns are not read, and must not have names that begin so (``user_name``, ``Item``). What the
    list names in the validation and test parts is dropped there, so that nobody is measured, and
    nothing stopped, by rows of the erased.

    Args:
      path: the CSV, or a ``.inter`` of RecBole; ``.gz`` and ``archive.zip!member`` work.
      parts: a split over the numbers that the labels stand for.
      user_labels: ``[U]`` original user ids.
      item_labels: ``[I]`` original item ids.
      ignore_missing: leaves out lines that name nothing in the three parts, and counts them.

    Returns:
      The split that is left, the ids for ``forget.listed``, and the counts.

    Raises:
      ValueError: a header without ``user`` and ``item``, or with a name much like them; a bad
        line, lines that name nothing in the three parts (the first of them as they stand), or
        nothing named in training.

    Example: ``found = listed("request.csv", prepared.split, prepared.users, prepared.items)``,
    then ``forget.listed(train, users=found.users, items=found.items)``.
    """
    labels = {"user": np.asarray(user_labels), "item": np.asarray(item_labels)}
    asked = _asked(path, labels)
    ids = [_numbers(asked[side], labels[side]) if side in asked else None for side in labels]
    found = [_named(part, *ids) for part in parts]
    met = np.any([lines for _, lines in found], axis=0)
    missing = np.flatnonzero(~met)
    if len(missing) and not ignore_missing:
        lines = list(zip(*asked.values(), strict=True))
        first = "; ".join(", ".join(map(str, lines[row])) for row in missing[:3])
        raise ValueError(
            f"{path}: {len(missing)} of {len(met)} lines name nothing in the training, validation "
            f"and test parts, among them {shorten(first)}: check that the ids are those of the "
            'data (split.cold = "drop" drops rows without training), or set ignore_missing'
        )
    counts = {"asked": len(met), "missing": len(missing)}
    counts |= {name: int(rows.sum()) for name, (rows, _) in zip(Split._fields, found)}
    if not counts["train"]:
        raise ValueError(f"{path}: names no training interaction, so there is nothing to unlearn")
    held = [_without(part, rows) for part, (rows, _) in list(zip(parts, found))[1:]]
    users, items = (None if side is None else side[found[0][1]] for side in ids)
    return Listed(Split(parts.train, *held), users, items, counts)


def is_recbole(path: str | Path) -> bool:
    """Whether a request is a file of RecBole, by its name.

    Example:
      >>> is_recbole("forget.inter.gz"), is_recbole("request.csv")
      (True, False)
    """
    return str(path).endswith((".inter", ".inter.gz"))


def _asked(path: str | Path, labels: dict[str, np.ndarray]) -> dict[str, list]:
    """The ids of a list, each side as a column of what its labels are: text or integers."""
    text = [side for side, ids in labels.items() if not np.issubdtype(ids.dtype, np.integer)]
    recbole = is_recbole(path)
    file = Layout(str(path), "\t", text, quote=None) if recbole else Layout(str(path), text=text)
    line, names = recbole_header(file, list(RECBOLE)) if recbole else first_record(file)
    header = [RECBOLE.get(name, "_") for name in names] if recbole else names
    sides = [side for side in labels if side in header]
    if not sides or any(header.count(side) > 1 for side in sides):
        wanted = ", ".join(RECBOLE) if recbole else "user, item"
        raise ValueError(
            f"{path}, line {line}: the header must have {wanted} or both, each once; got "
            f"{shorten(', '.join(names))}"
        )
    columns = [name if name in sides else "_" for name in header]
    _refuse_alike(f"{path}, line {line}", names, columns)
    asked: dict[str, list] = {side: [] for side in sides}
    for number, (line, fields) in enumerate(records(file)):
        if number == 0:
            continue
        if fault := problem(fields, columns, file):
            raise ValueError(f"{path}, line {line}: {fault}")
        for side in sides:
            field = fields[columns.index(side)]
            asked[side].append(field if side in text else int(field))
    if not asked[sides[0]]:
        raise ValueError(f"{path}, line {line + 1}: no ids in this file")
    return asked


def _refuse_alike(where: str, names: list[str], columns: list[str]) -> None:
    """Refuses a header in which a column that is not read may be meant for one of ids.

    Of a pair one id alone would be read, which asks for all that a user or an item has.
    """
    import unicodedata

    for name, column in zip(names, columns, strict=True):
        letters = "".join(filter(str.isalpha, unicodedata.normalize("NFKC", name))).casefold()
        if column == "_" and letters.startswith(("user", "item")):
            raise ValueError(
                f"{where}: the column {shorten(name)} would not be read, though it is called much "
                "like one of ids: rename it as those are that are read, or take it out"
            )


def _named(
    part: Interactions, users: np.ndarray | None, items: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of a part the lines of a list name, and which lines name a row of it."""
    sides = ((users, part.users, part.n_users), (items, part.items, part.n_items))
    asked, there, known = 0, np.int64(0), True
    for ids, column, size in sides:
        if ids is not None:  # one number for a pair
            asked, there = asked * size + ids.astype(np.int64), there * size + np.asarray(column)
            known = known & (ids >= 0)
    asked = np.where(known, asked, -1)
    return np.isin(there, asked), np.isin(asked, there)


def _without(part: Interactions, rows: np.ndarray) -> Interactions:
    """A part without these rows."""
    columns = (np.asarray(x)[~rows] for x in (part.users, part.items, part.values))
    return layout.build(*columns, n_users=part.n_users, n_items=part.n_items)


def _numbers(ids: list, labels: np.ndarray) -> np.ndarray:
    """The number of each original id: its position among the labels, -1 where it is not there.

    Python compares integers of any width exactly, and text with text alone.
    """
    known = {label: number for number, label in enumerate(labels.tolist())}
    return np.array([known.get(x, -1) for x in ids], np.int32)
