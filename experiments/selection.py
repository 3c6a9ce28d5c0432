"""What the commands that take a config have in common: its arguments and its cells."""

import argparse

from experiments import config, grid
from experiments.config import Config
from experiments.grid import Cell


def parser(command: str, about: str | None, *, select: bool) -> argparse.ArgumentParser:
    """The arguments every such command shares; ``select``: also those that choose cells."""
    made = argparse.ArgumentParser(
        prog=f"python -m experiments {command}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("config", help="a TOML file, or the bare name of one in configs/")
    made.add_argument(
        "overrides", nargs="*", metavar="key=value", help="dotted path; a,b,c is a list"
    )
    made.add_argument("--results", default="results", help="folder of all results")
    if select:
        made.add_argument(
            "--only", action="append", default=[], metavar="axis=value[,value]",
            help="cells that match, such as method=retrain,seed=0,1",
        )  # fmt: skip
        made.add_argument("--shard", metavar="i/n", help="part i (from 0) of n, for job arrays")
    return made


def load(arguments: argparse.Namespace) -> tuple[Config, list[Cell]]:
    """The checked config and its cells, narrowed by --only and --shard where given."""
    loaded = config.read(arguments.config, tuple(arguments.overrides))
    cells = grid.only(grid.cells(loaded), getattr(arguments, "only", []))
    return loaded, grid.shard(cells, getattr(arguments, "shard", None))
