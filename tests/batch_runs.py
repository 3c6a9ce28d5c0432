"""Runs a config in batches over four devices of one CPU, as a script; prints the collectives.

JAX decides once how many devices a CPU shows itself as, so ``test_batches`` runs this in a process
of its own: ``batch_runs.py CONFIG RESULTS WIDTH [WORD ...]``, with the number of cells that a
device computes side by side.
"""

import json
import sys
from pathlib import Path

import jax
from hlo import COLLECTIVES

jax.config.update("jax_num_cpu_devices", 4)

from experiments import cli  # noqa: E402  (after the setting above)
from experiments.lab import batches  # noqa: E402


def main(config, results, width, *words):
    found, compile_one = [], batches.compiled

    def compiled(f, *args):
        program, seconds = compile_one(f, *args)
        found.append(COLLECTIVES.findall(program.as_text()))
        return program, seconds

    batches.compiled = compiled
    batches.Batches._wanted = lambda self, count: int(width)
    out = ["--batch", "64", "--devices", "4", "--results", results, "--quiet"]
    code = cli.main(["run", config, *words, *out])
    print(json.dumps({"code": code, "collectives": found}))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main(*sys.argv[1:])
