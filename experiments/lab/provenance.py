"""Where a number comes from: code, versions, machine and moment, but no names and no paths."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import resource
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HUGE_PAGES = "glibc.malloc.hugetlb=1"  # in GLIBC_TUNABLES, before Python starts
PACKAGES = ("jaxforget", "jax", "jaxlib", "optax", "numpy", "scipy", "pandas")


def _git(*words: str) -> str | None:
    """What git says about the checkout these files belong to; None for an installed package."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():  # an environment may lie inside another repository
        return None
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def version(package: str) -> str | None:
    """Installed version, or None (a checkout that was never installed has none)."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def lasting() -> dict[str, Any]:
    """The facts that hold for a whole process."""
    import jax

    devices = jax.devices()
    changed = _git("status", "--porcelain", "--", ".", ":!results")  # results are our output
    return {
        "git_sha": _git("rev-parse", "HEAD"),
        "dirty": None if changed is None else bool(changed),
        **{package: version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "backend": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "device_count": len(devices),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "glibc_tunables": os.environ.get("GLIBC_TUNABLES", ""),
        "x64": bool(jax.config.jax_enable_x64),
        "matmul_precision": str(jax.config.jax_default_matmul_precision or "default"),
        "key_impl": str(jax.config.jax_default_prng_impl),
        "host": hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12],
    }


def commit() -> str:
    """The commit that runs, and whether the checkout has changes beside it."""
    facts = lasting()
    return f"{facts['git_sha']}{' and changes' if facts['dirty'] else ''}"


def table_hash(table: Any) -> str:
    """sha256 over the rows of a data set's table, before they are split: equal data, equal hash."""
    from pandas.util import hash_pandas_object

    digest = hashlib.sha256()
    for name in table.columns:
        digest.update(f"{name} {len(table)}\n".encode())
        digest.update(hash_pandas_object(table[name], index=False).to_numpy().tobytes())
    return digest.hexdigest()


def peak_memory() -> dict[str, float | None]:
    """Highest memory of this process so far, and of the device where the backend tells, in MB."""
    import jax

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    device = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return {
        "peak_memory_mb": peak / (1e6 if sys.platform == "darwin" else 1e3),
        "peak_device_mb": None if device is None else device / 1e6,
    }


def now() -> str:
    """This moment in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
