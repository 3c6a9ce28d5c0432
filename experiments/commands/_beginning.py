"""How a stream of requests begins, and whether a later call means the same stream."""

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Refused
from . import _erased, _served, _served_table
from . import _receipt_files as receipts
from ._asked import SIDES

FILES = ("model", "interactions", "users", "items")  # options that name files


def of(args: argparse.Namespace) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Reads the model and the table of the first call."""
    import jax.numpy as jnp

    from jaxforget.types import Factors

    served = _served.model(args.model)
    objective = _served.objective(served, args, args.model)
    table = _served_table.read(args.interactions, served.factors, args)
    how = {
        "objective": objective,
        "tol": args.tol,
        "check": args.check,
        "budget": args.budget,
        "suffix": args.model.suffix,
        "settings": served.settings,
        "text": served.text,
        "dtype": str(served.factors.users.dtype),
        "began": _given(args),
    }
    state = {"done": 0}
    state |= {f"factors_{side}": rows for side, rows in zip(SIDES, served.factors)}
    try:
        built = model(how, served.factors)
    except (ValueError, TypeError) as fault:
        raise Refused(f"{args.model}: {fault}") from fault
    unfit = [np.zeros(len(rows), bool) for rows in served.factors]
    if not args.trust:
        wide = Factors(*(jnp.asarray(rows, table.train.values.dtype) for rows in served.factors))
        _erased.refuse_erased(args, built, table, wide, jnp.ones_like(table.train.values))
        _erased.check_fit(args, built, table.train, wide)
        unfit = _erased.unfit(built, table.train, wide)
    state |= {f"unfit_{side}": rows for side, rows in zip(SIDES, unfit)}
    return table, how, state


def model(how: dict[str, Any], factors: Any) -> Any:
    """The model of a stream, with the settings that it is served with."""
    served = _served.Served(factors, how["settings"], how["text"])
    return _served.build(served, how["objective"])


def options() -> list[str]:
    """The options that say how a stream begins."""
    parser = argparse.ArgumentParser(add_help=False)
    _served.add_arguments(parser)
    return ["model", "interactions", "tol", "check", "budget", *vars(parser.parse_args([]))]


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The options of the beginning as they were given; a file by its name and what is in it."""
    found = {name: getattr(args, name) for name in options()}
    for name in FILES:
        if found[name] is not None:
            found[name] = receipts.read(_content, found[name])
    return found


def _content(path: Path) -> str:
    from jaxforget.data._lines import opened

    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]


def same(folder: Path, began: dict[str, Any], args: argparse.Namespace) -> None:
    """Refuses options that say otherwise than those with which the stream began."""
    given = _given(args)
    stated = {name: value for name, value in given.items() if value is not None}
    wrong = [name for name, value in stated.items() if value != began.get(name)]
    if wrong:
        told = (f"--{name}" + ("" if name in FILES else f" {given[name]}") for name in wrong)
        raise Refused(
            f"{folder} has a stream, which began with another {', '.join(told)}: it goes on as it "
            "began, without these options; or begin one in another folder"
        )
