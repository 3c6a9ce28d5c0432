"""What the commands that take a config have in common: its arguments and its cells."""

import argparse

from ..config import grid, reading
from ..config.grid import Cell
from ..config.reading import Config
from ..errors import PROGRAM


def parser(command: str, about: str | None, *, select: bool) -> argparse.ArgumentParser:
    """The arguments every such command shares; ``select``: also those that choose cells."""
    arguments = argparse.ArgumentParser(
        prog=f"{PROGRAM} {command}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    arguments.add_argument("config", help="a TOML file, or the bare name of one in configs/")
    arguments.add_argument(
        "overrides", nargs="*", metavar="key=value", help="dotted path; a,b,c is a list"
    )
    arguments.add_argument("--results", default="results", help="folder of all results")
    if select:
        arguments.add_argument(
            "--only",
            action="append",
            default=[],
            metavar="axis=value[,value]",
            help="cells that match, such as method=retrain,seed=0,1",
        )
        arguments.add_argument(
            "--shard", metavar="i/n", help="part i (from 0) of n, for job arrays"
        )
    return arguments


def add_laboratory(arguments: argparse.ArgumentParser) -> None:
    """The arguments of commands that compute: on which device, from which data."""
    arguments.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="default: JAX's choice")
    arguments.add_argument("--root", help="folder of the data sets (default: $JAXFORGET_DATA)")


def load(arguments: argparse.Namespace) -> tuple[Config, list[Cell]]:
    """The checked config and its cells, narrowed by --only and --shard where given."""
    loaded = reading.read(arguments.config, tuple(arguments.overrides))
    cells = grid.only(grid.cells(loaded), getattr(arguments, "only", []))
    return loaded, grid.shard(cells, getattr(arguments, "shard", None))
