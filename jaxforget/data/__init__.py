"""Data sets: one file each with a function ``read``, found by its file name.

A name is that of a file here, or of an entry point ``jaxforget.datasets`` of an installed
package; ``"package.module:read"`` names a function directly. Such a function takes
``(root, **settings)`` and returns a raw table: a pandas frame with the columns ``user``, ``item``,
``value`` and perhaps ``time``. Files whose name starts with ``_`` hold helpers, not data sets.
"""

import importlib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from jaxforget import _plugins
from jaxforget.data._frame import encode
from jaxforget.data._oracles import Bank as Bank
from jaxforget.data._oracles import oracles as oracles
from jaxforget.types import Interactions


class Source(NamedTuple):
    """The origin of a data set; its download belongs in ``<root>/<folder>/<last part of url>``."""

    name: str  # what ``jaxforget data fetch`` takes
    url: str | None  # None: no public address, or embedded
    sha256: str | None  # of the download; None: unknown
    folder: str  # under the data root
    licence: str
    citation: str
    counts: str  # users x items, rows
    files: tuple[str, ...]  # paths under the root to look for, in order; zip members as a!b


def names() -> list[str]:
    """The data sets of this package and of installed ones.

    Example:
      >>> "movielens" in names()
      True
    """
    return _plugins.names(_plugins.DOORS["data"])


def read(name: str, root: str | Path | None, **settings: Any) -> Any:
    """Reads a data set as a raw table.

    Args:
      name: a data set of ``names()``, or ``"package.module:read"``.
      root: the folder that holds the data sets; None for an embedded one.
      **settings: those of the data set, checked against its signature.

    Returns:
      A frame with the columns ``user``, ``item``, ``value`` and perhaps ``time``, in file order.

    Raises:
      ValueError: an unknown name or setting (the nearest known one is suggested), or a bad file.
      FileNotFoundError: the file is not there; says where to get it and where to put it.

    Example:
      >>> len(read("movietweetings", None))
      44613
    """
    function = _plugins.load(name, _plugins.DOORS["data"])
    _plugins.check_settings(function, settings, f"data set {name!r}", given=1)
    return function(root, **settings)


def load(name: str, root: str | Path | None, **settings: Any) -> Interactions:
    """Reads a data set as ``Interactions``; ids are numbered in the order of first appearance.

    Arguments and errors are those of ``read``.
    """
    return encode(read(name, root, **settings))[0]


def sources() -> dict[str, Source]:
    """Every known source of the data sets in this package, by name."""
    known: dict[str, Source] = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        known |= importlib.import_module(f"{__name__}.{path.stem}").SOURCES
    return known


def locate(root: str | Path | None, source: Source) -> str:
    """Returns the address of the first of ``source.files`` that exists under the root.

    Raises:
      FileNotFoundError: none does; names the address, the hash, the folder and the command.
    """
    if root is not None:
        for file in source.files:
            path, bang, member = str(Path(root) / file).partition(".zip!")
            path += ".zip" if bang else ""
            if Path(path).is_file() and (not bang or _has_member(path, member)):
                return path + bang[-1:] + member
    folder = Path("<data root>" if root is None else root) / source.folder
    raise FileNotFoundError(
        f"{source.name} is not here; looked for {', '.join(source.files)} under "
        f"{'no data root' if root is None else root}. Get it with `jaxforget data fetch "
        f"{source.name}` (in a checkout `python -m experiments data fetch {source.name}`), or "
        f"fetch {source.url} (sha256 {source.sha256 or 'not known'}) into {folder}. "
        f"Licence: {source.licence}"
    )


def under(root: str | Path | None, path: str) -> str:
    """Returns the address of a file that the user named, relative to the root or absolute.

    Raises:
      FileNotFoundError: there is no such file.
    """
    address = str(Path(root or ".") / path)
    file = address.partition(".zip!")[0] + (".zip" if ".zip!" in address else "")
    if not Path(file).is_file():
        raise FileNotFoundError(
            f"no file {file}; the setting path={path!r} is taken relative to the data root "
            f"{'(none given)' if root is None else root}: put the file there or correct the path"
        )
    return address


def _has_member(path: str, member: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return member in archive.namelist()
    except zipfile.BadZipFile:  # the file exists, and reading it will raise the error
        return True
