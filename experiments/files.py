"""Where results lie, and files that are whole or not there."""

import contextlib
import errno
import glob
import hashlib
import io
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DAY = 86_400.0  # seconds after which a part of a file that nobody here is known to write is old


def folder(results: str, name: str) -> Path:
    """Where one experiment keeps everything: results/<config name>/."""
    return Path(results) / name


def _host() -> str:
    """This machine's name in eight letters: shards on several machines write into one folder."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def unfinished(path: Path) -> Path:
    """Where a file or a folder is written before it is whole, by this process."""
    return path.parent / f".{path.name}.{_host()}-{os.getpid()}.tmp"


def write_atomically(path: Path, content: bytes) -> None:
    """Writes beside the target and renames: a reader, or a kill, never meets half a file.

    The unfinished file is called ``.<name>.<machine>-<process>.tmp``, so that ``clean`` can tell
    whether anybody still writes it. The permissions are those that the umask leaves.

    Raises:
      OSError: it cannot be written; the error names ``path``.
    """
    temporary = unfinished(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno:  # a full disk does not say which file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def archive(arrays: dict[str, Any], *, compressed: bool = False) -> bytes:
    """The bytes of an .npz, in which nothing needs pickle."""
    import numpy as np

    content = io.BytesIO()
    write = np.savez_compressed if compressed else np.savez
    write(content, allow_pickle=False, **arrays)
    return content.getvalue()


def writable(target: Path) -> None:
    """Makes a folder and writes a file into it, or fails and leaves everything as it was.

    Raises:
      OSError: the folder cannot be made or written, or the disk is full.
    """
    missing = [path for path in (target, *target.parents) if not os.path.lexists(path)]
    probe = target / f".probe-{_host()}-{os.getpid()}"  # others may try the same folder just now
    try:
        write_atomically(probe, bytes(1 << 16))
        os.unlink(probe)
    except OSError:
        for path in missing:  # the innermost first
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def reason(error: OSError) -> str:
    """What the system says is wrong, without the number that it has for it."""
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "a part of this path is a file, where a folder is needed"
    return os.strerror(error.errno) if error.errno else str(error)


def _abandoned(path: Path) -> bool:
    """Whether nobody writes this unfinished file any more."""
    host, _, process = path.name.removesuffix(".tmp").rpartition(".")[2].partition("-")
    if host != _host() or not process.isdecimal():  # of another machine, or of another version
        return time.time() - path.stat().st_mtime > DAY
    try:
        os.kill(int(process), 0)  # asks whether the process lives, and does nothing to it
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # it lives and is somebody else's
        return False
    return False


def clean(target: Path, name: str | None = None) -> None:
    """Removes the unfinished files that killed runs have left in a folder.

    With ``name`` only what was to become the file or folder of that name. Unfinished folders, which
    somebody else might have called so, are removed where a process of this machine left them.
    """
    for path in target.glob(".*.tmp" if name is None else f".{glob.escape(name)}.*.tmp"):
        with contextlib.suppress(OSError):
            if path.is_dir():
                if f".{_host()}-" in path.name and _abandoned(path):
                    shutil.rmtree(path)
            elif _abandoned(path):
                path.unlink()


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Keeps other processes out of the same folder for what is inside, where the system can.

    Raises:
      BlockingIOError: another process is there, and this one is not to ``wait`` for it.
    """
    with open(folder / ".lock", "ab") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except (ImportError, OSError):  # a system, or a file system, without locks
            pass
        yield


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Lets SIGTERM end what is inside as Ctrl-C does, so that it can take away what it began."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
