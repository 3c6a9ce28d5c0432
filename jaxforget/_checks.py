"""Settings checked in one way: each function raises a ``ValueError`` that names owner and setting.

A traced setting is let through: its value is known to the caller alone.
"""

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from jaxforget._jax import is_traced


class SettingError(ValueError):
    """A setting out of range, none of its choices, missing or not read, whatever the model.

    A method that cannot serve a model raises another ``ValueError``: there the model is to be
    changed, here the setting.
    """


def positive(owner: str, **settings: Any) -> None:
    """Refuses a setting that is not a finite number above 0.

    Example:
      >>> positive("ials", reg=0.0)
      Traceback (most recent call last):
      jaxforget._checks.SettingError: ials: reg must be positive; got 0.0
    """
    _refuse(owner, "positive", lambda value: 0 < value < math.inf, settings)


def not_negative(owner: str, **settings: Any) -> None:
    """Refuses a setting that is not a finite number of at least 0."""
    _refuse(owner, "0 or more", lambda value: 0 <= value < math.inf, settings)


def finite(owner: str, **settings: Any) -> None:
    """Refuses a setting that is NaN or infinite."""
    _refuse(owner, "finite", lambda value: -math.inf < value < math.inf, settings)


def between(owner: str, low: float, high: float, **settings: Any) -> None:
    """Refuses a setting outside ``[low, high]``."""
    _refuse(owner, f"in [{low}, {high}]", lambda value: low <= value <= high, settings)


def inside(owner: str, low: float, high: float, **settings: Any) -> None:
    """Refuses a setting outside ``(low, high)``."""
    _refuse(owner, f"in ({low}, {high})", lambda value: low < value < high, settings)


def share(owner: str, **settings: Any) -> None:
    """Refuses a setting outside ``(0, 1]``."""
    _refuse(owner, "in (0, 1]", lambda value: 0 < value <= 1, settings)


def count(owner: str, least: int, **settings: Any) -> None:
    """Refuses a setting that is not an integer of at least ``least``.

    Example:
      >>> count("ials", 1, dim=2.5)
      Traceback (most recent call last):
      jaxforget._checks.SettingError: ials: dim must be an integer, 1 or more; got 2.5
    """

    def good(value: Any) -> bool:
        return np.issubdtype(np.asarray(value).dtype, np.integer) and int(value) >= least

    _refuse(owner, f"an integer, {least} or more", good, settings)


def character(owner: str, other: str | None, **settings: Any) -> None:
    """Refuses a setting that is neither ``other`` nor one ASCII character, a line break excepted.

    Example:
      >>> character("read_delimited", "::", separator="||")
      Traceback (most recent call last):
      jaxforget._checks.SettingError: read_delimited: separator must be one ASCII \
character or '::'; got '||'
    """
    for name, value in settings.items():
        single = isinstance(value, str) and len(value) == 1 and value.isascii()
        if not (single and value not in "\r\n") and value != other:
            raise SettingError(
                f"{owner}: {name} must be one ASCII character or {other!r}; got {shorten(value)}"
            )


def _refuse(owner: str, wanted: str, good: Callable[[Any], bool], settings: dict[str, Any]) -> None:
    """Raises the error of the first setting that is known here and not ``good``."""
    for name, value in settings.items():
        if is_traced(value):
            continue
        given = np.asarray(value)
        if not (given.dtype.kind in "iuf" and given.ndim == 0 and good(value)):
            raise SettingError(f"{owner}: {name} must be {wanted}; got {shorten(value)}")


def weights(name: str, given: Any, n: int) -> None:
    """Refuses what is not ``[n]`` weights in ``[0, 1]``; under a trace only the shape is known.

    Example:
      >>> weights("before", [1.0, 2.0], 2)
      Traceback (most recent call last):
      ValueError: before: weights must lie in [0, 1]; got 2.0 at position 1: 1 learns, 0 does not
    """
    if np.shape(given) != (n,):
        got = np.shape(given)
        raise ValueError(f"{name} must be [{n}], one weight per interaction; got {got}")
    if not is_traced(given):
        numbers = np.asarray(given)
        good = (numbers >= 0) & (numbers <= 1)
        if not good.all():
            bad = int(np.argmin(good))
            raise ValueError(
                f"{name}: weights must lie in [0, 1]; got {numbers[bad]} at position {bad}: "
                "1 learns, 0 does not"
            )


def sizes(owner: str, model: tuple[int, int], **others: tuple[int, int]) -> None:
    """Refuses what has other numbers of users and items than a model; known under a trace too.

    Example:
      >>> sizes("overlap", (3, 8), b=(6, 8))
      Traceback (most recent call last):
      ValueError: overlap: b must be of the model's 3 users and 8 items; got 6 and 8: give both \
the ids of the same data
    """
    for name, (n_users, n_items) in others.items():
        if (n_users, n_items) != model:
            raise ValueError(
                f"{owner}: {name} must be of the model's {model[0]} users and {model[1]} items; "
                f"got {n_users} and {n_items}: give both the ids of the same data"
            )


def shape(owner: str, wanted: tuple[int, ...], **arrays: Any) -> None:
    """Refuses an array of another shape; known under a trace too."""
    for name, array in arrays.items():
        if np.shape(array) != wanted:
            raise ValueError(f"{owner}: {name} must be {list(wanted)}; got {list(np.shape(array))}")


def integers(owner: str, **arrays: Any) -> None:
    """Refuses ids of another type than integers, known under a trace too: a mask is no ids.

    Example:
      >>> integers("exposure", target=2.0)
      Traceback (most recent call last):
      ValueError: exposure: target must hold integer ids; got float64
    """
    for name, array in arrays.items():
        given = array if is_traced(array) else np.asarray(array)
        if given.size and not np.issubdtype(given.dtype, np.integer):
            raise ValueError(f"{owner}: {name} must hold integer ids; got {given.dtype}")


def ids(owner: str, n: int, **arrays: Any) -> None:
    """Refuses what is no integers, and ids outside ``[0, n)`` where they are no tracers.

    Example:
      >>> ids("exposure", 8, target=99)
      Traceback (most recent call last):
      ValueError: exposure: target must hold ids in [0, 8); got 99
    """
    for name, array in arrays.items():
        integers(owner, **{name: array})
        if is_traced(array):
            continue
        given = np.asarray(array)
        bad = (given < 0) | (given >= n)
        if bad.any():
            raise ValueError(f"{owner}: {name} must hold ids in [0, {n}); got {given[bad].flat[0]}")


def request(owner: str, before: Any, after: Any, n: int) -> None:
    """Refuses a request whose weights are no weights, or that gives weight instead of taking it.

    Under a trace only the shapes are known.

    Example:
      >>> request("evaluate", [0.0, 1.0], [1.0, 1.0], 2)
      Traceback (most recent call last):
      ValueError: evaluate: after must be at most before; got 1.0 after 0.0 at position 0: what \
was not learnt from cannot be kept
    """
    for name, given in (("before", before), ("after", after)):
        weights(f"{owner}: {name}", given, n)
    if is_traced(before, after):
        return
    old, new = np.asarray(before), np.asarray(after)
    if (new > old).any():
        bad = int(np.argmax(new > old))
        raise ValueError(
            f"{owner}: after must be at most before; got {new[bad]} after {old[bad]} at position "
            f"{bad}: what was not learnt from cannot be kept"
        )


def shorten(value: Any, length: int = 80) -> str:
    """``repr`` of what was given, cut to a length that fits a line of an error."""
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 3]}..."


def choice(owner: str, known: Collection[Any], **settings: Any) -> None:
    """Refuses a setting that is none of ``known``.

    Example:
      >>> choice("partition", ("user", "item"), by="rating")
      Traceback (most recent call last):
      jaxforget._checks.SettingError: partition: by must be one of 'user', 'item'; got 'rating'
    """
    for name, value in settings.items():
        if not any(value is option or value == option for option in known):
            named = ", ".join(repr(option) for option in known)
            raise SettingError(f"{owner}: {name} must be one of {named}; got {shorten(value)}")


def unread(owner: str, why: str, **settings: Any) -> None:
    """Refuses settings that were given although they would not be read; None is "not given".

    Example:
      >>> unread("sisa", 'aggregation="mean"', attention_lr=0.1)
      Traceback (most recent call last):
      jaxforget._checks.SettingError: sisa: attention_lr is not read with \
aggregation="mean"; leave it out
    """
    for name, value in settings.items():
        if value is not None:
            raise SettingError(f"{owner}: {name} is not read with {why}; leave it out")
