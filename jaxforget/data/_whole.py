"""Files that are written whole or not at all, and are closed whatever they hold."""

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np


@contextlib.contextmanager
def written(path: str | Path) -> Iterator[IO[bytes]]:
    """Opens a file to be written beside ``path``, which it replaces once all of it is on disk.

    So a reader never meets half a file, and what was there stays where the disk is full or the
    process is killed. As with ``open``, links are followed and the permissions of a file that was
    there are kept; what is no file, such as a pipe or ``/dev/null``, is written into.

    Raises:
      OSError: it cannot be written; the error names ``path``.
    """
    target = Path(os.path.realpath(path))
    there = os.stat(path) if os.path.exists(path) else None
    if there is not None and not stat.S_ISREG(there.st_mode):
        with open(path, "wb") as file:
            yield file
        return
    temporary = target.parent / f".{target.name}.{os.getpid()}-{threading.get_ident()}.tmp"
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if there is not None:
            os.chmod(temporary, stat.S_IMODE(there.st_mode))
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno:  # a full disk does not say which file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextlib.contextmanager
def arrays(path: str | Path) -> Iterator[Any]:
    """The arrays of an ``.npz``, as ``np.load`` gives them; runs no code from the file.

    ``np.load`` of a path leaves a damaged file open when it refuses it.
    """
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
        yield found
