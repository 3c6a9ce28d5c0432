"""Where results lie, and files that are whole or not there."""

import contextlib
import os
import tempfile
from pathlib import Path


def folder(results: str, name: str) -> Path:
    """Where one experiment keeps everything: results/<config name>/."""
    return Path(results) / name


def write_atomically(path: Path, content: bytes) -> None:
    """Writes beside the target and renames: a reader, or a kill, never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's own mode would hide the file from colleagues
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
