"""The interactions that a served model was trained on, numbered as the rows of the model are."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import Refused
from . import _receipt_files as receipts

IDS = ("rows", "sorted", "appearance")
NAMELESS = (".npz", ".dat", ".inter")  # tables whose columns are known without --columns


class Table(NamedTuple):
    """Interactions, and the original ids of the rows of the model."""

    train: Any  # Interactions
    users: np.ndarray
    items: np.ndarray


def add_arguments(parser: argparse.ArgumentParser) -> Any:
    """The options that say how a table is to be read; returns how to add one more of them."""
    add = parser.add_argument_group("how the table is read").add_argument
    add("--columns", help="names in its header, such as user=userId,item=movieId,value=rating")
    add("--threshold", type=float, help="keep rows with this value or more, and count each as 1")
    add(
        "--repeats",
        default="refuse",
        choices=("refuse", "sum", "last", "mean"),
        help="what becomes of a pair that occurs twice",
    )
    add("--ids", choices=IDS, help="how the model numbers ids: see above")
    add("--users", type=Path, help="original user ids, one per row of the model, under a header")
    add("--items", type=Path, help="original item ids, likewise")
    return add


def read(path: Path, factors: Any, args: argparse.Namespace) -> Table:
    """Reads the interactions and numbers their ids as the rows of the model are numbered."""
    from jaxforget.sparse import layout

    columns = receipts.read(lambda path: _columns(path, args), path)
    if args.threshold is not None:
        kept = columns[2] >= args.threshold
        columns = columns[0][kept], columns[1][kept], np.ones(int(kept.sum()))
    if not len(columns[0]):
        raise Refused(f"{path}: no interactions are left")
    sizes = [len(side) for side in factors]
    numbered = [
        _number(path, side, column, size, getattr(args, f"{side}s"), args.ids)
        for side, column, size in zip(("user", "item"), columns, sizes)
    ]
    (users, user_labels), (items, item_labels) = numbered
    wide = np.promote_types(factors.users.dtype, np.float32)  # counts are no factors of 16 bits
    values = np.asarray(columns[2], wide)
    try:
        train = layout.build(
            users, items, values, n_users=sizes[0], n_items=sizes[1], repeats=args.repeats
        )
    except ValueError as fault:
        raise Refused(f"{path}: {fault}") from fault
    return Table(train, user_labels, item_labels)


def _columns(path: Path, args: argparse.Namespace) -> tuple[np.ndarray, ...]:
    """Users, items and values of a file as they stand there."""
    import pandas as pd

    from jaxforget.data._frame import finite, number

    name = str(path).partition("!")[2] or path.name
    name = name.removesuffix(".gz")
    names = _named(args.columns)
    if args.columns is not None and name.endswith(NAMELESS):
        raise Refused(f"{path}: --columns is of .csv, .tsv and .parquet: leave it out")
    if name.endswith(".npz"):
        columns = _scipy(path)
        finite(pd.Series(columns[2]), "value")
        return columns
    if name.endswith(".parquet"):
        frame = _parquet(path, names, args.columns is not None)
    elif name.endswith(".inter"):
        frame = _recbole(path)
    else:
        frame = _delimited(path, name, names, args.columns is not None)
    for side in ("user", "item"):
        labels = number(frame[side])[1]  # refuses ids that are neither all text nor all integers
        _refuse_unnameable(path, side, labels)
    if "value" in frame:
        finite(frame["value"], "value")
    elif args.threshold is not None:
        raise Refused(f"{path}: has no values, which --threshold reads: see --columns")
    else:
        frame = frame.assign(value=1.0)
    return tuple(frame[column].to_numpy() for column in ("user", "item", "value"))


def _refuse_unnameable(path: Path, side: str, labels: np.ndarray) -> None:
    """Refuses ids that no request could name: who has one could be served, but never erased.

    Tables of text hold none of them; a .parquet holds whatever was written.
    """
    if labels.dtype.kind in "iu":
        told = "is no integer from 0 to 2**63 - 1"
        bad = [x for x in map(int, (labels.min(), labels.max())) if not 0 <= x < 2**63]
    else:
        told = "is empty, or has a line break"
        bad = [x for x in labels.tolist() if not x or "\n" in x or "\r" in x]
    if bad:
        raise ValueError(
            f"{path}: the {side} id {bad[0]!r:.80} {told}, so no request could name it: write "
            f"the {side} ids as text that is written in one line"
        )


def _named(text: str | None) -> dict[str, str]:
    """``user=userId,item=movieId`` as a mapping from the names of a file to ours."""
    if text is None:
        return {"user": "user", "item": "item", "value": "value"}
    pairs = [part.partition("=") for part in text.split(",")]
    names = {name: ours for ours, _, name in pairs}
    ours = sorted(names.values())
    if ours not in (["item", "user"], ["item", "user", "value"]) or len(names) < len(pairs):
        raise Refused(f"--columns must be like user=a,item=b,value=c; got {text}")
    return names


def _delimited(path: Path, name: str, names: dict[str, str], asked: bool) -> Any:
    """A table of text; of the names only that of the values may be missing, if nobody asked."""
    from jaxforget.data import _formats
    from jaxforget.data._lines import Layout, first_record

    if name.endswith(".dat"):
        return _formats.read_double_colon(path)
    separator = "\t" if name.endswith((".tsv", ".tab")) else ","
    _, header = first_record(Layout(str(path), separator))
    names = {own: x for own, x in names.items() if asked or x != "value" or own in header}

    def read_as(*text: str) -> Any:
        frame = _formats.read_delimited(path, names, separator=separator, text=text)
        return frame if "value" in names.values() else frame.drop(columns="value")

    for text in ((), ("user",), ("item",)):  # which ids are text
        try:
            return read_as(*text)
        except ValueError as fault:
            if "must be an integer" not in str(fault):
                raise
    return read_as("user", "item")


def _recbole(path: Path) -> Any:
    """A table of RecBole, without the values of 1 that it gets where it has no ratings."""
    from jaxforget.data import _formats
    from jaxforget.data._lines import Layout

    frame = _formats.read_recbole(path)
    _, names = _formats.recbole_header(Layout(str(path), "\t", quote=None), ("user_id", "item_id"))
    return frame if "rating" in names else frame.drop(columns="value")


def _parquet(path: Path, names: dict[str, str], asked: bool) -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise Refused(f"{path}: pyarrow is not installed; pip install pyarrow") from None
    frame = pyarrow.parquet.read_table(path).to_pandas()
    lacking = [
        own for own, ours in names.items() if own not in frame and (asked or ours != "value")
    ]
    if lacking:
        raise Refused(f"{path}: has no column {', '.join(lacking)}: see --columns")
    others = [ours for ours in names.values() if ours not in names]  # not what was asked for
    return frame.drop(columns=others, errors="ignore").rename(columns=names)


def _scipy(path: Path) -> tuple[np.ndarray, ...]:
    import scipy.sparse

    receipts.check_size(path)
    cells = scipy.sparse.load_npz(path).tocoo()
    return cells.row, cells.col, cells.data


def _number(
    path: Path, side: str, column: np.ndarray, size: int, mapping: Path | None, how: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """The row of the model of each id of a column, and the ids of all rows."""
    import pandas as pd

    integers = np.issubdtype(column.dtype, np.integer)
    if mapping is not None:
        labels = receipts.read(lambda file: _labels(file, integers), mapping)
    elif how in (None, "rows"):
        if not integers:
            raise Refused(
                f"{path}: {side} ids are text: say how the model numbers them, with --{side}s FILE "
                "or --ids sorted|appearance"
            )
        labels = np.arange(size)
    else:
        codes, labels = pd.factorize(column, sort=how == "sorted")
    if len(labels) != size:
        raise Refused(
            f"{mapping or path}: {len(labels)} {side} ids, but the model has {size} {side}s: give "
            f"--{side}s FILE, with the id of every row of the model"
        )
    labels = np.asarray(labels).astype(str) if not integers else np.asarray(labels)
    codes = pd.Index(labels).get_indexer(pd.Index(column if integers else column.astype(str)))
    if (codes < 0).any():
        first = column[int(np.argmin(codes))]
        raise Refused(
            f"{path}: {side} {first} has no row in the model ({size} {side}s): give --ids, or "
            f"--{side}s FILE"
        )
    return codes.astype(np.int32), labels


def _labels(path: Path, integers: bool) -> np.ndarray:
    """The ids of a file, one per line below a header, as the ids of a table are read.

    Quotes are those of a CSV; a comma outside of them is part of the id, as there is one column.
    """
    from jaxforget.data._fields import integer
    from jaxforget.data._lines import Layout, problem, records

    file, ids = Layout(str(path), text=() if integers else ("id",)), []
    for number, (line, fields) in enumerate(records(file)):
        where, field = f"{path}, line {line}", ",".join(fields)
        if number == 0:
            if len(fields) > 1:
                raise ValueError(f"{where}: must have one column, of ids; got {field[:80]!r}")
            continue
        whole = integer(field) if integers else 0
        if whole is None or not -(2**63) <= whole < 2**63:
            raise ValueError(f"{where}: an id must be an integer; got {field[:80]!r}")
        if fault := problem([field], ["id"], file):
            raise ValueError(f"{where}: {fault}")
        ids.append(int(field) if integers else field)
    labels = np.array(ids) if integers else np.array(ids, str)
    if len(np.unique(labels)) < len(labels):
        raise ValueError("an id is there twice")
    return labels
