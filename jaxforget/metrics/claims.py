"""What an unlearning method says of itself: how exact it is, and what it computes from the data.

Every method file names its claim ``EXACTNESS``: a ``Claim``, or a function of its settings that
returns one. ``audit.exactness`` measures whether a claim holds.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


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
    """No output depends on deleted rows, and retraining with the same key gives the same."""
    return Claim("exact", derived)


def exact_given(
    given: str, settings: Mapping[str, Any] | None = None, *, within: float = 0.0, **derived: str
) -> Claim:
    """The claim of ``exact``, up to ``within``, if ``given`` holds, as it does under ``settings``.

    Args:
      given: the condition, in words.
      settings: of method and model, under which the condition holds.
      within: relative difference of predictions that the claim allows.
      derived: as in ``Claim``.
    """
    return Claim("exact_given", derived, given, settings or {}, within)


def approximate(**derived: str) -> Claim:
    """Nothing is claimed: outputs depend on deleted rows, by an amount that is measured."""
    return Claim("approximate", derived)


def of(build: Callable, settings: Mapping[str, Any]) -> Claim:
    """The claim of a method under its settings.

    Args:
      build: of the method's file.
      settings: those that are given; the others have their defaults.

    Raises:
      ValueError: the file declares no claim.

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
    parameters = inspect.signature(build).parameters.items()
    defaults = {name: p.default for name, p in parameters if p.default is not p.empty}
    return claim(**(defaults | dict(settings)))
