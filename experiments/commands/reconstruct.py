"""Measures what two releases of a model reveal of what was deleted between them.

An observer holds the item tables before and after each request of a config and ranks the items by
how much they changed; no user's row is needed. reconstruction.csv has a row for each cell and
release: R-precision and AUC with which the deleted items are found, what their popularity alone
would find, and the test NDCG@20 of what is released. Releases: the unlearnt model as it is, rounded
to float16 or int8, or with noise (a multiple of the root mean square of the change); and models
retrained from the same and from another seed.

Then the advice, advice.csv: the smallest number of requests per release, among those of the config,
from which on the attack finds no more than popularity does, up to 5 points of R-precision (the 95 %
interval over seeds ends below that).
"""

from typing import Any

import pandas as pd

from .. import files
from ..config.reading import Config
from ..errors import Refused
from ..lab import setup, statistics
from ..lab.oracles import label
from ..lab.tables import csv
from . import _selection

GROUP = ["data", "model", "method", "release"]
FACTS = ["deleted_users", "deleted_pairs", "deleted_items"]
FOUND = ["r_precision", "auc", "ndcg", "popularity_r_precision", "popularity_auc"]
COLUMNS = [*GROUP, "kind", "ratio", "count", "seed", *FACTS, *FOUND, "commit"]
ADVICE = [*GROUP, "kind", "release_after", "largest", "advantage", "low", "high", "n"]
MARGIN = 0.05  # of R-precision over popularity's, up to which a release is said to reveal nothing


def main(argv: list[str]) -> int:
    parser = _selection.parser("reconstruct", __doc__, select=True)
    _selection.add_laboratory(parser)
    arguments = parser.parse_intermixed_args(argv)
    config, cells = _selection.load(arguments)
    lab = setup.laboratory(config.experiment, arguments.device, arguments.root)
    rows = _rows(lab, cells)
    advised = advice(pd.DataFrame(rows))
    folder = files.folder(arguments.results, config.name)
    _write(folder, rows, advised, config)
    for row in advised:
        print("{data} {model} {method} {release}: {words}".format(**row, words=_words(row)))
    return 0


def _rows(lab: Any, cells: list[Any]) -> list[dict[str, Any]]:
    from ..lab import provenance, reconstruction

    commit, rows = provenance.commit(), []
    for cell in cells:
        if cell.spec["request"]["kind"] == "none":
            raise Refused("reconstruct: the request is empty; give another one: request.kind=users")
        facts, found = reconstruction.rows(lab, cell)
        base = {name: cell.axes[name] for name in ("data", "model", "kind", "ratio", "count")}
        base |= {"method": label(cell), "seed": cell.axes["seed"], "commit": commit} | facts
        rows += [base | row._asdict() for row in found]
        shown = found[0]
        print(
            f"{base['model']} {base['method']} {facts['deleted_users']} users, seed "
            f"{base['seed']}: R-precision {shown.r_precision:.3f}, AUC {shown.auc:.3f}; "
            f"popularity {facts['popularity_r_precision']:.3f}, {facts['popularity_auc']:.3f}",
            flush=True,
        )
    return rows


def advice(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """For each kind of release, after how many requests of the config it reveals nothing."""
    rows = rows.assign(amount=rows["count"].astype(float).fillna(rows["ratio"].astype(float)))
    rows = rows.assign(more=rows["r_precision"] - rows["popularity_r_precision"])
    found = []
    for key, group in rows.groupby([*GROUP, "kind"], sort=False):
        line = dict(zip([*GROUP, "kind"], key, strict=True))
        line |= {"release_after": None, "largest": float(group["amount"].max())}
        estimates = {
            float(amount): statistics.mean(part["more"].to_numpy())
            for amount, part in group.groupby("amount")
        }
        quiet = [amount for amount, e in estimates.items() if e.high <= MARGIN]
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
    if row["release_after"] is None:
        return f"not shown to be safe up to {row['largest']:g} requests at once ({more})"
    return f"release after at least {row['release_after']:g} requests ({more})"


def _write(folder: Any, rows: list[dict], advised: list[dict], config: Config) -> None:
    for name, columns, lines in (
        ("reconstruction", COLUMNS, rows),
        ("advice", ADVICE, advised),
    ):
        table = [[line.get(column) for column in columns] for line in lines]
        files.write_atomically(folder / f"{name}.csv", csv(columns, table))
