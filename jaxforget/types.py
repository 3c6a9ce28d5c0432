"""The vocabulary: what every model, method and metric is written in.

Shape letters, used in every docstring: ``N`` training interactions, ``U`` users, ``I`` items,
``D`` factor dimension, ``R, L`` rows and width of a chunk, ``S`` shards, ``B`` minibatch.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Side:
    """One orientation of the interactions: sorted by user, or sorted by item.

    Rows of similar history length form a class, of one width: a row is read from its start in
    ``indices``, padded to that width on the fly, so no padded copy of the data is kept.
    """

    order: Array  # [N] int32, entry k of this order is interaction order[k]
    indptr: Array  # [rows + 1] int32, where each row starts in this order
    indices: Array  # [N] int32, the other side's id, in this order
    ranked: Array  # [rows] int32, all rows: those without a history first, then class by class
    starts: Array  # [C + 1] int32, where each class begins in ``ranked``, and the end of the last
    widths: tuple[int, ...] = dataclasses.field(metadata=dict(static=True))  # [C] of each class


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Interactions:
    """Who met what, sorted by (user, item), in both orientations a kernel needs.

    Build it with ``layout.build``; ``values`` may then be replaced freely (a rating, a 0/1
    label or a strength), the ids and layouts may not.
    """

    users: Array  # [N] int32 in [0, n_users)
    items: Array  # [N] int32 in [0, n_items)
    values: Array  # [N] float32: rating, label or strength
    by_user: Side
    by_item: Side
    n_users: int = dataclasses.field(kw_only=True, metadata=dict(static=True))
    n_items: int = dataclasses.field(kw_only=True, metadata=dict(static=True))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Watched(Interactions):
    """Training interactions that bring validation interactions along, as an argument like all data.

    Only a model built with ``patience`` looks at ``valid``; every kernel, request and method takes
    this for the plain interactions it also is.
    """

    valid: Interactions


def watch(train: Interactions, valid: Interactions) -> Watched:
    """Attaches validation interactions, for models that stop early.

    Example:
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 1], [0, 1], [1.0, 0.0])
      >>> watch(train, train).valid.n_users
      2
    """
    fields = {f.name: getattr(train, f.name) for f in dataclasses.fields(Interactions)}
    return Watched(**fields, valid=valid)


class Split(NamedTuple):
    """Training, validation and test interactions over the same ids."""

    train: Interactions
    valid: Interactions
    test: Interactions


class ForgetSet(NamedTuple):
    """A request, as weights of the training interactions; forgotten = before - after."""

    before: Array  # [N] float32, 1 = learnt from, 0 = padding or forgotten earlier
    after: Array  # [N] float32, <= before


class Factors(NamedTuple):
    """What is trained, and what is served: score(u, i) = users[u] . items[i]."""

    users: Array  # [U, D]
    items: Array  # [I, D]


class Solution(NamedTuple):
    """What a linear solver found, and how far it can be trusted."""

    x: Any  # pytree like the right-hand side
    residual: Array  # true relative residual |b - A x| / |b|
    iterations: Array  # int32
    min_curvature: Array  # smallest p.Ap / p.p seen; not positive: A is not positive definite


class Terms(NamedTuple):
    """A bilinear least-squares objective, as what each interaction adds to the normal equations.

    ``sum_n [curvature s^2 - 2 target s] + constant + unobserved <X'X, Y'Y> + sum ridge |row|^2``
    with ``s`` the score of interaction ``n``.
    """

    curvature: Array  # [N] weight of y y' in a row's matrix, beyond the unobserved part
    target: Array  # [N] weight of y on a row's right-hand side
    constant: Array  # scalar, so that the objective is a sum of squares
    unobserved: Array  # scalar weight of every pair: 1 implicit feedback, 0 explicit
    ridge_users: Array  # [U] > 0
    ridge_items: Array  # [I] > 0


class Model(NamedTuple):
    """A recommender as pure functions. ``params`` is any pytree; here mostly ``Factors``."""

    prepare: Callable  # (train) -> train                                  host, once
    fit: Callable  # (key, train, weights, start=None) -> (params, info)
    factors: Callable  # (params, train, edges) -> Factors
    loss: Callable  # (params, train, weights, edges) -> scalar, a SUM over interactions
    # only models trained by alternating least squares have the rest:
    terms: Callable | None = None  # (train, weights, *, statistics=None) -> Terms
    refine: Callable | None = None  # (key, train, terms, start=None, *, max_sweeps, tol) as fit
    implicit: bool = False  # its terms weigh every pair, observed or not


class Method(NamedTuple):
    """An unlearning method as three pure functions: the protocol of the runner.

    ``info`` is a flat dict of scalars that tells whether the work succeeded.
    """

    fit: Callable  # (key, train, weights) -> (state, info)
    unlearn: Callable  # (key, state, train, forget) -> (state, info)
    factors: Callable  # (state, train, weights) -> Factors
