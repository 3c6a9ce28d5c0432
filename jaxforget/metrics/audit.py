"""Is a method as exact as it says? Measured from outside, through its three functions alone.

The deleted rows get other content; then everything is trained and unlearnt again with the same
keys. What the retained rows' model owes to the deleted ones shows as a difference.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget import metrics
from jaxforget.metrics.claims import Claim
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet, Interactions, Method, Watched, watch


class Gap(NamedTuple):
    """How far two outcomes are apart."""

    distance: float  # relative, of all predictions; 0 where the factors are equal bit for bit
    bitwise: bool


class Exactness(NamedTuple):
    """What an audit measured. The last two say what a difference is worth."""

    values: Gap  # after other values in the deleted rows
    pairs: Gap  # after other users and items in the deleted rows
    retrained: Gap  # to training on the retained rows with the same key
    state: dict[str, float]  # largest relative difference of each part of the state, retained rows
    undeleted: float  # distance of the model before the request to the retrained one
    noise: float  # distance of two retrainings with different keys

    @property
    def bitwise(self) -> bool:
        """Nothing differs at all, as far as bits can be compared: same shapes, same programs."""
        return self.values.bitwise and self.retrained.bitwise

    @property
    def worst(self) -> float:
        """The largest of the three differences; NaN if any is."""
        return float(np.max([gap.distance for gap in (self.values, self.pairs, self.retrained)]))


def exactness(key: Array, method: Method, train: Interactions, forget: ForgetSet) -> Exactness:
    """Measures how far what a method leaves behind depends on what was deleted.

    ``values``: the deleted rows hold other values; shapes and programs are the same, so an exact
    method differs in no bit. ``pairs``: they are other pairs; rows of other length then change the
    order of some sums, so exact means: up to rounding. ``retrained``: what training on the retained
    rows gives; fit and unlearn are called with one key, which is what "the same luck" means.

    Args:
      key: typed JAX key; consumed.
      train: prepared for the model.
      forget: the request; its rows are those whose weight changes.

    Raises:
      ValueError: there are not enough other pairs to put in the deleted rows' place.

    Example:
      >>> from jaxforget import methods
      >>> from jaxforget import models
      >>> train = layout.build([0, 0, 1, 1, 2], [0, 1, 1, 2, 0], [1.0] * 5)
      >>> model = models.load("ials")(dim=2, reg=1.0, alpha=2.0)
      >>> asked = ForgetSet(jnp.ones(5), jnp.array([1.0, 0.0, 1.0, 1.0, 1.0]))
      >>> exactness(jax.random.key(0), methods.load("retrain")(model), train, asked).bitwise
      True
    """
    train_key, other_key, draw = jax.random.split(key, 3)
    fit, unlearn, serve = (jax.jit(f) for f in method)

    def outcome(train, forget):
        before, _ = fit(train_key, train, forget.before)
        left, _ = unlearn(train_key, before, train, forget)
        return before, left, serve(left, train, forget.after)

    before, left, served = outcome(train, forget)
    never, _ = fit(train_key, train, forget.after)
    again, _ = fit(other_key, train, forget.after)
    never, again = (serve(state, train, forget.after) for state in (never, again))
    state, gaps = {}, []
    for replace in (_other_values, _other_pairs):
        changed, request = replace(draw, train, forget)
        _, other, others = outcome(changed, request)
        gaps.append(_gap(others, served))
        for name, gap in _parts(left, other, forget.after, request.after).items():
            state[name] = max(gap, state.get(name, 0.0))
    undeleted = _gap(serve(before, train, forget.before), never).distance
    return Exactness(*gaps, _gap(served, never), state, undeleted, _gap(again, never).distance)


def verdict(
    found: Exactness, claim: Claim, *, rounding: float, given: Exactness | None = None
) -> str:
    """Judges a claim: ``"kept: ..."``, ``"broken: ..."`` or ``"no claim: ..."``, with the number.

    ``"open: ..."`` where a claim is to a tolerance, given one optimum, and two retrainings differ by
    more than that tolerance themselves: there is no one model to compare with.

    Args:
      found: of the method as it is.
      rounding: relative difference that the order of sums may make.
      given: of the method under ``claim.settings``; needed where the claim has some.
    """
    if claim.kind == "approximate":
        return f"no claim: {found.worst:.2g} apart"
    if claim.settings and given is None:
        raise ValueError(
            f"an audit given {claim.given} needs the method under {dict(claim.settings)}"
        )
    judged = given if claim.settings else found
    allowed = max(claim.within, rounding)
    kept = judged.worst <= allowed and (judged.values.bitwise or claim.within > 0)
    how = "bit for bit" if judged.bitwise else f"to {judged.worst:.2g}"
    if not kept and 0 < claim.within < judged.noise:
        return (
            f"open: {judged.worst:.2g} apart, two retrainings {judged.noise:.2g}; claimed given "
            f"{claim.given}"
        )
    if not kept:
        return f"broken: {judged.worst:.2g} apart, {allowed:.2g} allowed"
    if not claim.given:
        return f"kept: exact, {how}"
    as_it_is = f"; as it is {found.worst:.2g} apart" if claim.settings else ""
    return f"kept: exact given {claim.given}, {how}{as_it_is}"


def _other_values(key, train, forget):
    """The same rows, with values mirrored in their range, or halved where that is no change."""
    del key
    gone = forget.before != forget.after
    low, high = jnp.min(train.values), jnp.max(train.values)
    mirrored = low + high - train.values
    other = jnp.where(mirrored == train.values, train.values / 2, mirrored)
    return dataclasses.replace(train, values=jnp.where(gone, other, train.values)), forget


def _other_pairs(key, train, forget):
    """As many rows of pairs that nobody has met yet, at random, with other values."""
    changed, _ = _other_values(key, train, forget)
    users, items, values, before, after = (
        np.array(x) for x in (train.users, train.items, changed.values, *forget)
    )
    gone = np.flatnonzero(before != after)
    free = _free_pairs(key, users, items, train.n_users, train.n_items, len(gone))
    users[gone], items[gone] = free // train.n_items, free % train.n_items
    order = np.lexsort((items, users))
    made = layout.build(
        users[order], items[order], values[order], n_users=train.n_users, n_items=train.n_items
    )
    if isinstance(train, Watched):
        made = watch(made, train.valid)
    return made, ForgetSet(*(jnp.asarray(x[order]) for x in (before, after)))


def _free_pairs(key, users, items, n_users, n_items, wanted):
    met = np.unique(users.astype(np.int64) * n_items + items)
    if n_users * n_items - len(met) < wanted:
        raise ValueError(
            f"{wanted} deleted rows need as many unmet pairs; there are {n_users * n_items - len(met)}: "
            "audit a smaller request"
        )
    found = np.zeros(0, np.int64)
    while len(found) < wanted:
        key, *draw = jax.random.split(key, 3)
        drawn = (jax.random.randint(k, 4 * wanted, 0, n) for k, n in zip(draw, (n_users, n_items)))
        left, right = (np.asarray(x).astype(np.int64) for x in drawn)
        found = np.union1d(found, np.setdiff1d(left * n_items + right, met))
    picked = jax.random.permutation(key, len(found))[:wanted]
    return found[np.asarray(picked)]


def _gap(a: Factors, b: Factors) -> Gap:
    bitwise = all(np.array_equal(x, y) for x, y in zip(a, b))
    return Gap(0.0 if bitwise else float(jax.jit(metrics.prediction_distance)(a, b)), bitwise)


def _parts(state: Any, other: Any, mine: Array, theirs: Array) -> dict[str, float]:
    """Relative difference of every array of two states; of arrays over rows, the retained ones."""
    n, found = len(mine), {}
    pairs = zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(other), strict=True)
    for (path, a), b in pairs:
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        a, b = (np.asarray(x).astype(float) for x in (a, b))
        if a.shape[:1] == (n,):
            a, b = a[np.asarray(mine) > 0], b[np.asarray(theirs) > 0]
        size = np.linalg.norm(a)
        name = jax.tree_util.keystr(path).lstrip(".") or "state"
        found[name] = float(np.linalg.norm(a - b) / (size if size > 0 else 1))
    return found
