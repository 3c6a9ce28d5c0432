"""Entry of ``python -m experiments`` (a checkout) and of ``jaxforget`` (installed)."""

import os
import sys

# LAPACK's own threads spin against XLA's: on a busy machine a small eigh takes 100 times as long
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy reads it when it is imported

from . import cli


def main() -> int:
    """The console script. Modules of the working folder can be plug-ins, as with ``python -m``."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last: a file there never hides an installed package
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
