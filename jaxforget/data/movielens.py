"""MovieLens (GroupLens): ratings with times, from the official zip or from unpacked files.

Nothing of it may be shipped; it is fetched by whoever runs it, under GroupLens' terms.
"""

from pathlib import Path
from typing import Any, Literal

from jaxforget.data import Source, _formats, locate

CITATION = (
    "Harper, Konstan: The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015, "
    "https://doi.org/10.1145/2827872"
)
NO_COPIES = "GroupLens terms: research use, no redistribution without permission, no commercial use"
SAME_TERMS = (
    "GroupLens terms: research use, redistribution only under the same terms, no commercial use"
)


def _source(
    size: str, sha256: str | None, licence: str, counts: str, member: str, *others: str
) -> Source:
    name = f"ml-{size}"
    inside = (f"{name}.zip!{member}", f"{name}/{name}.zip!{member}")
    return Source(
        name=name,
        url=f"https://files.grouplens.org/datasets/movielens/{name}.zip",
        sha256=sha256,
        folder=name,
        licence=licence,
        citation=CITATION,
        counts=counts,
        files=(f"{name}/{Path(member).name}", member, *inside, *others),
    )


SOURCES = {
    source.name: source
    for source in (
        _source(
            "100k",
            "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
            NO_COPIES,
            "943 users x 1,682 items, 100,000 ratings 1-5",
            "ml-100k/u.data",
        ),
        _source(
            "1m",
            "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
            NO_COPIES,
            "6,040 users x 3,706 items, 1,000,209 ratings 1-5",
            "ml-1m/ratings.dat",
            "ml-1m/ratings-no-timestamp.dat.gz",  # the same rows without their times
        ),
        _source(
            "10m",
            None,
            NO_COPIES,
            "69,878 users x 10,677 items, 10,000,054 ratings 0.5-5",
            "ml-10M100K/ratings.dat",
        ),
        _source(
            "20m",
            "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
            SAME_TERMS,
            "138,493 users x 26,744 items, 20,000,263 ratings 0.5-5",
            "ml-20m/ratings.csv",
        ),
        _source(
            "25m",
            "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
            SAME_TERMS,
            "162,541 users x 59,047 items, 25,000,095 ratings 0.5-5",
            "ml-25m/ratings.csv",
        ),
        _source(
            "latest-small",
            "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
            SAME_TERMS,
            "610 users x 9,724 items, 100,836 ratings 0.5-5 (September 2018; changes in time)",
            "ml-latest-small/ratings.csv",
        ),
    )
}


def read(
    root: str | Path | None, *, size: Literal["100k", "1m", "10m", "20m", "25m", "latest-small"]
) -> Any:
    """Reads the raw table; user and item ids are integers.

    Args:
      root: the data root, with ``ml-<size>.zip`` or the unpacked folder.
      size: which release.

    Returns:
      A frame with the columns ``user``, ``item``, ``value``, ``time``.

    Raises:
      ValueError: another size, or a bad line.
      FileNotFoundError: the release is not there.
    """
    if f"ml-{size}" not in SOURCES:
        raise ValueError(f"size must be one of {', '.join(n[3:] for n in SOURCES)}; got {size!r}")
    address = locate(root, SOURCES[f"ml-{size}"])
    if address.endswith("u.data"):
        return _formats.read_delimited(
            address, ["user", "item", "value", "time"], separator="\t", text=(), quote=None
        )
    if address.endswith(".csv"):
        columns = {"userId": "user", "movieId": "item", "rating": "value", "timestamp": "time"}
        return _formats.read_delimited(address, columns, text=())
    return _formats.read_double_colon(address)
