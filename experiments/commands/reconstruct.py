"""Measures what two releases of a model reveal of what was deleted between them.

An observer holds the item tables before and after each request of a config and ranks the items by
how much they changed; no user's row is needed. reconstruction.csv has a row for each cell and
release: R-precision and AUC with which the deleted items are found, what their popularity alone
would find, and the test NDCG@20 of what is released. Releases: the unlearnt model as it is, rounded
to float16 or int8, or with noise (a multiple of the root mean square of the change); and models
retrained from the same and from another seed.

Then the advice, advice.csv: the smallest number of requests per release, among those of the config,
from which on the attack finds no more than popularity does, up to 5 points of R-precision (the 95 %
interval over seeds ends below that). Both hold all that was measured: rows of other methods,
requests and seeds than those asked for stay as they are. Rows of other settings or data under the
names of this config would be averaged with these: such a table is refused.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from .. import files, frames, statistics
from ..config import grid
from ..config.grid import AGAIN, Cell, named
from ..config.owned import by_cell
from ..errors import Refused
from ..lab import setup
from ..lab.added import Added
from ..lab.tables import csv
from . import _selection

GROUP = ["data", "model", "method", "release"]
FACTS = ["deleted_users", "deleted_pairs", "deleted_items"]
FOUND = ["r_precision", "auc", "ndcg", "popularity_r_precision", "popularity_auc"]
COLUMNS = ["cell", *GROUP, "kind", "count", "seed", *FACTS, *FOUND, "data_hash", "commit"]
KEY = (*GROUP, "kind", "count", "seed")  # tells the rows apart
ADVICE = [*GROUP, "kind", "release_after", "largest", "advantage", "low", "high", "n"]
MARGIN = 0.05  # of R-precision over popularity's, up to which a release is said to reveal nothing


def main(argv: list[str]) -> int:
    parser = _selection.parser("reconstruct", __doc__, select=True)
    _selection.add_laboratory(parser)
    arguments = parser.parse_intermixed_args(argv)
    if arguments.shard:
        raise Refused("reconstruct: one run makes the tables; leave out --shard")
    config, cells = _selection.load(arguments)
    if any(cell.axes["count"] is None for cell in cells):
        raise Refused("reconstruct: give requests by number: request.kind=users request.count=1,10")
    if any(AGAIN in cell.axes for cell in cells):
        raise Refused("reconstruct: one release per seed and request; leave unlearn_seeds out")
    lab = setup.laboratory(config.experiment, arguments.device, arguments.root)
    folder = files.folder(arguments.results, config.name)
    path = folder / "reconstruction.csv"
    cells = _selection.served("reconstruct", lab, cells)
    table = Added(lab, path, COLUMNS, KEY, by_cell(grid.cells(config)))
    for cell, found in _found(lab, cells):  # what is done stays, whatever comes next
        table.add([row | table.stamp(cell.id) for row in found])
    with files.locked(folder):
        advised = advice(frames.read(path))  # as the table holds them, whichever run made them
        content = csv(ADVICE, [[line[name] for name in ADVICE] for line in advised])
        files.write_atomically(folder / "advice.csv", content)
    for row in advised:
        print("{data} {model} {method} {release}: {words}".format(**row, words=_words(row)))
    return 0


def _found(lab: Any, cells: list[Cell]) -> Iterator[tuple[Cell, list[dict[str, Any]]]]:
    """The rows of each cell, of those whose method serves its model."""
    from ..lab import provenance, reconstruction

    commit = provenance.commit()
    for cell in cells:
        facts, found = reconstruction.rows(lab, cell)
        base = {name: cell.axes[name] for name in ("kind", "count", "seed")}
        base |= {part: named(cell, part) for part in ("data", "model", "method")}
        base |= {"commit": commit} | facts
        shown = found[0]
        print(
            f"{base['model']} {base['method']} {facts['deleted_users']} users, seed "
            f"{base['seed']}: R-precision {shown.r_precision:.3f}, AUC {shown.auc:.3f}; "
            f"popularity {facts['popularity_r_precision']:.3f}, {facts['popularity_auc']:.3f}",
            flush=True,
        )
        yield cell, [base | row._asdict() for row in found]


def advice(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """For each kind of release, after how many requests of the config it reveals nothing."""
    rows = rows.assign(more=rows["r_precision"] - rows["popularity_r_precision"])
    found = []
    for key, group in rows.groupby([*GROUP, "kind"], sort=False):
        line = dict(zip([*GROUP, "kind"], key, strict=True))
        line |= {"release_after": None, "largest": int(group["count"].max())}
        estimates = {
            int(count): statistics.mean(part["more"].to_numpy(), whole=True)
            for count, part in group.groupby("count")
        }
        quiet = [count for count, e in estimates.items() if e.high <= MARGIN]
        # from here on, not only here by chance
        enough = [a for a in quiet if all(b in quiet for b in estimates if b >= a)]
        if enough:
            line["release_after"] = min(enough)
        shown = estimates[line["release_after"] or line["largest"]]
        names = ("advantage", "low", "high", "n")
        found.append(line | dict(zip(names, shown, strict=True)))
    return found


def _words(row: dict[str, Any]) -> str:
    more = f"{row['advantage']:+.3f} over popularity"
    what = row["kind"] if row["kind"] in ("users", "items") else "interactions"
    if row["release_after"] is None:
        return f"not shown to be safe up to {row['largest']} deleted {what} at once ({more})"
    return f"release after at least {row['release_after']} deleted {what} ({more})"
