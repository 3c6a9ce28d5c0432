"""Audits what the methods of a config claim: is the output free of what was deleted?

For every model and method the first request and seed of the grid: the deleted rows get other
content, everything is trained and unlearnt again with the same keys, and the outputs are compared.
"""

import argparse
from typing import Any

from experiments import collect, run, selection, store
from experiments.config import Config
from experiments.errors import Refused
from experiments.grid import Cell
from experiments.plugins import find

COLUMNS = (
    "data", "model", "method", "claim", "values", "pairs", "retrained", "bitwise", "undeleted",
    "noise", "declared", "differs", "verdict",
)  # fmt: skip
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


def row(lab: Any, cell: Cell, made: Any) -> dict[str, Any]:
    """One line of audit.csv; ``made`` keeps what several lines have in common."""
    import jax

    from experiments.cell import Skipped, keys
    from jaxforget import methods
    from jaxforget.metrics import audit, claims

    def measure(cell):
        key, method, request = keys(cell.spec["seed"])["fit"], lab.method(cell), lab.request(cell)
        place = cell.key("data", "split", "model", "method", "request", "seed")
        return made.get(place, lambda: audit.exactness(key, method, *request))

    swept = [
        f"{n.partition('.')[2]}={v}" for n, v in sorted(cell.axes.items()) if n[:7] == "method."
    ]
    told = {"data": cell.axes["data"], "model": cell.axes["model"]}
    told["method"] = " ".join([cell.axes["method"], *swept])
    spec = cell.spec["method"]
    claim = claims.of(methods.load(spec["use"]), spec["settings"])
    told |= {"claim": claim.kind, "declared": _declared(claim, cell)}
    try:
        found = measure(cell)
        given = measure(_under(cell, dict(claim.settings))) if claim.settings else None
    except (Skipped, ValueError) as reason:
        return told | {"verdict": f"not audited: {reason}"}
    rounding = ROUNDING["float64" if jax.config.jax_enable_x64 else "float32"]
    gaps = {name: getattr(found, name).distance for name in ("values", "pairs", "retrained")}
    differs = [f"{name} {gap:.2g}" for name, gap in found.state.items() if gap]
    return told | gaps | {
        "bitwise": found.bitwise, "undeleted": found.undeleted, "noise": found.noise,
        "differs": "; ".join(differs),
        "verdict": audit.verdict(found, claim, rounding=rounding, given=given),
    }  # fmt: skip


def audit(config: Config, cells: list[Cell], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Audits the cells one by one; the table is on disk after each."""
    from experiments.cell import Laboratory
    from experiments.clock import Recent

    experiment = config.experiment
    run.configure(arguments.device, experiment.dtype)
    lab = Laboratory(
        run.root(arguments.root), experiment.request.path, experiment.ks, experiment.repeats
    )
    rows, made = [], Recent(64)
    for cell in chosen(cells):
        if cell.spec["request"]["kind"] == "none":
            raise Refused("audit: the request is empty; give another one: request.kind=random ...")
        rows.append(row(lab, cell, made))
        table = [[line.get(name) for name in COLUMNS] for line in rows]
        folder = store.folder(arguments.results, config.name)
        store.write_atomically(folder / "audit.csv", collect.csv(list(COLUMNS), table))
        print("{data} {model} {method}: {verdict}".format(**rows[-1]), flush=True)
    return rows


def main(argv: list[str]) -> int:
    parser = selection.parser("audit", __doc__, select=True)
    parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="default: JAX's choice")
    parser.add_argument("--root", help="folder of the data sets (default: $JAXFORGET_DATA)")
    arguments = parser.parse_intermixed_args(argv)
    rows = audit(*selection.load(arguments), arguments)
    return int(any(str(line["verdict"]).startswith("broken") for line in rows))
