"""EASE: an item-item matrix in closed form, from the inverse of a regularised Gram matrix."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _weights
from jaxforget._settings import checked
from jaxforget.models import _item_item
from jaxforget.sparse.arithmetic import times
from jaxforget.types import Factors, Interactions, Model

TRACED = ("reg",)  # may be an argument of a compiled program
DRAWS = False  # training draws nothing: every key gives the same model


class Inverse(NamedTuple):
    """What is trained: everything else follows from it."""

    inverse: Array  # [I, I], (X' X + reg I)^-1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ItemItem:
    """What is served, on demand: ``score(u, i) = sum_j x_uj B_ji``; no table of users is kept.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0, 1], [0, 1, 0], [1.0, 1.0, 1.0])
      >>> model = build(reg=1.0)
      >>> served = model.factors(model.fit(None, train, jnp.ones(3))[0], train, jnp.ones(3))
      >>> served.scores(jnp.array([1])).round(3).tolist() == [[0.0, 0.333]]
      True
    """

    train: Interactions
    x: Array  # [N] what a user is served from, 0 where forgotten
    matrix: Array  # [I, I], B

    @property
    def n_users(self) -> int:
        return self.train.n_users

    @property
    def n_items(self) -> int:
        return self.train.n_items

    @property
    def dtype(self) -> Any:
        return self.matrix.dtype

    def scores(self, users: Array, /) -> Array:
        """``[R, I]`` of users ``[R]``."""
        return _item_item.products(self.train, self.x, users, self.matrix)

    def tables(self) -> Factors:
        """``X`` and ``B'`` as factors, both as wide as there are items."""
        users = jnp.arange(self.n_users, dtype=jnp.int32)
        return Factors(_item_item.dense_rows(self.train, self.x, users), self.matrix.T)


@checked
def build(*, reg: float) -> Model:
    """Builds EASE: ``min |X - X B|^2 + reg |B|^2`` with a diagonal of zeros.

    ``B_ij = -P_ij / P_jj`` off the diagonal, ``P = (X' X + reg I)^-1``; ``x_ui`` is the weighted
    value of an interaction, 0 elsewhere, and ``score(u, i) = x_u . B_i`` (``ItemItem``). A change
    of the data is an exact low-rank change of P (``Model.update``, method ``closed_form``).

    Memory grows with the square of the number of items: one matrix ``[I, I]`` while it is trained,
    two while it is updated or judged. The time of training grows with the cube.

    Args:
      reg: > 0; some hundreds for 0/1 data.

    Raises:
      ValueError: ``reg`` is not positive.

    Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.
    """

    def fit(
        key: Array, train: Interactions, weights: Array, start: Any = None
    ) -> tuple[Inverse, dict[str, Array]]:
        del key, start  # a closed form starts nowhere
        x = weights * train.values
        found = _item_item.invert(train, x, reg)
        return Inverse(found), {"residual": _item_item.check(found, train, x, reg)}

    def update(
        params: Inverse, train: Interactions, before: Array, after: Array
    ) -> tuple[Inverse, dict[str, Array]]:
        change = _item_item.Change(before * train.values, after * train.values)
        found, info = _item_item.update(params.inverse, train, change, reg)
        return Inverse(found), info

    def factors(params: Inverse, train: Interactions, edges: Array) -> ItemItem:
        return ItemItem(train, _weights.floating(train, edges) * train.values, item_item(params))

    def loss(params: Inverse, train: Interactions, weights: Array, edges: Array) -> Array:
        del edges
        x = _weights.floating(train, weights) * train.values
        gram, matrix = _item_item.gram(train, x), item_item(params)
        left = jnp.eye(len(matrix), dtype=matrix.dtype) - matrix
        return jnp.sum(left * times(gram, left)) + reg * jnp.sum(matrix**2)

    return Model(lambda train: train, fit, factors, loss, update=update)


def item_item(params: Inverse) -> Array:
    """``B``, ``[I, I]``, with a diagonal of zeros.

    Example:
      >>> item_item(Inverse(jnp.array([[2.0, 1.0], [1.0, 4.0]]))).tolist()
      [[0.0, -0.25], [-0.5, 0.0]]
    """
    inverse = params.inverse
    eye = jnp.eye(len(inverse), dtype=bool)
    return jnp.where(eye, 0, -inverse / jnp.diag(inverse)[None])


TOY = {"reg": 2.0}
