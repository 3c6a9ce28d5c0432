"""What losses of one margin per interaction have in common, derived from two functions."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from jax import Array

from jaxforget import _varying, _weights
from jaxforget.gradient.graph import Links
from jaxforget.gradient.vectors import dot
from jaxforget.sparse.degrees import degrees, ridge
from jaxforget.types import Batch, Factors, ForgetSet, Interactions


@dataclasses.dataclass(frozen=True, eq=False)  # by identity, also where reg is an array
class Margins:
    """A ``types.MarginLoss`` from two functions, ``margins`` and ``outcomes``: inherit from it.

    ``sum_n outcome_n(margin_n) + sum_rows ridge |row|^2`` with ``ridge = reg * count^nu``. The
    ridge is on every row, remembered or not: a row without data has ``reg`` itself and moves
    nowhere but towards 0. Curvature products are derived by automatic differentiation; ``batch``
    has to be written for training in minibatches.
    """

    reg: float
    n_layers: int  # of propagation before the margins; 0 is matrix factorisation
    nu: float = 0.0  # power of the count of a row's interactions

    draws_items: ClassVar[bool] = False  # an interaction moves its own user's and item's rows only

    def margins(self, params: Factors, train: Interactions, edges: Array) -> Array:
        raise NotImplementedError

    def outcomes(self, margins: Array, train: Interactions, weights: Array) -> Array:
        raise NotImplementedError

    def batch(
        self, params: Factors, train: Interactions, batch: Batch, edges: Array, links: Links | None
    ) -> Array:
        raise NotImplementedError(f"{type(self).__name__} has no minibatches: train on all data")

    def __call__(self, params: Factors, train: Interactions, weights: Array, edges: Array) -> Array:
        """Evaluates the loss: a scalar, twice differentiable."""
        weights = _weights.floating(train, weights)
        margins = self.margins(params, train, edges)
        summed = jnp.sum(self.outcomes(margins, train, weights))
        return summed + dot(params, params, scale=self.ridges(train, weights))

    def ridges(self, train: Interactions, weights: Array) -> Factors:
        """``[U, 1]`` and ``[I, 1]`` the ridge of each row; ``[1, 1]`` where it is one for all."""
        if self.nu == 0:  # counts do not enter: then a deletion changes no ridge
            alike = jnp.full((1, 1), self.reg, _weights.floating(train, weights).dtype)
            return Factors(alike, alike)
        counts = self.counts(train, weights)
        return Factors(*(ridge(x, reg=self.reg, nu=self.nu)[:, None] for x in counts))

    def counts(self, train: Interactions, weights: Array) -> tuple[Array, Array]:
        """``[U]`` and ``[I]`` how many outcomes meet each row; read where ``nu`` is not 0."""
        return degrees(train, weights)

    def penalty(self, params: Factors) -> Array:
        """``reg |params|^2``; deprecated, as it knows no counts: see ``ridges``."""
        warnings.warn(
            "penalty(params) goes: use vectors.dot(params, params, scale=ridges(train, weights))",
            DeprecationWarning,
            stacklevel=2,
        )
        if self.nu != 0:
            raise ValueError("penalty: with nu the ridges need the interactions; use ridges")
        return self.reg * dot(params, params)

    def difference(self, margins: Array, train: Interactions, forget: ForgetSet) -> Array:
        """``[N]`` outcomes before a request less those after; exactly 0 where nothing changes."""
        return self.outcomes(margins, train, forget.before - forget.after)

    def bends(self, margins: Array, train: Interactions, weights: Array) -> Array:
        """``[N]`` second derivative of each outcome in its margin."""
        slope = _varying.grad(lambda m: jnp.sum(self.outcomes(m, train, weights)))
        return jax.jvp(slope, (margins,), (jnp.ones_like(margins),))[1]

    def product(
        self, params: Factors, train: Interactions, weights: Array, edges: Array, *, full: bool
    ) -> Callable[[Any], Any]:
        """Returns ``vector -> H vector``, or its part ``J' diag(bends) J vector + 2 ridge vector``.

        The latter, Gauss-Newton's, leaves out the term in which the slope of an outcome meets the
        curvature of its margin. It is positive semidefinite.
        """
        if full:
            return jax.linearize(_varying.grad(lambda p: self(p, train, weights, edges)), params)[1]
        margins, forward = jax.linearize(lambda p: self.margins(p, train, edges), params)
        backward = jax.linear_transpose(forward, params)
        bends = self.bends(margins, train, weights)
        ridges = self.ridges(train, weights)

        def product(vector: Any) -> Any:
            moved = backward(bends * forward(vector))[0]
            return jax.tree.map(lambda x, r, v: x + 2 * r * v, moved, ridges, vector)

        return product

    def replace(self, **changes: Any) -> Self:
        """The same loss with another ``reg`` or ``n_layers``."""
        return dataclasses.replace(self, **changes)
