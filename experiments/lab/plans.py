"""Which banks of models a config asks for."""

import sys
from typing import Any, NamedTuple

from jaxforget import models
from jaxforget.data import _oracles

from ..config.grid import Cell, identity, named
from ..config.owned import DECIDES
from ..errors import Refused


class Plan(NamedTuple):
    """One bank: what is asked of a data set and a model, and the methods that meet it."""

    id: str
    cell: Cell  # any that asks for it
    methods: dict[str, Cell]  # by name and swept settings
    draws: bool  # whether training draws: where not, one model of each kind is all there are
    n_models: int
    n_pairs: int  # of each part, at most
    known: dict[str, Any]  # kinds to try measures on, and how they are made


def plans(cells: list[Cell], n_models: int, n_pairs: int) -> list[Plan]:
    """The banks that some cells ask for, each with its methods."""
    found: dict[str, Plan] = {}
    for cell in cells:
        if cell.spec["request"]["kind"] == "none":
            raise Refused("the request is empty; give another one: request.kind=random")
        if cell.axes["method"] in (_oracles.RETRAINED, _oracles.UNDELETED, *_oracles.KNOWN):
            raise Refused(
                f"call the method {cell.axes['method']!r} otherwise: a bank has models of that name"
            )
        asked = {name: cell.spec[name] for name in DECIDES} | {"pairs": n_pairs}
        name = identity(asked)
        drawn = draws(cell.spec["model"]["use"])
        plan = Plan(name, cell, {}, drawn, n_models if drawn else 1, n_pairs, {})
        found.setdefault(name, plan).methods[named(cell, "method")] = cell
    return list(found.values())


def draws(model: str) -> bool:
    """Whether training of a model draws anything: where not, every seed gives the same one."""
    return getattr(sys.modules[models.load(model).__module__], "DRAWS", True)
