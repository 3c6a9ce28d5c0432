"""How a table of results is read, whoever wrote it and whoever asks."""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from . import files
from .errors import Refused

# text, also where digits are all they have
WORDS = ("cell", "settings", "data_hash", "bank", "commit", "reason")


def read(
    path: Path,
    columns: Iterable[str] = (),
    *,
    numbers: Iterable[str] = (),
    mend: str = "move it away",
    **how: Any,
) -> pd.DataFrame:
    """A table that some command wrote, whichever it is: a damaged one ends in one line.

    Args:
      columns: those that it must have.
      numbers: those that must hold numbers alone, where it has them.
      mend: what to do about a table that is none.
      how: as of ``pandas.read_csv``.

    Raises:
      Refused: it is no table, lacks a column, or has a word in the place of a number.
    """
    try:
        content = path.read_bytes()
        table = pd.read_csv(BytesIO(content), **({"dtype": dict.fromkeys(WORDS, str)} | how))
    except OSError as error:
        raise Refused(f"{path}: {files.reason(error)}") from None
    except ValueError as error:  # empty, ragged, not UTF-8
        raise Refused(f"{path} is no table: {error}; {mend}") from None
    if not content.endswith(b"\n"):
        raise Refused(f"{path} was cut: its last line has no end; {mend}")
    if missing := [name for name in columns if name not in table]:
        raise Refused(f"{path} lacks the column {missing[0]!r}; {mend}")
    for name in numbers:
        if name in table and len(table) and not pd.api.types.is_numeric_dtype(table[name]):
            raise Refused(f"{path}: not all of the column {name!r} are numbers; {mend}")
    return table
