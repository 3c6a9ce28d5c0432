"""What a bank made with --known holds of each model beside its scores: lists, ranks, a residual."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxforget import _varying
from jaxforget.data._oracles import LISTS, RANK_AUC, RESIDUAL
from jaxforget.metrics import labels, rank_measures, ranking
from jaxforget.sparse import layout, serving
from jaxforget.sparse.serving import Served
from jaxforget.types import Factors, ForgetSet, Interactions

from .clock import Program
from .jobs import Job

LENGTH, USERS = 20, 100  # of a list, and users whose lists are kept at most
NOBODY = -1  # where a list ends early, and all of it where a score is not finite


class Asked(NamedTuple):
    """The users whose lists are kept, and the forgotten pairs that are ranked."""

    users: Array  # [R] int32, who have a forgotten pair
    pairs: Interactions  # the forgotten ones of the bank's sample


def asked(cells: Interactions, part: np.ndarray) -> Asked | None:
    """What the models of a bank are asked for; None where no forgotten pair is a positive one."""
    users, items, values = (np.asarray(x) for x in (cells.users, cells.items, cells.values))
    rows = part == "forgotten"
    if not np.any(values[rows] > 0):
        return None
    sizes = {"n_users": cells.n_users, "n_items": cells.n_items}
    pairs = layout.build(users[rows], items[rows], values[rows], **sizes)
    return Asked(jnp.asarray(np.unique(users[rows])[:USERS], jnp.int32), pairs)


def of_models(
    run: Callable[[list[Job]], list[Any]],
    wanted: Asked,
    loss: Program,
    states: list[Any],
    served: list[Served],
    train: Interactions,
    requests: list[ForgetSet],
) -> dict[str, np.ndarray]:
    """What is kept of M states of a model.

    Args:
      run: runs jobs.
      wanted: what is asked.
      loss: the function ``loss`` of the model.
      served: what each state serves.

    Returns:
      ``lists [M, R, 20]``, the items that a user is shown first, without those that stay in the
      training data, -1 where there are no more or a score is not finite; ``rank_auc [M]``, the
      chance that a forgotten item of a user stands above one that is not in the training data;
      ``residual [M]``, the norm of the gradient of the loss without the request in the rows of the
      users and items who lose an interaction.
    """
    pairs = zip(served, requests, strict=True)
    shown = run([Job(_shown, (x, train, request.after, wanted)) for x, request in pairs])
    found = [outcome.output for outcome in shown]
    columns = {name: np.stack([np.asarray(x[name]) for x in found]) for name in (LISTS, RANK_AUC)}
    if isinstance(states[0], Factors):
        gradient = Program(_residual_of(loss.shell), loss.numbers)
        pairs = zip(states, requests, strict=True)
        norms = run([Job(gradient, (state, train, request)) for state, request in pairs])
        columns[RESIDUAL] = np.stack([np.asarray(x.output) for x in norms])
    return columns


def _shown(factors: Served, train: Interactions, after: Array, wanted: Asked) -> dict[str, Array]:
    """The first items of each user's list, and how high the forgotten ones stand."""
    hidden = [(train, after)]
    masked = ranking.hide(hidden, wanted.users, train.n_items)
    scores = serving.scores(factors, wanted.users)
    known = jnp.all(jnp.isfinite(scores), axis=1)[:, None]
    best, first = lax.top_k(jnp.where(masked, -jnp.inf, scores), min(LENGTH, train.n_items))
    first = jnp.where(known & (best > -jnp.inf), first, NOBODY)

    def measure(ranked: ranking.Ranked) -> dict[str, Array]:
        return {RANK_AUC: rank_measures.auc_unseen(ranked).astype(serving.precision(factors))}

    return {LISTS: first} | ranking.over_users(measure, factors, wanted.pairs, hidden)


def apart(lists: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean share of the lists ``[M, R, 20]`` that is not in one model's ``[R, 20]``, ``[M]``.

    NaN for a model with an empty list, such as one whose scores are not finite.
    """
    there = lists != NOBODY
    shared = (lists[..., None] == known[:, None]).any(axis=-1) & there
    with np.errstate(invalid="ignore"):
        return 1 - (shared.sum(axis=2) / there.sum(axis=2)).mean(axis=1)


@functools.cache
def _residual_of(loss: Callable[..., Array]) -> Callable[..., Array]:
    """The function that takes the gradient of a loss, one function object for each."""

    def residual(numbers, params, train, request):
        after = request.after
        slope = _varying.grad(lambda p: loss(numbers, p, train, after, after))(params)
        sides = zip(slope, labels.touched(train, request), strict=True)
        squares = [jnp.sum(jnp.where(lost[:, None], rows**2, 0)) for rows, lost in sides]
        return jnp.sqrt(sum(squares))

    return residual
