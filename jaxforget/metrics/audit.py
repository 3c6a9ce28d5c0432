"""Is a method as exact as it says? Measured from outside, through its three functions alone.

What is deleted gets other content; then everything is trained and unlearnt again with the same
keys. A difference in what is left shows that it depends on what was deleted.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from jaxforget import _checks
from jaxforget.metrics import differences, variations
from jaxforget.metrics.claims import Claim
from jaxforget.metrics.differences import Gap, Stage
from jaxforget.sparse import serving
from jaxforget.types import ForgetSet, Interactions, Method

CHECKS = ("values", "validation", "retrained", "pairs", "padding")
SAME_PROGRAMS = CHECKS[:3]  # same shapes and programs: what depends on nothing differs in no bit
UNSEEN = (
    "the numbering of ids and the sizes of the tables, which deleted rows helped to make; the "
    "pairs of validation rows; the requests themselves, which every function is given as weights; "
    "with other pairs or padding, what is below rounding; under a claim with a tolerance, the "
    "state, and what is within the tolerance"
)


class Exactness(NamedTuple):
    """What an audit measured. The last two fields say what a difference is worth."""

    values: Gap  # after other values in the deleted rows
    validation: Gap  # after other values in validation rows whose user or item has nothing left
    retrained: Gap  # to training on the retained rows with the same key
    pairs: Gap  # after other users and items in the deleted rows
    padding: Gap  # after more rows of weight 0
    undeleted: float  # the larger distance of the first model to those retrained after a request
    noise: float  # distance of two retrained models with different keys

    @property
    def bitwise(self) -> bool:
        """Nothing differs at all, as far as bits can be compared: same shapes, same programs."""
        return all(getattr(self, name).bitwise for name in SAME_PROGRAMS)

    @property
    def worst(self) -> float:
        """The largest of the differences of predictions; NaN if any is."""
        return float(np.max([getattr(self, name).distance for name in CHECKS]))

    @property
    def rounded(self) -> float:
        """The largest difference, state included, that another order of sums may have made."""
        return float(np.max([self.pairs.worst, self.padding.worst]))

    @property
    def state(self) -> dict[str, float]:
        """The largest difference of each part of the state, over all checks."""
        return differences.largest(*(getattr(self, name).state for name in CHECKS))


def exactness(key: Array, method: Method, train: Interactions, forget: ForgetSet) -> Exactness:
    """Measures how far what a method leaves behind depends on what was deleted.

    Two requests come one after the other: ``forget``, and one that is drawn here and deletes whole
    users too (``variations.following``). Factors and state are compared after both. ``values``,
    ``validation`` and ``retrained`` compare equal shapes and programs, so an exact method differs
    in no bit; ``pairs`` and ``padding`` change the order of some sums, so it may differ by
    rounding. All training and unlearning is called with one key, so that equal methods draw equal
    random numbers. ``UNSEEN`` says what no difference shows.

    Args:
      key: typed JAX key; consumed.
      method: its three functions are called and compiled here.
      train: prepared for the model; validation rows that it brings along are varied too.
      forget: the request; its rows are those whose weight becomes 0.

    Raises:
      ValueError: the request deletes nothing, does not fit ``train`` or leaves too little, or there
        are too few other pairs to replace the deleted ones by.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxforget import methods, models
      >>> from jaxforget.sparse import layout
      >>> train = layout.build([0, 0, 1, 1, 2], [0, 1, 1, 2, 0], [1.0] * 5)
      >>> model = models.load("ials")(dim=2, reg=1.0, alpha=2.0)
      >>> forget = ForgetSet(jnp.ones(5), jnp.array([1.0, 0.0, 1.0, 1.0, 1.0]))
      >>> exactness(jax.random.key(0), methods.load("retrain")(model), train, forget).bitwise
      True
    """
    variations.check(train, forget)
    fit_key, other_key, next_key, pair_key, padding_key = jax.random.split(key, 5)
    trained, unlearnt = _runs(fit_key, method)
    requests = (forget, variations.following(next_key, train, forget))

    def again(varied: Interactions, n: int = 2) -> Gap:
        """The difference after the first ``n`` requests, over other content in the same shapes."""
        return differences.compare(unlearnt(varied, requests[:n])[-1], own[n - 1])

    own = unlearnt(train, requests)
    references = [trained(fit_key, train, request.after) for request in requests]
    # after the first request the rows of the second one still count
    values = [again(variations.other_values(train, requests[:n]), n) for n in (1, 2)]
    watched = variations.other_validation(train, requests)
    padded = variations.more_padding(padding_key, train, requests)
    replaced = variations.other_pairs(pair_key, train, requests)
    wider, others = (unlearnt(x.train, x.requests)[-1] for x in (padded, replaced))
    lengths = (len(train.users), len(padded.train.users))
    axes = differences.interaction_axes(own[-1].state, wider.state, *lengths)
    undeleted = trained(fit_key, train, forget.before).served
    noise = trained(other_key, train, forget.after).served
    return Exactness(
        values=differences.both(*values),
        validation=Gap(0.0, True) if watched is None else again(watched),
        retrained=differences.both(*(differences.compare(*pair) for pair in zip(references, own))),
        pairs=differences.compare(others, own[-1], axes, replaced.places),
        padding=differences.compare(wider, own[-1], axes, padded.places),
        undeleted=float(np.max([differences.distance(undeleted, x.served) for x in references])),
        noise=differences.distance(noise, references[0].served),
    )


def _runs(key: Array, method: Method) -> tuple[Callable[..., Stage], Callable[..., list[Stage]]]:
    """Training, and training followed by requests; all that has the same shapes compiles once."""
    fit, unlearn, serve = (jax.jit(f) for f in method)

    def trained(key, train, weights):
        state, _ = fit(key, train, weights)
        return Stage(state, serving.tables(serve(state, train, weights)))

    def unlearnt(train, requests):
        """What there is after each of the requests."""
        state, stages = fit(key, train, requests[0].before)[0], []
        for request in requests:
            state, _ = unlearn(key, state, train, request)
            stages.append(Stage(state, serving.tables(serve(state, train, request.after))))
        return stages

    return trained, unlearnt


def verdict(
    found: Exactness, claim: Claim, *, rounding: float, given: Exactness | None = None
) -> str:
    """Judges a claim: ``"kept: ..."``, ``"broken: ..."`` or ``"no claim: ..."``, with the number.

    A claim without a tolerance is kept where, of what ran the same programs, neither predictions
    nor state differ in a bit, and the rest differs by ``rounding`` at most. A claim with a
    tolerance is about predictions alone. ``"open: ..."`` where that tolerance tells nothing: two
    retrained models, or the undeleted and the retrained one, differ by no more or by more than it
    themselves. What is not finite breaks every claim.

    Args:
      found: what was measured of the method as it is.
      claim: what its file says.
      rounding: relative difference that another order of sums may make.
      given: what was measured of the method under ``claim.settings``; needed where the claim has
        some.

    Raises:
      ValueError: ``given`` is missing, or ``rounding`` is not a finite number of at least 0.
    """
    _checks.not_negative("audit.verdict", rounding=rounding)
    judged = found
    if claim.settings:
        if given is None:
            raise ValueError(
                f"an audit given {claim.given} needs the method under {dict(claim.settings)}"
            )
        judged = given
    if not np.isfinite([found.worst, judged.worst]).all():
        return "broken: predictions are not finite"
    if claim.kind == "approximate":
        return f"no claim: {found.worst:.2g} apart"
    kept = "exact" if not claim.given else f"exact given {claim.given}"
    as_it_is = f"; as it is {found.worst:.2g} apart" if claim.settings else ""
    if claim.within > 0:
        return _within(judged, claim, max(claim.within, rounding), kept, as_it_is)
    reasons = _differences(judged, rounding)
    if reasons:
        return f"broken: {'; '.join(reasons)}"
    how = f" (other pairs and padding: to {judged.rounded:.2g})" if judged.rounded else ""
    return f"kept: {kept}, bit for bit{how}{as_it_is}"


def _within(judged: Exactness, claim: Claim, allowed: float, kept: str, as_it_is: str) -> str:
    """The verdict on a claim with a tolerance."""
    if judged.worst > allowed:
        if claim.within < judged.noise:
            apart = f"{judged.worst:.2g} apart, two retrainings {judged.noise:.2g}"
            return f"open: {apart}; claimed given {claim.given}"
        return f"broken: {judged.worst:.2g} apart, {allowed:.2g} allowed"
    if not judged.undeleted > allowed:
        apart = f"{judged.undeleted:.2g} from retraining, {allowed:.2g} allowed"
        return f"open: the undeleted model is {apart}; doing nothing would pass"
    how = "bit for bit" if judged.bitwise else f"to {judged.worst:.2g}"
    return f"kept: {kept}, {how}{as_it_is}"


def _differences(judged: Exactness, rounding: float) -> list[str]:
    """What breaks a claim without a tolerance, check by check."""
    found = []
    for name in CHECKS:
        gap = getattr(judged, name)
        if gap.bitwise or (name not in SAME_PROGRAMS and gap.worst <= rounding):
            continue
        parts = [f"{part} {size:.2g}" for part, size in gap.state.items() if size]
        state = f", state {', '.join(parts)}" if parts else ""
        found.append(f"{name} {gap.distance:.2g} apart{state}")
    return found
