"""Requests that follow a shilling attack: the profiles go in, and the exposure they buy is read."""

from collections.abc import Callable
from typing import Any

import jax

from jaxforget.metrics import ranking
from jaxforget.prepare import shilling
from jaxforget.prepare.shilling import Attack
from jaxforget.sparse.serving import Served
from jaxforget.types import ForgetSet, Interactions, Split

from ..errors import Refused


def inject(key: jax.Array, parts: Split, how: dict[str, Any]) -> Attack | None:
    """The attack that a request's table describes; None where it describes none."""
    if not how["kind"].startswith("shilling"):
        return None
    settings = {name: how[name] for name in ("ratio", "count", "fillers", "unpopular")}
    try:
        return shilling.inject(key, parts, kind=how["kind"].removeprefix("shilling_"), **settings)
    except ValueError as error:
        raise Refused(f"request: {error}") from error


def request(train: Interactions, spam: Attack) -> ForgetSet:
    """A request to forget all that the attack injected."""
    return shilling.request(train, spam.genuine)


def exposure(ks: list[int]) -> Callable[[Served, Attack, ForgetSet], dict[str, jax.Array]]:
    """A function that measures the target's exposure to genuine users who do not know it."""

    def expose(factors: Served, attack: Attack, request: ForgetSet) -> dict[str, jax.Array]:
        hidden = [(attack.split.train, request.after)]
        shown = ranking.exposure(factors, attack.target, attack.genuine, hidden, ks=tuple(ks))
        return {f"exposure@{k}": value for k, value in shown.items()}

    return expose
