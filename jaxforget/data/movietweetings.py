"""MovieTweetings: film ratings 0 to 10 with times; the 10-core comes with this package (MIT).

Its data card is ``movietweetings.md`` beside this file.
"""

from pathlib import Path
from typing import Any, Literal

from jaxforget.data import Source, _formats, locate

LICENCE = "MIT, Copyright (c) 2013 Simon Dooms"
CITATION = (
    "Dooms, De Pessemier, Martens: MovieTweetings: a Movie Rating Dataset Collected From Twitter, "
    "CrowdRec at RecSys 2013"
)
EMBEDDED = "movietweetings-10core.dat.gz"

SOURCES = {
    "movietweetings": Source(
        name="movietweetings",
        url=None,
        sha256="d185a6831d5caca75b84667ffe4149c33f6eb09c04fce7d76a20287c7d9baf7b",
        folder="",
        licence=LICENCE,
        citation=CITATION,
        counts="2,059 users x 1,099 items, 44,613 ratings (embedded 10-core)",
        files=(),
    ),
    "movietweetings-100k": Source(
        name="movietweetings-100k",
        url="https://raw.githubusercontent.com/sidooms/MovieTweetings/master/snapshots/100K/ratings.dat",
        sha256="c0dd868c2632d10002ebc928ddc5345f33adeaa59eca52c2941c26a2c5e36fd6",
        folder="movietweetings-100k",
        licence=LICENCE,
        citation=CITATION,
        counts="16,554 users x 10,506 items, 100,000 ratings",
        files=("movietweetings-100k/ratings.dat", "movietweetings-100k/ratings.dat.gz"),
    ),
}


def read(root: str | Path | None = None, *, core: Literal[10, "full"] = 10) -> Any:
    """Reads the raw table; item ids are text, because they begin with zeros.

    Args:
      root: the data root; not used by the embedded 10-core.
      core: 10, the embedded part with at least 10 ratings per user and item; ``"full"``, all
        100,000 ratings of the snapshot, from the data root.

    Returns:
      A frame with the columns ``user``, ``item``, ``value``, ``time``.

    Raises:
      ValueError: another core.
      FileNotFoundError: ``core="full"`` and the snapshot is not there.
    """
    if core not in (10, "full"):
        raise ValueError(f'core must be 10 (embedded) or "full"; got {core!r}')
    embedded = Path(__file__).with_name(EMBEDDED)
    address = embedded if core == 10 else locate(root, SOURCES["movietweetings-100k"])
    return _formats.read_double_colon(address, text=("item",))
