"""Keeps compiled programs on disk, where the next run finds them: compiling takes longer than most
small cells.

A program is found again only by the hash that JAX makes of its whole text, its options, XLA's flags
and the versions of jax and jaxlib; a folder is for CPUs of the same features alone. So what is
found is what would have been compiled, and no number depends on the folder.
"""

import functools
import hashlib
import os
import platform
import sys
from pathlib import Path

OPTION = "JAXFORGET_COMPILATION_CACHE"  # a folder, or "off"
LEAST = 0.5  # seconds of compilation that are worth a file

_hits = 0


def folder() -> Path | None:
    """Where compiled programs are kept; None where they are not.

    What the user told JAX itself (``JAX_COMPILATION_CACHE_DIR``) comes first, then ``OPTION``, then
    the user's cache folder.
    """
    if given := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(given)
    if (given := os.environ.get(OPTION)) == "off":
        return None
    if not given:
        import pooch

        given = os.path.join(pooch.os_cache("jaxforget"), "compiled")
    return Path(given) / features()


def features() -> str:
    """A name for CPUs that run the same instructions."""
    text = f"{platform.machine()} {platform.processor()}"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        text += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:  # not Linux
        pass
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def keep() -> None:
    """Has JAX keep compiled programs from here on."""
    import jax

    _listen()
    where = folder()
    if where is None or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"compiled programs are not kept: {error}; see {OPTION}", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(where))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:  # what JAX was told stands
        jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST)


def hits() -> int:
    """How many programs were found and not compiled, in this process."""
    return _hits


@functools.cache
def _listen() -> None:
    import jax

    def count(event: str, **_: object) -> None:
        global _hits
        _hits += event == "/jax/compilation_cache/cache_hits"

    jax.monitoring.register_event_listener(count)
