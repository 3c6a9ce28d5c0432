"""The vocabulary: what every model, method and metric is written in.

Shape letters, used in every docstring: ``N`` training interactions, ``U`` users, ``I`` items,
``D`` factor dimension, ``R, L`` rows and width of a chunk, ``S`` shards, ``B`` minibatch,
``K`` columns of a basis or chosen rows, ``J`` directions beside them, ``P`` pairs or points,
``M`` models, ``T`` held-out rows, ``C`` classes of rows of like length, ``H`` hidden units.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import jax
from jax import Array

from jaxforget._jax import serialisable


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

    before: Array  # [N] float32 in [0, 1], 1 = learnt from, 0 = padding or forgotten earlier
    after: Array  # [N] float32 in [0, before]; checked where no tracer, else undefined beyond that


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


class Loss(Protocol):
    """A training loss: what a model must offer to be unlearnt by gradient methods.

    A pure function of its arguments, differentiable in the first as often as a method asks:
    once for ``finetune`` and ``gradient_ascent``, twice for the influence methods. It is a SUM
    over interactions plus a regulariser, never a mean, so that a weight of 0 equals never loaded.
    """

    def __call__(self, params: Any, train: Interactions, weights: Array, edges: Array, /) -> Array:
        """Evaluates the loss.

        Args:
          params: of the model.
          train: the interactions.
          weights: ``[N]`` how much the loss of each interaction counts.
          edges: ``[N]`` which interactions are edges of the graph, for models that have one.

        Returns:
          A scalar.
        """
        ...


class Batch(NamedTuple):
    """One step's share of the interactions."""

    rows: Array  # [B] int32, which interactions
    weights: Array  # [B] how much each counts; 0 for padding
    key: Array  # typed JAX key, for what a loss draws anew in every step; consumed


class MarginLoss(Loss, Protocol):
    """A loss that is a sum of convex functions of one margin per interaction, plus ridges.

    A model states it beside its loss (``Model.margins``). What each part buys:

    - ``margins``, ``outcomes`` and ``ridges`` (required): damping from the training loss in one
      pass, the Gauss-Newton curvature, preconditioners, and the relabelled loss of SCIF.
    - ``product`` and ``bends`` (``margins.Margins`` derives both): a closed form costs fewer passes
      over the interactions than automatic differentiation.
    - ``difference`` (derived): the direct influence of a request as one gradient instead of two.
    - ``batch``: training in minibatches (``descent.minibatch``).
    - ``n_layers`` and ``replace``: the same loss without its graph or its ridge, which
      the aggregators of ``sisa`` and ``receraser`` and the released code of IFRU need.
    - ``draws_items``: whether an interaction also moves the row of an item drawn for it. Where it
      does not, rows without remembered interactions have no slope, and a step on some rows needs
      only the interactions that meet them.

    The easiest way to have all of it is to inherit from ``margins.Margins``.
    """

    draws_items: ClassVar[bool]

    @property
    def n_layers(self) -> int: ...

    def margins(self, params: Factors, train: Interactions, edges: Array) -> Array:
        """``[N]`` what the convex function of each interaction is of."""
        ...

    def outcomes(self, margins: Array, train: Interactions, weights: Array) -> Array:
        """``[N]`` the weighted loss of each interaction, from margins ``[N]``."""
        ...

    def bends(self, margins: Array, train: Interactions, weights: Array) -> Array:
        """``[N]`` second derivative of each outcome in its margin."""
        ...

    def difference(self, margins: Array, train: Interactions, forget: ForgetSet) -> Array:
        """``[N]`` outcomes before a request less those after; exactly 0 where nothing changes."""
        ...

    def ridges(self, train: Interactions, weights: Array) -> Factors:
        """``[U, 1]`` and ``[I, 1]``, or ``[1, 1]``: what the loss adds for ``|row|^2 = 1``."""
        ...

    def product(
        self,
        params: Factors,
        train: Interactions,
        weights: Array,
        edges: Array,
        *,
        full: bool,
    ) -> Callable[[Any], Any]:
        """Returns ``vector -> H vector`` (``full``), or ``vector -> `` its Gauss-Newton part."""
        ...

    def batch(
        self, params: Factors, train: Interactions, batch: Batch, edges: Array, links: Any
    ) -> Array:
        """The loss of a minibatch, without the ridge.

        ``links`` is the graph of ``edges`` made ready for many propagations (``graph.links``),
        None for a model without layers.
        """
        ...

    def replace(self, **changes: Any) -> Self:
        """The same loss with another ``reg`` or ``n_layers``."""
        ...


class Fit(Protocol):
    """How a model is trained."""

    def __call__(
        self, key: Array, train: Interactions, weights: Array, start: Any = None, /
    ) -> tuple[Any, dict[str, Array]]:
        """Trains on the weighted interactions, from ``start`` where given.

        Args:
          key: typed JAX key; consumed.
          train: the interactions, as ``Model.prepare`` returned them.
          weights: ``[N]`` 1 = learnt from, 0 = as if never loaded.
          start: parameters to go on from; None draws new ones.

        Returns:
          the parameters, and a flat dict of scalars that tells how training ended.
        """
        ...


class Refine(Protocol):
    """Alternating least squares on an objective that is given as ``Terms``."""

    def __call__(
        self,
        key: Array,
        train: Interactions,
        terms: Terms,
        start: Any = None,
        /,
        **limits: Any,
    ) -> tuple[Any, dict[str, Array]]:
        """Trains as ``Fit`` does; ``limits`` (``max_sweeps``, ``tol``) replace the model's."""
        ...


class Model(NamedTuple):
    """A recommender as pure functions. ``params`` is any pytree; here mostly ``Factors``.

    The first four are all that a new model must have; each later one serves some methods.
    """

    prepare: Callable[[Interactions], Interactions]  # host, once: checks and labels
    fit: Fit
    factors: Callable[[Any, Interactions, Array], Any]  # (params, train, edges) -> Factors or such
    loss: Loss
    # only models trained by alternating least squares:
    terms: Callable[..., Terms] | None = None  # (train, weights, *, statistics=None)
    refine: Refine | None = None
    implicit: bool = False  # its terms weigh every pair, observed or not
    # what influence methods can make use of:
    margins: MarginLoss | None = None  # the loss once more, by what it is made of
    by_row: bool = False  # params are Factors: a row per user and per item
    update: Callable[..., Any] | None = None  # closed form: (params, train, before, after)


class Method(NamedTuple):
    """An unlearning method as three pure functions: the protocol of the runner.

    ``info`` is a flat dict of scalars that tells whether the work succeeded.
    """

    fit: Callable[..., tuple[Any, dict[str, Array]]]  # (key, train, weights)
    unlearn: Callable[..., tuple[Any, dict[str, Array]]]  # (key, state, train, forget)
    factors: Callable[[Any, Interactions, Array], Any]  # (state, train, weights), as the model's


for kind in (Side, Interactions, Watched, Split, ForgetSet, Factors, Solution, Terms, Batch):
    serialisable(kind)
del kind
