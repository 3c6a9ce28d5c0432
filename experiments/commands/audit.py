"""Audits what the methods of a config claim: is the output free of what was deleted?

For every model and method the first request and seed of the grid: the deleted rows get other
content, everything is trained and unlearnt again with the same keys, and the outputs are compared.
The lines of audit.csv of other methods than those asked for stay as they are; a table whose lines
of this config's names are of other settings, or of other data, is refused.
"""

import argparse
from typing import Any

from .. import files
from ..config import grid
from ..config.grid import Cell, named
from ..config.owned import NAMES, by_cell
from ..config.reading import Config
from ..config.schema import find
from ..errors import Refused
from ..lab import setup
from ..lab.added import Added
from ..lab.setup import Laboratory
from . import _selection

COLUMNS = [
    "cell",
    "data",
    "model",
    "method",
    "claim",
    "values",
    "validation",
    "pairs",
    "padding",
    "retrained",
    "bitwise",
    "undeleted",
    "noise",
    "declared",
    "differs",
    "verdict",
    "data_hash",
    "commit",
]
KEY = NAMES  # tells the lines apart
ROUNDING = {"float32": 1e-4, "float64": 1e-9}  # what the order of sums may make of predictions


def chosen(cells: list[Cell]) -> list[Cell]:
    """The first cell of every data set, model and method with its settings."""
    first: dict[str, Cell] = {}
    for cell in sorted(cells, key=lambda c: c.axes["seed"]):
        first.setdefault(cell.key("data", "model", "method"), cell)
    return list(first.values())


def _under(cell: Cell, changes: dict[str, Any]) -> Cell:
    """The cell with the settings under which a claim is said to hold."""
    spec = dict(cell.spec)
    for part in ("model", "method"):
        known = find(f"{part}s", spec[part]["use"], part).settings
        mine = {name: value for name, value in changes.items() if name in known}
        spec[part] = spec[part] | {"settings": spec[part]["settings"] | mine}
    return cell._replace(spec=spec)


def _declared(claim: Any, cell: Cell) -> str:
    """State derived from data, the runner's and the model's own included."""
    stops = cell.spec["model"]["settings"].get("patience") is not None
    state = dict(claim.derived) | {"id maps": "kept"}
    state["early stopping"] = "on validation rows, of which none is deleted" if stops else "none"
    return "; ".join(f"{name} {what}" for name, what in state.items())


def _measure(lab: Laboratory, cell: Cell, shared: Any) -> Any:
    """How the output depends on what was deleted; ``shared`` keeps what several lines need."""
    from jaxforget.metrics import audit

    from ..lab.programs import keys

    key = keys(cell.spec["seed"])["fit"]
    method, request = lab.programs.method(cell), lab.materials.request(cell)
    name = cell.key("data", "split", "model", "method", "request", "seed")
    return shared.get(name, lambda: audit.exactness(key, method, *request))


def row(lab: Laboratory, cell: Cell, shared: Any) -> dict[str, Any]:
    """One line of audit.csv: what a method claims, what was measured, and the verdict."""
    import jax

    from jaxforget import methods
    from jaxforget.metrics import audit, claims

    from ..lab.programs import Skipped

    line: dict[str, Any] = {name: named(cell, name) for name in NAMES}
    try:
        spec = cell.spec["method"]
        claim = claims.of(methods.load(spec["use"]), spec["settings"])
        line |= {"claim": claim.kind, "declared": _declared(claim, cell)}
        measured = _measure(lab, cell, shared)
        settings = dict(claim.settings)
        given = _measure(lab, _under(cell, settings), shared) if settings else None
    except (Skipped, ValueError) as reason:
        return line | {"verdict": f"not audited: {reason}"}
    rounding = ROUNDING["float64" if jax.config.jax_enable_x64 else "float32"]
    gaps = {name: getattr(measured, name).distance for name in audit.CHECKS}
    differs = [f"{name} {gap:.2g}" for name, gap in measured.state.items() if gap]
    return (
        line
        | gaps
        | {name: getattr(measured, name) for name in ("bitwise", "undeleted", "noise")}
        | {"differs": "; ".join(differs)}
        | {"verdict": audit.verdict(measured, claim, rounding=rounding, given=given)}
    )


def audit(config: Config, cells: list[Cell], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Audits the cells one by one; the table is on disk after each."""
    lab = setup.laboratory(config.experiment, arguments.device, arguments.root)
    from ..lab import provenance
    from ..lab.clock import Recent

    rows, shared = [], Recent(64)
    path = files.folder(arguments.results, config.name) / "audit.csv"
    table = Added(lab, path, COLUMNS, KEY, by_cell(grid.cells(config)))
    commit = provenance.commit()
    for cell in chosen(cells):
        if cell.spec["request"]["kind"] == "none":
            raise Refused("audit: the request is empty; give another one: request.kind=random ...")
        rows.append(row(lab, cell, shared) | table.stamp(cell.id) | {"commit": commit})
        table.add(rows[-1:])
        print("{data} {model} {method}: {verdict}".format(**rows[-1]), flush=True)
    return rows


def main(argv: list[str]) -> int:
    parser = _selection.parser("audit", __doc__, select=True)
    _selection.add_laboratory(parser)
    arguments = parser.parse_intermixed_args(argv)
    if arguments.shard:
        raise Refused("audit: one run makes the table; leave out --shard")
    rows = audit(*_selection.load(arguments), arguments)
    return int(any(str(line["verdict"]).startswith("broken") for line in rows))
