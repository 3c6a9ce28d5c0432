"""``python -m experiments``: see ``experiments/cli.py`` for the commands."""

import os
import sys

# LAPACK's own threads spin against XLA's: on a busy machine a small eigh takes 100 times as long
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from experiments import cli

if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
