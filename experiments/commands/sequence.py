"""Meets the request of each cell one person after the other, and looks at the model in between.

The people of the request ask in random order (of the cell's seed), each for all that is theirs in
it; every step goes on from the model that the last one left. Before anyone has asked, and after a
quarter, half, three quarters and all of them, three models are measured (stages): undeleted, as if
nothing were done, unlearnt, and retrained on what is retained then.

sequence.csv has a row for each cell, checkpoint, stage and metric:

  sensitive         share of the top-k lists of those who have asked that items of the request take
                    up; hidden are the items that a person still holds, not the forgotten ones
  exposure          share of the forgotten pairs whose item is in the person's top-k list
  ndcg              on the test part, of everybody
  distance          of all predictions from those of the retrained model, and of the forgotten pairs
                    (distance_forgotten); before anyone asks it is what two trainings differ by
  latency_min, ...  seconds of a step, least, mean and most, since the checkpoint before

people is how many ask in all; n how many have asked, of a latency how many steps it is of. Cells
that are in the table already, with as many people, are not computed again; a table of other data
than are there now (data_hash, as in cells.csv), or of other settings under the names of this
config, is refused. Rows of other cells stay as they are.
"""

import pandas as pd

from .. import files, frames
from ..config import grid
from ..config.grid import label, named
from ..config.owned import by_cell
from ..errors import Refused
from ..lab import setup
from ..lab.added import Added
from . import _selection

NAMES = ["data", "model", "method"]
AXES = [*NAMES, "kind", "ratio", "count"]
COLUMNS = ["cell", *AXES, "seed", "people", "checkpoint", "stage", "metric", "k", "value", "n"]
COLUMNS += ["data_hash", "commit"]
SHOWN = ("sensitive", "exposure", "ndcg", "distance", "latency_mean", "latency_max")


def main(argv: list[str]) -> int:
    parser = _selection.parser("sequence", __doc__, select=True)
    _selection.add_laboratory(parser)
    parser.add_argument("--requests", type=int, metavar="n", help="the first n people alone")
    arguments = parser.parse_intermixed_args(argv)
    if arguments.requests is not None and arguments.requests < 1:
        raise Refused(f"--requests must be 1 or more; got {arguments.requests}")
    if arguments.shard:
        raise Refused("sequence: one run makes the table; leave out --shard")
    config, cells = _selection.load(arguments)
    if config.experiment.unlearn_seeds:
        raise Refused("sequence: unlearn_seeds has no place in its table: leave it out")
    lab = setup.laboratory(config.experiment, arguments.device, arguments.root)
    path = files.folder(arguments.results, config.name) / "sequence.csv"
    held = Added(lab, path, COLUMNS, ("cell",), by_cell(grid.cells(config)))
    rows = held.rows()
    from ..lab import provenance, sequence

    follow, commit = sequence.Sequences(lab, arguments.requests), provenance.commit()
    for cell in _selection.served("sequence", lab, cells):
        people = follow.people(cell)
        if any(row["cell"] == cell.id and row["people"] == people for row in rows):
            print(f"{label(cell)}: {people} people, already there", flush=True)
            continue
        base = held.stamp(cell.id) | {"people": people, "commit": commit}
        base |= {name: cell.axes[name] for name in ("kind", "ratio", "count", "seed")}
        base |= {part: named(cell, part) for part in NAMES}
        # what is done stays, whatever comes next
        held.add([base | row._asdict() for row in follow.rows(cell)])
        print(f"{label(cell)}: {people} people", flush=True)
    asked = {cell.id for cell in cells}
    rows = frames.read(path, COLUMNS)
    print(table(rows[rows["cell"].isin(asked)]))
    return 0


def table(rows: pd.DataFrame) -> str:
    """What the models are once all have asked: means over seeds, - where one has no number."""
    rows = rows[(rows["checkpoint"] == 1) & rows["metric"].isin(SHOWN)]
    lengths = rows["k"].map(lambda k: "" if pd.isna(k) else f"@{k:.0f}")
    rows = rows.assign(metric=rows["metric"] + lengths)
    by = [name for name in AXES if name in NAMES[1:] or rows[name].nunique(dropna=False) > 1]
    by = [*by, "stage", "metric"]
    means = rows.groupby(by, sort=False, dropna=False)["value"].agg(lambda x: x.mean(skipna=False))
    return means.unstack("metric", sort=False).to_string(float_format="%.3g", na_rep="-")
