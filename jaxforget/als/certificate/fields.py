"""Host: the fields of a receipt, and the check that a dictionary has them and nothing else."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxforget import _checks

SCHEMA = 2  # of the receipts that this version writes and reads


class Field(NamedTuple):
    """What a field must be: in words, and as a test."""

    wanted: str
    good: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (_is_integer(value) and abs(value) < 2**53)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _digits(length: int) -> Field:
    def good(value: Any) -> bool:
        return isinstance(value, str) and len(value) == length and not set(value) - HEX

    return Field(f"{length} hexadecimal digits", good)


def _number(wanted: str, low: float, high: float) -> Field:
    return Field(wanted, lambda value: _is_number(value) and low < value < high)


def _integer(low: int, high: int) -> Field:
    return Field(
        f"an integer from {low} to {high}",
        lambda value: _is_integer(value) and low <= value <= high,
    )


HEX = set("0123456789abcdef")
HASH = _digits(64)
SIZE = Field(
    "a finite number, 0 or more", lambda value: _is_number(value) and 0 <= value < math.inf
)
NUMBERS = (  # of the certificate
    *("sigma_ratio", "gap", "bound", "relative_bound", "pair_bound", "rank", "size"),
    *("rows", "rows_size", "pairs", "failure_probability", "residual"),
)
PARTS = ("bound", "size", "rows", "pairs")  # stated of the model before as well
FIELDS: dict[str, Field | dict[str, Field]] = {
    "schema": _integer(SCHEMA, SCHEMA),
    "version": Field(
        "text of at most 80 characters", lambda value: isinstance(value, str) and len(value) <= 80
    ),
    "request": {"pairs": _integer(0, 2**31 - 1), "hash": HASH, "data": HASH},
    "retained": HASH,
    "factors": HASH,
    "objective": {
        "reg": _number("a positive number", 0, math.inf),
        "alpha": _number("a positive number", 0, math.inf),
        "nu": _number("a finite number", -math.inf, math.inf),
        "unobserved": SIZE,
    },
    "promise": {"tol": _number("in (0, 1)", 0, 1), "seed": _integer(0, 2**32 - 1)},
    "certificate": dict.fromkeys(NUMBERS, SIZE),
    "before": {"factors": HASH, "trained": SIZE} | dict.fromkeys(PARTS, SIZE),
    "kept": {"bound": SIZE},
    "digest": HASH,
}
SIGNATURE = {"key": HASH, "value": _digits(128)}


def require(receipt: Any) -> None:
    """Refuses what is no receipt of this version: every field, its type and its range.

    Raises:
      ValueError: names the first field that is missing, unknown, or not what it must be.
    """
    if not isinstance(receipt, Mapping):
        raise ValueError(f"a receipt must be an object; got {_checks.shorten(receipt)}")
    if receipt.get("schema") != SCHEMA:
        stated = _checks.shorten(receipt.get("schema", "none"))
        raise ValueError(
            f"a receipt must be of schema {SCHEMA}; got {stated}: issue it again with this version"
        )
    fields = FIELDS | ({"signature": SIGNATURE} if "signature" in receipt else {})
    _same_names("receipt", receipt, fields)
    for name, field in fields.items():
        if isinstance(field, Field):
            _require(name, receipt[name], field)
            continue
        if not isinstance(receipt[name], Mapping):
            raise ValueError(
                f"receipt: {name} must be an object; got {_checks.shorten(receipt[name])}"
            )
        _same_names(name, receipt[name], field)
        for inner, one in field.items():
            _require(f"{name}.{inner}", receipt[name][inner], one)
    if receipt["objective"]["nu"] == 0 and receipt["objective"]["unobserved"] != 0:
        raise ValueError("receipt: objective.unobserved is not read with nu=0: it must be 0")


def _require(name: str, value: Any, field: Field) -> None:
    if not field.good(value):
        raise ValueError(f"receipt: {name} must be {field.wanted}; got {_checks.shorten(value)}")


def _same_names(owner: str, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name in wanted:
        if name not in given:
            raise ValueError(f"receipt: {owner} has no {name}")
    for name in given:
        if name not in wanted:
            raise ValueError(f"receipt: {owner} has an unknown field {_checks.shorten(name)}")


EXACT = ("failure_probability", "rank")  # what no rounding changes


def agree(name: str, stated: float, recomputed: float, size: float) -> bool:
    """Whether two numbers of a certificate are one, up to another machine's order of sums.

    Near the floor of rounding that order moves a bound by about 1e-9 of the model's ``size``; the
    gap is compared as the square that it is.
    """
    if name in EXACT:
        return stated == recomputed
    if name == "gap":
        if stated < 0:
            return False
        stated, recomputed = math.sqrt(stated), math.sqrt(recomputed)
    least = {"residual": 1e-12, "relative_bound": 1e-8}.get(name, max(1e-9, 1e-8 * size))
    return math.isclose(stated, recomputed, rel_tol=1e-3, abs_tol=least)
