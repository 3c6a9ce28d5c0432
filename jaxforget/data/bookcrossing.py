"""Book-Crossing (Ziegler): book ratings 1 to 10, and 0 for an interaction without a rating."""

from pathlib import Path
from typing import Any, Literal

from jaxforget.data import Source, _formats, locate

MEMBER = "BX-Book-Ratings.csv"
SOURCES = {
    "book-crossing": Source(
        name="book-crossing",
        url="http://www2.informatik.uni-freiburg.de/~cziegler/BX/BX-CSV-Dump.zip",
        sha256=None,
        folder="book-crossing",
        licence="freely available for research use when acknowledged; no redistribution granted",
        citation=(
            "Ziegler, McNee, Konstan, Lausen: Improving Recommendation Lists Through Topic "
            "Diversification, WWW 2005"
        ),
        counts="105,283 users x 340,556 items, 1,149,780 rows, of which 433,671 rated 1-10",
        files=(
            f"book-crossing/{MEMBER}",
            f"book-crossing/{MEMBER}.gz",
            f"book-crossing/BX-CSV-Dump.zip!{MEMBER}",
            f"BX-CSV-Dump.zip!{MEMBER}",
        ),
    )
}


def read(
    root: str | Path | None,
    *,
    implicit: Literal["keep", "drop"] = "keep",
    clean_isbn: bool = False,
) -> Any:
    """Reads the raw table; users are integers, ISBNs text.

    Args:
      root: the data root.
      implicit: ``"keep"`` leaves the rows with rating 0 as they are, as published recipes do;
        ``"drop"`` removes them. A 0 is not a bad rating: it says that no rating was given.
      clean_isbn: strips ISBNs of everything but letters and digits and writes them in upper case.
        This can make a (user, item) pair occur twice: see ``preprocess.duplicates``.

    Returns:
      A frame with the columns ``user``, ``item``, ``value``.

    Raises:
      ValueError: another ``implicit``, or a bad line.
      FileNotFoundError: the file is not there.
    """
    if implicit not in ("keep", "drop"):
        raise ValueError(f'implicit must be "keep" or "drop"; got {implicit!r}')
    frame = _formats.read_delimited(
        locate(root, SOURCES["book-crossing"]),
        {"User-ID": "user", "ISBN": "item", "Book-Rating": "value"},
        separator=";",
        text=("item",),
        escape="\\",  # three ISBNs hold an escaped quote
        encoding="latin-1",
    )
    if clean_isbn:
        frame["item"] = frame["item"].str.replace(r"[^0-9A-Za-z]", "", regex=True).str.upper()
        frame = frame[frame["item"] != ""]
    if implicit == "drop":
        frame = frame[frame["value"] != 0]
    return frame.reset_index(drop=True)
