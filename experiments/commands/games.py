"""Asks of every method whether a forgotten pair leaves a trace: was it ever there?

One half of the models learnt a pair and were made to forget it, the other half never saw it; an
attacker who knows some of either tells the others apart, pair by pair: AUC, and the share found at
1 % and .1 % false alarms. `evidence` asks the other question of arXiv 2506.13009, whether an
unlearnt model can be told from a retrained one. Both are harder to pass for pairs that a model
memorised than for random ones: jaxforget requests --kind memorised.

The kinds `retrained` and `undeleted` are models that never learnt any of the pairs, which nothing
can tell apart, and models that forgot none. Writes results/X/games.csv; what was trained is kept
under results/X/games, so that a run that was stopped goes on.
"""

import sys

from .. import files, statistics
from ..config import grid
from ..errors import Refused
from ..lab import setup
from . import _selection

AXES = ["data", "model", "kind", "ratio", "count"]
COLUMNS = ["method", "measure", *statistics.Estimate._fields[:3], "halves", "n_models", "n_pairs"]


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
    if arguments.pairs < 1:
        raise Refused(f"--pairs must be 1 or more; got {arguments.pairs}")
    config, chosen = _selection.load(arguments)
    setup.check_batch(config.experiment, arguments.batch, None)
    lab = setup.laboratory(
        config.experiment, arguments.device, arguments.root, arguments.batch, None
    )
    folder, lines = files.folder(arguments.results, config.name), []
    for plan in plans.plans(chosen, arguments.models, arguments.pairs):
        if not plan.draws:
            print(f"{grid.named(plan.cell, 'model')}: its training draws nothing; left out")
            continue
        played = games.play(lab, folder / "games", plan, _told)
        lines += [_line(plan, played, *found) for found in games.measures(played)]
        for line in (x for x in lines[-3 * len(played.scores) :] if x["measure"] == "lira"):
            print("{model:<12}{method:<36}AUC {value:.3f} [{low:.3f}, {high:.3f}]".format(**line))
    if not lines:
        raise Refused("games: no model of this config draws, so there is no distribution to attack")
    from ..lab.tables import csv

    columns = [*AXES, *COLUMNS, "commit"]
    content = csv(columns, [[line[name] for name in columns] for line in lines])
    files.write_atomically(folder / "games.csv", content)
    print(folder / "games.csv")
    return 0


def _line(plan, played, kind, measure, estimate):
    """A row of the table."""
    line = plan.cell.axes | {name: grid.named(plan.cell, name) for name in ("data", "model")}
    line |= {"method": kind, "measure": measure}
    line |= dict(zip(statistics.Estimate._fields[:3], estimate)) | {"halves": estimate.n}
    line |= {"n_models": len(played.held) // 2, "n_pairs": played.held.shape[1]}
    return line | {"commit": " ".join(played.commits)}


def _told(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
