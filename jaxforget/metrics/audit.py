"""Is a method as exact as it says? Measured from outside, through its three functions alone.

The deleted rows get other content; then everything is trained and unlearnt again with the same
keys. A difference in what is left shows that it depends on the deleted rows.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxforget._jax import is_prng_key
from jaxforget.metrics.claims import Claim
from jaxforget.metrics.distance import prediction_distance
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet, Interactions, Method, Watched, watch


class Gap(NamedTuple):
    """How far two outcomes are apart."""

    distance: float  # relative, of all predictions; 0 where the factors are equal bit for bit
    bitwise: bool


class Exactness(NamedTuple):
    """What an audit measured. The last two fields say what a difference is worth."""

    values: Gap  # after other values in the deleted rows
    pairs: Gap  # after other users and items in the deleted rows
    retrained: Gap  # to training on the retained rows with the same key
    state: dict[str, float]  # largest relative difference of each part of the state, retained rows
    undeleted: float  # distance of the model before the request to the retrained one
    noise: float  # distance of two retrained models with different keys

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
    order of some sums, so an exact method differs by rounding only. ``retrained``: the difference
    to training on the retained rows; all training and unlearning is called with one key, so that
    equal methods draw equal random numbers.

    Args:
      key: typed JAX key; consumed.
      method: its three functions are called and compiled here.
      train: prepared for the model.
      forget: the request; its rows are those whose weight changes.

    Raises:
      ValueError: there are too few other pairs to replace the deleted ones by.

    Example:
      >>> from jaxforget import methods
      >>> from jaxforget import models
      >>> train = layout.build([0, 0, 1, 1, 2], [0, 1, 1, 2, 0], [1.0] * 5)
      >>> model = models.load("ials")(dim=2, reg=1.0, alpha=2.0)
      >>> forget = ForgetSet(jnp.ones(5), jnp.array([1.0, 0.0, 1.0, 1.0, 1.0]))
      >>> exactness(jax.random.key(0), methods.load("retrain")(model), train, forget).bitwise
      True
    """
    fit_key, other_key, replace_key = jax.random.split(key, 3)
    fit, unlearn, serve = (jax.jit(f) for f in method)

    def outcome(train, forget):
        """State before the request, state after it, and the factors served after it."""
        before, _ = fit(fit_key, train, forget.before)
        after, _ = unlearn(fit_key, before, train, forget)
        return before, after, serve(after, train, forget.after)

    before, after, served = outcome(train, forget)
    retrained, noisy = (
        serve(fit(k, train, forget.after)[0], train, forget.after) for k in (fit_key, other_key)
    )
    gaps, state = {}, {}
    for name, replace in (("values", _other_values), ("pairs", _other_pairs)):
        changed, request = replace(replace_key, train, forget)
        _, other, other_served = outcome(changed, request)
        gaps[name] = _gap(other_served, served)
        for part, gap in _state_gaps(after, other, forget.after, request.after).items():
            state[part] = max(gap, state.get(part, 0.0))
    return Exactness(
        values=gaps["values"],
        pairs=gaps["pairs"],
        retrained=_gap(served, retrained),
        state=state,
        undeleted=_gap(serve(before, train, forget.before), retrained).distance,
        noise=_gap(noisy, retrained).distance,
    )


def verdict(
    found: Exactness, claim: Claim, *, rounding: float, given: Exactness | None = None
) -> str:
    """Judges a claim: ``"kept: ..."``, ``"broken: ..."`` or ``"no claim: ..."``, with the number.

    ``"open: ..."`` where a claim is to a tolerance, given one optimum, and two retrained models
    differ by more than that tolerance themselves: there is no one model to compare with.

    Args:
      found: what was measured of the method as it is.
      claim: what its file says.
      rounding: relative difference that another order of sums may make.
      given: what was measured of the method under ``claim.settings``; needed where the claim has
        some.

    Raises:
      ValueError: ``given`` is missing.
    """
    if claim.kind == "approximate":
        return f"no claim: {found.worst:.2g} apart"
    judged = found
    if claim.settings:
        if given is None:
            raise ValueError(
                f"an audit given {claim.given} needs the method under {dict(claim.settings)}"
            )
        judged = given
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


def _other_values(
    key: Array, train: Interactions, forget: ForgetSet
) -> tuple[Interactions, ForgetSet]:
    """The same rows, the deleted ones with other values: mirrored in their range, or halved.

    They are halved where mirroring would change nothing.
    """
    del key
    deleted = forget.before != forget.after
    low, high = jnp.min(train.values), jnp.max(train.values)
    mirrored = low + high - train.values
    other = jnp.where(mirrored == train.values, train.values / 2, mirrored)
    return dataclasses.replace(train, values=jnp.where(deleted, other, train.values)), forget


def _other_pairs(
    key: Array, train: Interactions, forget: ForgetSet
) -> tuple[Interactions, ForgetSet]:
    """The deleted rows replaced by random pairs that do not occur in ``train``, of other values."""
    changed, _ = _other_values(key, train, forget)
    users, items, values, before, after = (
        np.array(x) for x in (train.users, train.items, changed.values, *forget)
    )
    deleted = np.flatnonzero(before != after)
    unused = _unused_pairs(key, users, items, train.n_users, train.n_items, len(deleted))
    users[deleted], items[deleted] = unused // train.n_items, unused % train.n_items
    order = np.lexsort((items, users))
    replaced = layout.build(
        users[order], items[order], values[order], n_users=train.n_users, n_items=train.n_items
    )
    if isinstance(train, Watched):
        replaced = watch(replaced, train.valid)
    return replaced, ForgetSet(jnp.asarray(before[order]), jnp.asarray(after[order]))


def _unused_pairs(
    key: Array, users: np.ndarray, items: np.ndarray, n_users: int, n_items: int, count: int
) -> np.ndarray:
    """Draws ``count`` different pairs that do not occur, each as ``user * n_items + item``."""
    used = np.unique(users.astype(np.int64) * n_items + items)
    n_unused = n_users * n_items - len(used)
    if n_unused < count:
        raise ValueError(
            f"{count} deleted rows need as many pairs that do not occur; there are {n_unused}: "
            "audit a smaller request"
        )
    drawn = np.zeros(0, np.int64)
    while len(drawn) < count:
        key, user_key, item_key = jax.random.split(key, 3)
        left = np.asarray(jax.random.randint(user_key, (4 * count,), 0, n_users)).astype(np.int64)
        right = np.asarray(jax.random.randint(item_key, (4 * count,), 0, n_items)).astype(np.int64)
        drawn = np.union1d(drawn, np.setdiff1d(left * n_items + right, used))
    return drawn[np.asarray(jax.random.permutation(key, len(drawn))[:count])]


def _gap(a: Factors, b: Factors) -> Gap:
    bitwise = all(np.array_equal(x, y) for x, y in zip(a, b))
    return Gap(0.0 if bitwise else float(jax.jit(prediction_distance)(a, b)), bitwise)


def _state_gaps(state: Any, other: Any, weights: Array, others: Array) -> dict[str, float]:
    """Relative difference of every array of two states.

    Of arrays over the interactions, only the rows with a positive weight are compared: ``weights``
    says which of ``state``, ``others`` which of ``other``.
    """
    n, gaps = len(weights), {}
    pairs = zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(other), strict=True)
    for (path, a), b in pairs:
        if is_prng_key(a):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        a, b = (np.asarray(x).astype(float) for x in (a, b))
        if a.shape[:1] == (n,):
            a, b = a[np.asarray(weights) > 0], b[np.asarray(others) > 0]
        size = np.linalg.norm(a)
        name = jax.tree_util.keystr(path).lstrip(".") or "state"
        gaps[name] = float(np.linalg.norm(a - b) / (size if size > 0 else 1))
    return gaps
