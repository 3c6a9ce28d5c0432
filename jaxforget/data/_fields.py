"""The fields of a line: what is an integer, a finite number."""

import math
import re

LARGEST = {"value": 3.4028234663852886e38}  # values are float32
WHOLE = re.compile(r"[ \t\v\f]*[+-]?[0-9]+[ \t\v\f]*")  # what pandas takes for an integer


def integer(field: str) -> int | None:
    """The integer that a field is, by ASCII digits alone; None if it is none.

    Python's ``int`` takes ``1_0`` for 10 and digits of other scripts too. Of huge ones, which
    nobody needs, only the first twenty digits are read.

    Example:
      >>> integer(" +021"), integer("1_0"), integer("\u0663"), integer("5.0")
      (21, None, None, None)
    """
    if not WHOLE.fullmatch(field):
        return None
    digits = field.strip(" \t\v\f+-").lstrip("0")[:20]
    return int(digits or "0") * (-1 if "-" in field else 1)


def is_finite(field: str, largest: float) -> bool:
    """Whether a field is a number that is finite and, either sign, no larger than ``largest``."""
    if "_" in field or not field.isascii():  # Python reads these, pandas does not
        return False
    try:
        return math.isfinite(float(field)) and abs(float(field)) <= largest
    except ValueError:
        return False
