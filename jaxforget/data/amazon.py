"""Amazon review ratings (McAuley): one CSV per category, without a header.

The files of 2014 begin with the user, those of 2018 with the item. Nothing in a file shows which,
and the wrong choice swaps users and items without an error: so ``columns`` has no default.
"""

from pathlib import Path
from typing import Any, Literal

from jaxforget.data import Source, _formats, locate, under

COLUMNS = {
    "2014": ["user", "item", "value", "time"],
    "2018": ["item", "user", "value", "time"],
}
LICENCE = "none stated; the site asks for citation; the content is Amazon customers'"

SOURCES = {
    "amazon-electronics-2014": Source(
        name="amazon-electronics-2014",
        url="http://snap.stanford.edu/data/amazon/productGraph/categoryFiles/ratings_Electronics.csv",
        sha256=None,
        folder="amazon-electronics",
        licence=LICENCE,
        citation="He, McAuley: Ups and Downs, WWW 2016",
        counts="4,201,696 users x 476,002 items, 7,824,482 ratings 1-5",
        files=(
            "amazon-electronics/ratings_Electronics.csv",
            "amazon-electronics/ratings_Electronics.csv.gz",
        ),
    ),
    "amazon-electronics-2018": Source(
        name="amazon-electronics-2018",
        url="https://datarepo.eng.ucsd.edu/mcauley_group/data/amazon_v2/categoryFilesSmall/Electronics.csv",
        sha256=None,
        folder="amazon-electronics",
        licence=LICENCE,
        citation="Ni, Li, McAuley: Justifying Recommendations using Distantly-Labeled Reviews, "
        "EMNLP 2019",
        counts="20,994,353 ratings 1-5",
        files=("amazon-electronics/Electronics.csv", "amazon-electronics/Electronics.csv.gz"),
    ),
}


def read(
    root: str | Path | None, *, columns: Literal["2014", "2018"], path: str | None = None
) -> Any:
    """Reads the raw table; user and item ids are text.

    Args:
      root: the data root.
      columns: ``"2014"``, the order user, item, rating, time; ``"2018"``, item, user, rating, time.
      path: the file of a category, relative to the root; None takes Electronics of that year.

    Returns:
      A frame with the columns ``user``, ``item``, ``value``, ``time``.

    Raises:
      ValueError: another column order, or a bad line (a header, for one).
      FileNotFoundError: the file is not there.
    """
    if columns not in COLUMNS:
        raise ValueError(
            f'columns must be "2014" (user first) or "2018" (item first); got {columns!r}'
        )
    source = SOURCES[f"amazon-electronics-{columns}"]
    address = under(root, path) if path else locate(root, source)
    return _formats.read_delimited(address, COLUMNS[columns])
