"""Writes a request that is hard to meet, for `request.kind = "pairs"`: a CSV user,item or, where
--out ends in .inter, a file of RecBole (packed where it ends in .gz).

  memorised  the interactions whose score owes most to themselves: by models of the config trained
             on random halves of the data, mean score of those that held one minus of the others.
  entangled  those whose item lies nearest to the other items of its user, in the factors of the
             undeleted model: what stays predicts them.
  influential  those whose forgetting would move the undeleted model most, as it predicts itself
             (models trained by gradient).
  sensitive  those with the items of a list (--items, a CSV with the column item or a .inter with
             item_id), of one person after the other in random order until the share is reached.

The first cell that is left by --only says of which data, split, model and seed.
"""

import csv
import gzip
import io
from pathlib import Path

import numpy as np

from .. import files
from ..config.fields import INJECTED
from ..errors import Refused
from ..lab import setup
from . import _selection

KINDS = ("memorised", "influential", "entangled", "sensitive")


def main(argv: list[str]) -> int:
    parser = _selection.parser("requests", __doc__, select=True)
    _selection.add_laboratory(parser)
    add = parser.add_argument
    add("--kind", choices=KINDS, required=True)
    add("--ratio", type=float, default=0.01, help="share of the interactions (default .01)")
    add("--models", type=int, default=16, metavar="n", help="for memorised (default 16)")
    add("--items", metavar="FILE", help="for sensitive: .csv or .inter of original ids")
    add("--batch", default="auto", metavar="auto|off|n", help="models trained together, as in run")
    add("--out", required=True, metavar="FILE", help="the request: .csv or .inter")
    arguments = parser.parse_intermixed_args(argv)
    _check(arguments)
    config, cells = _selection.load(arguments)
    setup.check_batch(config.experiment, arguments.batch, None)
    lab = setup.laboratory(
        config.experiment, arguments.device, arguments.root, arguments.batch, None
    )
    cell = cells[0]
    if cell.axes["kind"] in INJECTED:
        raise Refused(
            f"requests: planted users ({cell.axes['kind']}) have no ids that could be read"
        )
    prepared, (train, request) = lab.materials.attacked(cell), lab.materials.request(cell)
    users, items = (np.asarray(ids) for ids in (train.users, train.items))
    n_wanted = max(1, round(arguments.ratio * float(np.sum(np.asarray(request.before) > 0))))
    if arguments.kind == "sensitive":
        rows, told = _sensitive(arguments, cell, prepared, train, n_wanted)
    else:
        rows, told = _hardest(lab, arguments, cell, n_wanted)
    pairs = prepared.users[users[rows]].tolist(), prepared.items[items[rows]].tolist()
    files.write_atomically(Path(arguments.out), _content(arguments.out, *pairs))
    print(f"{arguments.out}: {len(rows)} of {len(users)} interactions; {told}")
    return 0


def _content(out: str, users: list, items: list) -> bytes:
    """The file of a request, in the format that its name says."""
    import pandas as pd

    from jaxforget.data import _written
    from jaxforget.prepare import requests

    if requests.is_recbole(out):
        try:
            written = _written.recbole_text(pd.DataFrame({"user": users, "item": items}))
        except ValueError as fault:
            raise Refused(f"--out {out}: {fault}: write a CSV instead") from None
    else:
        text = io.StringIO()
        rows = [("user", "item"), *zip(users, items, strict=True)]
        csv.writer(text, lineterminator="\n").writerows(rows)
        written = text.getvalue()
    content = written.encode()
    return gzip.compress(content, mtime=0) if out.endswith(".gz") else content


def _check(arguments):
    if not 0 < arguments.ratio < 1:
        raise Refused(f"--ratio must lie between 0 and 1; got {arguments.ratio}")
    if arguments.models < 2:
        raise Refused(f"--models must be 2 or more; got {arguments.models}")
    if (arguments.items is None) == (arguments.kind == "sensitive"):
        raise Refused("--items goes with --kind sensitive, which needs it")


def _hardest(lab, arguments, cell, n_wanted):
    """The hardest interactions, in their order; those that cannot be judged are left out."""
    from ..lab import hard

    if arguments.kind == "memorised":
        found = hard.memorised(lab, cell, arguments.models)
    else:
        found = {"influential": hard.influential, "entangled": hard.entangled}[arguments.kind](
            lab, cell
        )
    judged = np.flatnonzero(np.isfinite(found))
    rows = np.sort(judged[np.argsort(-found[judged], kind="stable")[:n_wanted]])
    if not len(rows):
        raise Refused("no interaction could be judged: the models diverged, or are too few")
    means = f"{found[rows].mean():.3g} in the mean, {found[judged].mean():.3g} of all"
    return rows, f"{arguments.kind}: {means}"


def _sensitive(arguments, cell, prepared, train, n_wanted):
    """The interactions with listed items, of enough people."""
    from jaxforget.prepare import requests

    from ..lab import hard

    labels = prepared.users, prepared.items
    try:
        listed = requests.listed(arguments.items, prepared.split, *labels, ignore_missing=True)
    except (OSError, ValueError) as fault:
        raise Refused(f"no list of items, or none of its items is known: {fault}") from None
    if listed.items is None or listed.users is not None:
        raise Refused(
            f"{arguments.items}: a list of items has the column item (.inter: item_id) alone"
        )
    users, items = (np.asarray(ids) for ids in (train.users, train.items))
    rows, people = hard.sensitive(users, np.isin(items, listed.items), n_wanted, cell.spec["seed"])
    return rows, f"{people} people, {len(np.unique(items[rows]))} items"
