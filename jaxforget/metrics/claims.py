"""What an unlearning method says of itself: how exact it is, and what it computes from the data.

Every method file names its claim ``EXACTNESS``: a ``Claim``, or a function of its settings that
returns one. ``audit.exactness`` measures whether a claim holds.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxforget import _checks
from jaxforget._settings import checked

AFTERWARDS = ("recomputed", "kept", "moved")  # what may become of state derived from data


class Claim(NamedTuple):
    """How far a method's output may depend on what was deleted.

    ``derived`` names the state that is computed from data and what becomes of it after a request:
    ``"recomputed"`` from retained data, ``"kept"`` unchanged, or ``"moved"`` on from where it was.
    """

    kind: str  # "exact", "exact_given" or "approximate"
    derived: Mapping[str, str]
    given: str = ""  # exact_given: what has to hold
    settings: Mapping[str, Any] = {}  # exact_given: settings of method and model where it holds
    within: float = 0.0  # relative difference of predictions that the claim allows


def exact(**derived: str) -> Claim:
    """Nothing depends on deleted rows; retraining with the same key gives the same, bit for bit.

    That holds for all that is served and for the state that is kept.

    Raises:
      ValueError: of some state it is not said what becomes of it.
    """
    return Claim("exact", _checked(derived))


@checked
def exact_given(
    given: str, settings: Mapping[str, Any] | None = None, *, within: float = 0.0, **derived: str
) -> Claim:
    """The claim of ``exact``, up to ``within``, if ``given`` holds, as it does under ``settings``.

    Args:
      given: the condition, in words.
      settings: of method and model, under which the condition holds.
      within: relative difference of predictions that the claim allows.
      derived: as in ``Claim``.

    Raises:
      ValueError: no condition is named, or ``within`` is not a finite number of at least 0.
    """
    if not (isinstance(given, str) and given.strip()):
        raise ValueError(f"exact_given: name the condition; got {_checks.shorten(given)}")
    return Claim("exact_given", _checked(derived), given, settings or {}, within)


def approximate(**derived: str) -> Claim:
    """Nothing is claimed: outputs depend on deleted rows, by an amount that is measured."""
    return Claim("approximate", _checked(derived))


def _checked(derived: Mapping[str, str]) -> Mapping[str, str]:
    for name, what in derived.items():
        _checks.choice("claim", AFTERWARDS, **{name: what})
    return derived


def of(build: Callable, settings: Mapping[str, Any]) -> Claim:
    """The claim of a method under its settings.

    Args:
      build: of the method's file.
      settings: those that are given; the others have their defaults.

    Raises:
      ValueError: the file declares no claim, or what is none.

    Example:
      >>> from jaxforget import methods
      >>> of(methods.load("retrain"), {}).kind
      'exact'
    """
    claim = getattr(sys.modules[build.__module__], "EXACTNESS", None)
    if claim is None:
        raise ValueError(
            f"{build.__module__} declares no EXACTNESS: say there what the method claims"
        )
    if isinstance(claim, Claim):
        return claim
    if not callable(claim):
        raise ValueError(
            f"EXACTNESS of {build.__module__} must be a Claim or a function that returns one; got "
            f"{_checks.shorten(claim)}"
        )
    parameters = inspect.signature(build).parameters.items()
    defaults = {name: p.default for name, p in parameters if p.default is not p.empty}
    found = claim(**(defaults | dict(settings)))
    if not isinstance(found, Claim):
        raise ValueError(f"{build.__module__}: EXACTNESS must return a Claim; got {type(found)}")
    return found
