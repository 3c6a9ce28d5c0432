"""The files of a receipt: written whole, and read as coming from somebody who cannot be trusted."""

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Refused
from ..files import archive, write_atomically

LARGEST = 8 * 2**30  # bytes that an archive may unpack to
COLUMNS = ("users", "items", "values", "shape")


def save(folder: Path, receipt: dict, factors, train, weights, *, before=None, request=None):
    """Writes ``receipt.json``, ``factors.npz`` and ``retained.npz``: what ``verify`` reads.

    With ``before`` (the model before the request) and ``request`` (the ``ForgetSet``) it also
    writes ``before.npz`` and ``request.csv``, which hold what is to be forgotten: they are for
    whoever asked, and nobody else. Factors keep their precision, and have the names that the
    library ``implicit`` gives them.
    """
    found = contents(receipt, train, weights, before=before, request=request)
    found = {"factors.npz": archive(_arrays_of(factors))} | found
    for name, content in found.items():
        write_atomically(folder / name, content)


def contents(receipt: dict, train, weights, *, before=None, request=None) -> dict[str, bytes]:
    """The bytes of the files of ``save`` beside the factors, the receipt last."""
    kept = np.asarray(weights) > 0
    columns = [np.asarray(x) for x in (train.users, train.items, train.values)]
    data = [*(column[kept] for column in columns), np.array([train.n_users, train.n_items])]
    found = {"retained.npz": archive(dict(zip(COLUMNS, data)))}
    if before is not None:
        found["before.npz"] = archive(_arrays_of(before))
    if request is not None:
        gone = np.asarray(request.before) > np.asarray(request.after)
        rows = zip(*(column[gone].tolist() for column in columns))
        lines = ["user,item,value", *(f"{user},{item},{value!r}" for user, item, value in rows)]
        found["request.csv"] = "\n".join([*lines, ""]).encode()
    found["receipt.json"] = (json.dumps(receipt, indent=2) + "\n").encode()
    return found


def _arrays_of(factors):
    from jaxforget.prepare import interop

    return interop.implicit_arrays(factors, dtype=np.asarray(factors.users).dtype)


def read(parse: Callable[[Path], Any], path: Path) -> Any:
    """What ``parse`` makes of a file; one line of refusal whatever is wrong with the file."""
    try:
        return parse(path)
    except Refused:
        raise
    except Exception as fault:  # a damaged file makes its parser raise anything
        told = " ".join(str(fault).split())
        if isinstance(fault, ValueError) and told.startswith(str(path)):  # it says all by itself
            raise Refused(told) from fault
        told = told if len(told) <= 200 else f"{told[:197]}..."
        raise Refused(f"cannot read {path}: {type(fault).__name__}: {told}") from fault


def receipt(path: Path) -> dict:
    """A receipt; every field once, and no number that JSON does not have."""

    def once(pairs):
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            raise ValueError("a field is there twice")
        return dict(pairs)

    def no_constant(name):
        raise ValueError(f"{name} is no number")

    text = path.read_bytes().decode("utf-8-sig")
    return json.loads(text, object_pairs_hook=once, parse_constant=no_constant)


def factors(path: Path, stated: str) -> Any:
    """The factors of a file; in 64 bits where that is what ``stated``, their hash, is about."""
    from jaxforget.als.certificate.receipt import hash_arrays
    from jaxforget.types import Factors

    from . import _served

    stored = _served.model(path).factors
    if any(side.dtype not in (np.float32, np.float64) for side in stored):
        raise ValueError("factors must be real numbers of 32 or 64 bits")
    if not all(np.isfinite(side).all() for side in stored):
        raise ValueError("a factor is not finite")
    wide: Any = Factors(*(np.ascontiguousarray(side, np.float64) for side in stored))
    return wide if stated == hash_arrays(*wide) else stored


def retained(path: Path) -> dict[str, np.ndarray]:
    """The columns of the retained data, and ``shape``, the numbers of users and items."""
    from jaxforget.data import _whole

    check_size(path)
    with _whole.arrays(path) as archive:
        if sorted(archive.files) != sorted(COLUMNS):
            raise ValueError(f"it must hold the arrays {', '.join(COLUMNS)} and no other")
        arrays = {name: archive[name] for name in COLUMNS}
    if arrays["shape"].shape != (2,) or arrays["shape"].dtype.kind not in "iu":
        raise ValueError("shape must be two integers")
    if arrays["values"].dtype.kind not in "iuf":
        raise ValueError("values must be real numbers")
    return arrays


def is_matrix(path: Path) -> bool:
    """Whether an .npz is a matrix of SciPy."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "format.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False  # its reader says what is wrong


def check_size(path):
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > LARGEST:
        raise ValueError(f"it unpacks to {size:,} bytes; {LARGEST:,} are read at most")


def request(path: Path) -> tuple[np.ndarray, ...]:
    """Columns of a CSV ``user,item`` or ``user,item,value``: numbers as in the retained data."""
    with path.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.reader(lines, strict=True)
        names = next(rows, [])
        if names not in (["user", "item"], ["user", "item", "value"]):
            raise ValueError(f"its first line must be user,item or user,item,value; got {names}")
        cells = []
        for row in rows:
            if len(row) != len(names):
                raise ValueError(f"line {rows.line_num}: {len(row)} columns, not {len(names)}")
            cells.append([_id(text, rows.line_num) for text in row[:2]] + row[2:])
    ids = np.array([row[:2] for row in cells], np.int64).reshape(-1, 2)
    if len(names) == 2:
        return tuple(ids.T)
    return *ids.T, np.array([_value(row[2]) for row in cells], np.float64)


def _id(text, line):
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise ValueError(f"line {line}: an id must be a number from 0; got {text[:80]!r}")
    return int(text)


def _value(text):
    from jaxforget.data._fields import is_finite

    if not is_finite(text, np.inf):
        raise ValueError(f"a value must be a finite number; got {text[:80]!r}")
    return float(text)
