"""Prints versions, devices, precision and known-bad combinations: paste it into a bug report."""

import argparse
import os
import platform

from ..errors import PROGRAM
from ..lab import compilation, provenance

EXTRAS = ("matplotlib", "msgspec", "tqdm", "pooch", "implicit")


def _numbers(version: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in (version or "0").split(".")[:3] if part.isdecimal())


def complaints(backend: str, jaxlib: str | None, cpus: int | None) -> list[str]:
    """Combinations measured to be slow or to hang."""
    bad, version = [], _numbers(jaxlib)
    if backend in ("gpu", "cuda", "rocm") and (0, 10, 2) <= version <= (0, 11, 0):
        bad.append(
            f"jaxlib {jaxlib} on a GPU: float32 scatter-add is crippled (0.10.2 to 0.11.0); "
            "use jaxlib >= 0.11.1"
        )
    if backend == "cpu" and version == (0, 10, 2):
        cores = "" if cpus is None else f" ({cpus} here)"
        bad.append(
            f"jaxlib {jaxlib} on a CPU with few cores{cores}: independent batched LAPACK calls in "
            "one program can deadlock; jaxforget solves row by row there, your own code may not"
        )
    return bad


def advice(backend: str, system: str, tunables: str) -> list[str]:
    """Settings measured to be faster."""
    if backend != "cpu" or system != "Linux" or provenance.HUGE_PAGES in tunables:
        return []
    return [
        f"GLIBC_TUNABLES={provenance.HUGE_PAGES} gives XLA's buffers the huge pages that NumPy "
        "asks for by itself: short programs on large factors took up to a quarter less time"
    ]


def main(argv: list[str]) -> int:
    argparse.ArgumentParser(prog=f"{PROGRAM} doctor", description=__doc__).parse_args(argv)
    import jax

    facts = provenance.lasting()
    for name, value in facts.items():
        absent = "not installed" if name in provenance.PACKAGES else "unknown"
        print(f"{name:<17} {absent if value is None else value}")
    for name in EXTRAS:
        print(f"{name:<17} {provenance.version(name) or 'not installed'}")
    for process in range(jax.process_count()):
        seen = ", ".join(str(device) for device in jax.devices() if device.process_index == process)
        print(f"{f'process {process}':<17} {seen}")
    kept = compilation.folder() or f"not kept ({compilation.OPTION}=off)"
    print(f"{'compiled programs':<17} {kept}")
    print(f"{'cpus':<17} {os.cpu_count()}")
    bad = complaints(facts["backend"], facts["jaxlib"], os.cpu_count())
    for complaint in bad:
        print(f"known bad: {complaint}")
    if not bad:
        print("no known-bad combination")
    for hint in advice(facts["backend"], platform.system(), facts["glibc_tunables"]):
        print(f"faster: {hint}")
    return 0
