"""Refuses what is not of a model's users and items before anything is ranked by it.

A read past the end of a table gives its last row, and nothing would say so.
"""

from collections.abc import Sequence

from jax import Array

from jaxforget import _checks
from jaxforget.sparse import serving
from jaxforget.sparse.serving import Served
from jaxforget.types import Interactions


def check(
    owner: str,
    factors: Served,
    hidden: Sequence[tuple[Interactions, Array]] = (),
    **others: Served | Interactions,
) -> None:
    """Refuses other numbers of users and items than the model has; known under a trace too.

    Raises:
      ValueError: what is hidden, or one of the others, has other numbers, or hidden interactions
        have not one weight each.
    """
    named = {f"hidden[{n}]": interactions for n, (interactions, _) in enumerate(hidden)} | others
    found = {name: _sizes(other) for name, other in named.items()}
    _checks.sizes(owner, serving.sizes(factors), **found)
    for n, (interactions, weights) in enumerate(hidden):
        _checks.shape(owner, interactions.users.shape, **{f"weights of hidden[{n}]": weights})


def _sizes(other: Served | Interactions) -> tuple[int, int]:
    if isinstance(other, Interactions):
        return other.n_users, other.n_items
    return serving.sizes(other)
