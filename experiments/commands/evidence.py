"""Judges the methods of a config by its banks of models: distances, attacks, a verdict.

Needs `oracles`. Writes evidence.csv, every measure with its interval, and verdict.csv, a line per
method:

  left     share of the distance to the retrained models that a method leaves: median Gaussian KL
           of the forgotten pairs' scores, over that of two halves of the retrained models, as a
           share of the same for the undeleted models. 0: as retrained, 1: as if nothing was done.
           Where whole users go, of the retained pairs.
  told     AUC, over that of two halves of the retrained models, of an attacker who tells the
           method's models from retrained ones by the score of a pair (U-LiRA).
  excess   how much more often than in a retrained model a forgotten pair outscores a test pair.
  harm     the same distance on retained pairs, over the floor, in nats.
  utility  AUC of the labels of the test pairs, over that of the retrained models.
  left_p   p-value of left against 100 %, by Holm's rule for the methods of one bank.

Verdicts: "as retrained" if the intervals of left and told both end at 5 % or below; "further" if
left is above 100 % and left_p below .05; "nearer" if left is below and left_p too, "over-forgets"
if the excess is also below 0; "no step" if nothing changed; "cannot be told" if the undeleted
models themselves are inside the floor; else "no difference shown".

Of banks made with `oracles --known` also measures.csv: how each measure did on models whose truth
is known. A measure of one model is usable in a bank if it tells undeleted models from retrained
ones (interval of the AUC above .9) and those without half of the request (above .5), grows with
what is left, and, if it is made of scores, changes by less than .05 when these are rounded to 8
bits.
"""

from pathlib import Path
from typing import Any

from .. import files
from ..config import owned
from ..config.grid import Cell, canonical, named
from ..config.reading import Config
from ..errors import PROGRAM, Refused
from ..lab import setup
from ..lab.tables import csv
from . import _selection

GROUP = ["data", "model", "kind", "ratio", "count", "bank"]
ESTIMATE = ["value", "low", "high"]
EVIDENCE = [*GROUP, "method", "measure", "part", *ESTIMATE, "halves", "n_models", "n_pairs"]
PARTS = ("left", "told", "excess", "harm", "utility")
VERDICT = [
    *(*GROUP, "method", "claim", "verdict", "why", "part"),
    *(name + end for name in PARTS for end in ("", "_low", "_high")),
    *("left_p", "n_models", "n_forgotten", "settings", "commit"),
]
TRIED = ("faithful", "half", "relearned", "from_none", "from_half", "rounded")
MEASURES = [
    *(*GROUP, "measure", "of"),
    *(name + end for name in TRIED for end in ("", "_low", "_high")),
    *("ordered", "usable", "why", "n_models", "commit"),
]
MOST = 3  # measures that are recommended


def main(argv: list[str]) -> int:
    parser = _selection.parser("evidence", __doc__, select=False)
    _selection.add_code(parser)
    arguments = parser.parse_intermixed_args(argv)
    config, cells = _selection.load(arguments)
    folder = files.folder(arguments.results, config.name)
    setup.configure("cpu", "float32")
    evidence, verdicts, measures = tables(config, cells, folder)
    written = {"evidence": (EVIDENCE, evidence), "verdict": (VERDICT, verdicts)}
    if measures:
        written["measures"] = MEASURES, measures
    else:  # of banks that are no longer there
        (folder / "measures.csv").unlink(missing_ok=True)
    for name, (columns, rows) in written.items():
        lines = [[row.get(column) for column in columns] for row in rows]
        files.write_atomically(folder / f"{name}.csv", csv(columns, lines))
    for row in verdicts:
        print("{data} {model} {kind} {method}: {verdict} ({why})".format(**row))
    if measures:
        print(recommended(measures))
    return 0


def recommended(rows: list[dict[str, Any]]) -> str:
    """Which measures are usable in how many banks, and which few to trust: those of most banks."""
    banks = len({row["bank"] for row in rows})
    good = {row["measure"]: [] for row in rows}
    for row in rows:
        if row["usable"]:
            good[row["measure"]].append(row["half"] if row["of"] == "one model" else 0.0)
    # of those usable in as many banks, first what tells best that half of a request was forgotten
    order = sorted(good, key=lambda name: (-len(good[name]), -sum(good[name])))
    few = [name for name in order if 2 * len(good[name]) >= banks][:MOST]
    counts = ", ".join(f"{name} in {len(good[name])}" for name in order)
    words = ", ".join(few) or "none: no measure is usable in half of the banks"
    return f"usable measures, of {banks} banks: {counts}\nrecommended: {words}"


def tables(
    config: Config, cells: list[Cell], folder: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of evidence.csv, verdict.csv and measures.csv: of the banks the config asks for."""
    from ..lab import evidence, verdicts
    from ..lab import measures as tried

    paths = sorted((folder / "oracles").glob("*.npz"))
    if not paths:
        raise Refused(f"{folder / 'oracles'}: no bank; first: {PROGRAM} oracles {config.name}")
    found, said, told = [], [], []
    for bank in _banks(paths, cells):
        base = evidence.axes(bank) | {"bank": bank.about["id"]}
        measures = evidence.measure(bank)
        for row in evidence.rows(bank, measures):
            found.append(
                base
                | {"method": row.kind, "measure": row.measure, "part": row.part}
                | dict(zip(ESTIMATE, row.found))
                | {"halves": row.found.n, "n_models": row.n_models, "n_pairs": row.n_pairs}
            )
        for kind, verdict in verdicts.of(bank, measures).items():
            said.append(base | {"method": kind} | _line(bank, kind, verdict))
        commit = " ".join(bank.about["commits"])
        for row in tried.of(bank, measures):
            told.append(base | row._asdict() | _estimates(row, TRIED) | {"commit": commit})
    return found, said, told


def _estimates(row: Any, names: tuple[str, ...]) -> dict[str, float]:
    """The named estimates of a row, three columns each."""
    found = {}
    for name in names:
        estimate = getattr(row, name)
        found |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return found


def _banks(paths: list[Path], cells: list[Cell]) -> list[Any]:
    """The banks that the config asks for as it is now, with those of its methods that they hold."""
    from jaxforget import data

    asked: dict[str, dict[str, Any]] = {}
    for cell in cells:
        own = asked.setdefault(cell.key(*owned.DECIDES), {})
        own[named(cell, "method")] = cell.spec["method"]
    found: dict[str, Any] = {}
    for path in paths:
        try:
            bank = data.oracles(path)
        except ValueError as fault:
            raise Refused(str(fault)) from fault
        name = canonical({name: bank.about.get(name) for name in owned.DECIDES})
        if name not in asked:
            print(f"{path}: not of this config as it is now; left out")
            continue
        if name in found:
            raise Refused(f"{path}: a second bank of one request (--pairs): remove one of the two")
        made, wanted = bank.about["methods"], asked[name]
        good = [kind for kind in bank.scores if kind not in made or made[kind] == wanted.get(kind)]
        for kind in sorted((bank.scores.keys() | wanted.keys()) - set(good)):
            print(f"{path}: {kind} is not in it with the settings of the config; left out")
        found[name] = bank._replace(scores={kind: bank.scores[kind] for kind in good})
    if not found:
        raise Refused(f"no bank is of this config as it is now; first: {PROGRAM} oracles")
    return list(found.values())


def _line(bank: Any, kind: str, verdict: Any) -> dict[str, Any]:
    from jaxforget import methods
    from jaxforget.metrics import claims

    spec = bank.about["methods"].get(kind)
    line = {"verdict": verdict.word, "why": verdict.why, "part": verdict.part, "claim": None}
    if spec is not None:
        line["claim"] = claims.of(methods.load(spec["use"]), spec["settings"]).kind
    line |= _estimates(verdict, PARTS)
    line["left_p"] = verdict.chance
    line["n_models"] = len(bank.scores["retrained"])
    line["n_forgotten"] = int((bank.part == "forgotten").sum())
    line["settings"] = owned.settings(bank.about, spec)
    line["commit"] = " ".join(bank.about["commits"])
    return line
