"""Host: several tables in one layout, so that one compiled program serves all of them."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxforget.sparse import layout
from jaxforget.types import Interactions, Side


def layouts(tables: Sequence[Interactions]) -> list[Interactions]:
    """Lays tables of one size out with the same classes, so that one program serves all of them.

    Rows are padded to the widths that any of the tables needs: the contents and their order stay.

    Args:
      tables: of equally many users, items and interactions, such as the splits of one data set.

    Raises:
      ValueError: they are not of one size.
    """
    sizes = {(len(x.users), x.n_users, x.n_items) for x in tables}
    if len(sizes) > 1:
        raise ValueError(f"aligned.layouts: tables of several sizes: {sorted(sizes)}")
    widths = [
        tuple(sorted(set().union(*(getattr(x, side).widths for x in tables))))
        for side in ("by_user", "by_item")
    ]
    return [
        dataclasses.replace(
            x, by_user=_classed(x.by_user, widths[0]), by_item=_classed(x.by_item, widths[1])
        )
        for x in tables
    ]


def _classed(side: Side, widths: tuple[int, ...]) -> Side:
    """The same rows in other classes; no row is longer than the last width."""
    ranked, starts = (jnp.asarray(x) for x in layout.rank(np, np.asarray(side.indptr), widths))
    return dataclasses.replace(side, ranked=ranked, starts=starts, widths=widths)
