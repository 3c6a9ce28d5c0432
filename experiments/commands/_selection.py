"""What the commands that take a config have in common: its arguments and its cells."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..config import choice, grid, reading
from ..config.grid import Cell
from ..config.reading import Config
from ..errors import PROGRAM, Refused

if TYPE_CHECKING:
    from ..lab.setup import Laboratory


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
    add_code(arguments)


def add_code(arguments: argparse.ArgumentParser) -> None:
    """The argument of commands that run the plug-ins of a config."""
    arguments.add_argument(
        "--allow-code",
        action="store_true",
        help='let names such as use = "module:function" import and run that module',
    )


def refuse_code(names: Iterable[str], arguments: argparse.Namespace) -> None:
    """Refuses names that run code of any importable module, unless --allow-code was given.

    Files of this package and entry points of installed packages are there because somebody
    installed them; a config can name anything that Python finds, in the working folder too.
    """
    for name in names:
        if ":" in name and not arguments.allow_code:
            raise Refused(
                f"{name[:80]!r} runs code of the module {name.partition(':')[0][:80]!r}: read it, "
                "then add --allow-code"
            )


def load(arguments: argparse.Namespace) -> tuple[Config, list[Cell]]:
    """The checked config and its cells, narrowed by --only and --shard where given."""
    loaded = reading.read(arguments.config, tuple(arguments.overrides))
    cells = choice.only(grid.cells(loaded), getattr(arguments, "only", []))
    if hasattr(arguments, "allow_code"):
        parts = ("data", "model", "method")
        refuse_code((cell.spec[part]["use"] for cell in cells for part in parts), arguments)
    return loaded, choice.shard(cells, getattr(arguments, "shard", None))


def served(command: str, lab: "Laboratory", cells: list[Cell]) -> list[Cell]:
    """The cells whose method serves their model; the others are named as left out."""
    from ..lab.programs import Skipped

    found = []
    for cell in cells:
        try:
            lab.programs.method(cell)
            found.append(cell)
        except Skipped as reason:
            print(f"left out: {cell.axes['method']} on {cell.axes['model']}: {reason}")
    if not found:
        raise Refused(f"{command}: no method of this config serves a model of it")
    return found
