"""Requests for injected profiles: the profiles go in, and what only they can tell is measured."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxforget.metrics import canaries, ranking
from jaxforget.prepare import forget, planted, shilling
from jaxforget.prepare.planted import Canaries, Corruption
from jaxforget.prepare.shilling import Attack
from jaxforget.sparse.serving import Served
from jaxforget.types import ForgetSet, Interactions, Split

from ..config.fields import INJECTED
from ..errors import Refused

Injected = Attack | Canaries | Corruption


def inject(key: jax.Array, parts: Split, how: dict[str, Any]) -> Injected | None:
    """The profiles that a request's table describes; None where it describes none."""
    kind = how["kind"]
    if kind not in INJECTED:
        return None
    settings = {name: how[name] for name in ("ratio", "count", *INJECTED[kind])}
    try:
        if kind.startswith("shilling"):
            return shilling.inject(key, parts, kind=kind.removeprefix("shilling_"), **settings)
        return getattr(planted, kind)(key, parts, **settings)
    except ValueError as error:
        raise Refused(f"request: {error}") from error


def request(train: Interactions, spam: Injected) -> ForgetSet:
    """A request to forget what was injected: of canaries the half that they name."""
    if isinstance(spam, Canaries):
        return forget.pairs(train, spam.users, spam.items)[1]
    return shilling.request(train, spam.genuine)


@functools.cache  # one function object, hence one compilation per shape
def exposure(
    ks: tuple[int, ...],
) -> Callable[[Served, Injected, ForgetSet], dict[str, jax.Array]]:
    """A function that measures what injected profiles tell.

    Of a shilling attack, the target's exposure to genuine users who do not know it; of canaries,
    the exposure of the forgotten half.
    """

    def expose(factors: Served, spam: Injected, request: ForgetSet) -> dict[str, jax.Array]:
        train = spam.split.train
        if isinstance(spam, Canaries):
            pairs = spam.users, spam.items, spam.pool
            found = canaries.rank_exposure(factors, *pairs, train, request.before)
            return {"rank_exposure": found}
        if isinstance(spam, Corruption):
            return {}
        hidden = [(train, request.after)]
        shown = ranking.exposure(factors, spam.target, spam.genuine, hidden, ks=ks)
        return {f"exposure@{k}": value for k, value in shown.items()}

    return expose
