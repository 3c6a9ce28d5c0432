"""Settings checked in one way: each function raises a ``ValueError`` that names owner and setting.

A traced setting is let through: its value is known to the caller alone.
"""

from collections.abc import Collection
from typing import Any

from jaxforget._jax import is_traced


def positive(owner: str, **settings: Any) -> None:
    """Refuses a setting that is not above 0.

    Example:
      >>> positive("ials", reg=0.0)
      Traceback (most recent call last):
      ValueError: ials: reg must be positive; got 0.0
    """
    for name, value in settings.items():
        if not is_traced(value) and not value > 0:
            raise ValueError(f"{owner}: {name} must be positive; got {value}")


def not_negative(owner: str, **settings: Any) -> None:
    """Refuses a setting below 0, or one that is not a number."""
    for name, value in settings.items():
        if not is_traced(value) and not value >= 0:
            raise ValueError(f"{owner}: {name} must be 0 or more; got {value}")


def choice(owner: str, known: Collection[Any], **settings: Any) -> None:
    """Refuses a setting that is none of ``known``.

    Example:
      >>> choice("partition", ("user", "item"), by="rating")
      Traceback (most recent call last):
      ValueError: partition: by must be one of 'user', 'item'; got 'rating'
    """
    for name, value in settings.items():
        if not any(value is option or value == option for option in known):
            named = ", ".join(repr(option) for option in known)
            raise ValueError(f"{owner}: {name} must be one of {named}; got {value!r}")


def unread(owner: str, why: str, **settings: Any) -> None:
    """Refuses settings that were given although they would not be read; None is "not given".

    Example:
      >>> unread("sisa", 'aggregation="mean"', attention_lr=0.1)
      Traceback (most recent call last):
      ValueError: sisa: attention_lr is not read with aggregation="mean"; leave it out
    """
    for name, value in settings.items():
        if value is not None:
            raise ValueError(f"{owner}: {name} is not read with {why}; leave it out")
