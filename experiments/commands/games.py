"""Asks of every method whether a forgotten pair leaves a trace: was it ever there?

One half of the models learnt a pair and were made to forget it, the other half never saw it; an
attacker who knows some of either tells the others apart, pair by pair: AUC, and the share found at
1 % and .1 % false alarms. `evidence` asks the other question of arXiv 2506.13009, whether an
unlearnt model can be told from a retrained one. Both are harder to pass for pairs that a model
memorised than for random ones: jaxforget requests --kind memorised.

n_models is how many models of either side there are, n_known how many of these the attacker knows.
The more he knows the more he finds: a method is compared with `undeleted`, and with another method,
at the same number of models. The kinds `retrained` and `undeleted` are models that never learnt any
of the pairs, which nothing can tell apart, and models that forgot none. Writes results/X/games.csv;
what was trained is kept under results/X/games, so that a run that was stopped goes on.
"""

import sys

from .. import files, statistics
from ..config import grid, owned
from ..errors import Refused
from ..lab import setup
from ..lab.added import Added
from . import _selection

AXES = ["data", "model", "kind", "ratio", "count"]
COLUMNS = ["bank", "method", "measure", *statistics.Estimate._fields[:3], "halves"]
COUNTS = ["n_models", "n_known", "n_pairs"]
NAMES = [*AXES, *COLUMNS, *COUNTS, "settings", "data_hash", "commit"]
KEY = ("bank", "method")  # the rows of these are made together, and replaced so


def main(argv: list[str]) -> int:
    parser = _selection.parser("games", __doc__, select=True)
    _selection.add_laboratory(parser)
    add = parser.add_argument
    add("--models", type=int, default=64, metavar="n", help="an even number (default 64)")
    add("--pairs", type=int, default=500, metavar="n", help="of the request, at most (default 500)")
    add("--batch", default="auto", metavar="auto|off|n", help="models trained together, as in run")
    arguments = parser.parse_intermixed_args(argv)
    from ..lab import games, plans

    if arguments.models < games.LEAST or arguments.models % 2:
        raise Refused(f"--models: an even number, {games.LEAST} or more; got {arguments.models}")
    if arguments.shard:
        raise Refused("games: all models of a table are made by one run; leave out --shard")
    if arguments.pairs < 1:
        raise Refused(f"--pairs must be 1 or more; got {arguments.pairs}")
    config, chosen = _selection.load(arguments)
    setup.check_batch(config.experiment, arguments.batch, None)
    lab = setup.laboratory(
        config.experiment, arguments.device, arguments.root, arguments.batch, None
    )
    folder = files.folder(arguments.results, config.name)
    path, chosen = folder / "games.csv", _selection.served("games", lab, chosen)
    asked = plans.plans(chosen, arguments.models, arguments.pairs)
    table = Added(lab, path, NAMES, KEY, owned.by_bank(grid.cells(config)))
    lines = []
    for plan in asked:
        if not plan.draws:
            print(f"{grid.named(plan.cell, 'model')}: its training draws nothing; left out")
            continue
        played = games.play(lab, folder / "games", plan, _told)
        lines = [_line(plan, played, *found) for found in games.measures(played)]
        for line in (x for x in lines if x["measure"] == "lira"):
            told = "{model:<12}{kind:<10}{method:<32}AUC {value:.3f} [{low:.3f}, {high:.3f}]"
            print(told.format(**line))
        table.add([line | table.stamp(line["settings"]) for line in lines])
    if not lines:
        raise Refused("games: no model of this config draws, so there is no distribution to attack")
    print(path)
    return 0


def _line(plan, played, kind, measure, estimate):
    """A row of the table."""
    line = plan.cell.axes | {name: grid.named(plan.cell, name) for name in ("data", "model")}
    line |= {"bank": plan.id, "method": kind, "measure": measure}
    spec = plan.methods[kind].spec["method"] if kind in plan.methods else None
    line["settings"] = owned.settings(plan.cell.spec, spec)
    line |= dict(zip(statistics.Estimate._fields[:3], estimate)) | {"halves": estimate.n}
    n_models, n_pairs = played.held.shape
    line |= {"n_models": n_models // 2, "n_known": n_models // 4, "n_pairs": n_pairs}
    return line | {"commit": " ".join(played.commits)}


def _told(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
