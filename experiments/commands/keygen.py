"""Makes a key that signs receipts: KEY, which stays secret, and KEY.pub, which verifiers get."""

import argparse
import os
from pathlib import Path

from ..errors import PROGRAM, Refused


def main(argv: list[str]) -> int:
    """Writes both files and prints the fingerprint; 0 written, 2 refused."""
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} keygen", description=__doc__)
    parser.add_argument("key", type=Path, help="file of the private key; KEY.pub is beside it")
    key = parser.parse_args(argv).key
    if not key.name:
        raise Refused(f"{key}: names no file: give one, such as key")
    from jaxforget.als.certificate import signing

    public = key.with_name(f"{key.name}.pub")
    try:
        secret, open_to_all = signing.generate()
        for path in (key, public):
            if path.exists() or path.is_symlink():
                raise Refused(f"{path} is there already: remove it, or choose another name")
        _write(key, secret, 0o600)
        _write(public, open_to_all, 0o644)
    except (ModuleNotFoundError, OSError) as fault:
        raise Refused(f"no key: {fault}") from fault
    print(f"{signing.fingerprint_of(open_to_all)}\n{key}: keep it secret\n{public}: give it away")
    return 0


def _write(path: Path, content: bytes, mode: int) -> None:
    """Writes a file that nobody else can read, before it has any content."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
