"""``python -m experiments``: see ``experiments/cli.py`` for the commands."""

import sys

from experiments import cli

if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
