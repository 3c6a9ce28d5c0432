"""Which measure of forgetting tells models whose truth is known, and can therefore be trusted?

After the meta-evaluation of open-unlearning (arXiv 2506.12618): a measure is faithful that tells
undeleted models from retrained ones, and robust that does so however the models are stored.
"""

import math
from typing import NamedTuple

import numpy as np

from jaxforget.data._oracles import (
    HALF,
    LISTS,
    RANK_AUC,
    RELEARNED,
    RESIDUAL,
    RETRAINED,
    UNDELETED,
    Bank,
)

from .. import statistics
from ..statistics import Estimate
from . import evidence
from .evidence import Measures

FAITHFUL = 0.9  # AUC above which the undeleted models must be told, and
SENSITIVE = 0.5  # that above which those without half of the request must be
CHANGE = 0.05  # by which rounding may change the first AUC, at most
BITS = 8
# Models compared, of each kind. Of fewer, a measure with an AUC of .9 and normal values sets all of
# them apart by chance more than one time in a hundred; so many that are all set apart show an AUC
# above the marks. The interval, which holds for every distribution, would ask for 36.
LEAST = 15
READ = (LISTS, RANK_AUC, RESIDUAL)  # of the models themselves: not made of scores to be rounded
DISTRIBUTION = ("kl_p50", "lira")  # what verdicts are made of: measures of many models
FEW = f"{{}} models of each kind compared, {LEAST} are needed"
UNORDERED = "it does not grow with what is left of the request, or that is not shown"
NONE = Estimate(math.nan, math.nan, math.nan, 0)


class Tried(NamedTuple):
    """How one measure did on the models of a bank whose truth is known."""

    measure: str
    of: str  # "one model", or "distribution" of models
    faithful: Estimate  # AUC, over models, of undeleted against retrained ones
    half: Estimate  # of those trained without half of the request
    relearned: Estimate  # of retrained ones that were taught the request again for a short while
    from_none: Estimate  # mean of the measure without half of the request, over that without all
    from_half: Estimate  # mean with all of the request, over that without half of it
    rounded: Estimate  # the first AUC after the scores of all models were rounded
    ordered: str  # "yes", "no" or "not shown": does the measure grow with what is left?
    usable: bool
    why: str  # not
    n_models: int  # compared, of each kind


def of(bank: Bank, found: Measures) -> list[Tried]:
    """Every measure of a bank with models of known truth; nothing of other banks."""
    if HALF not in evidence.of_known_truth(bank):
        return []
    kinds = [RETRAINED, UNDELETED, *evidence.of_known_truth(bank)]
    own = {kind: evidence.of_models(bank, kind, found.members) for kind in kinds}
    coarse = rounded(bank)
    members = evidence.memberships(coarse)
    pair = [evidence.of_models(coarse, kind, members) for kind in (UNDELETED, RETRAINED)]
    rows = []
    for name, without in own[RETRAINED].items():
        told = {kind: statistics.area(own[kind][name], without) for kind in kinds[1:]}
        half, all_of_it = own[HALF][name], own[UNDELETED][name]
        rows.append(
            judged(
                name,
                (told[UNDELETED], told[HALF], told.get(RELEARNED, NONE)),
                (statistics.difference(half, without), statistics.difference(all_of_it, half)),
                NONE if name in READ else statistics.area(*(x[name] for x in pair)),
                len(without),
            )
        )
    return rows + [_of_distributions(bank, found, name) for name in DISTRIBUTION if found.halves]


def judged(
    name: str,
    told: tuple[Estimate, Estimate, Estimate],
    steps: tuple[Estimate, Estimate],
    coarse: Estimate,
    n_models: int,
) -> Tried:
    """A measure of one model by the rule: faithful, sensitive, ordered, robust."""
    order = _order(steps)
    if n_models < LEAST:
        why = FEW.format(n_models)
    elif not _above(told[0], FAITHFUL):
        why = f"undeleted models are not told from retrained ones by an AUC above {FAITHFUL}"
    elif not _above(told[1], SENSITIVE):
        why = "models without half of the request are not told from retrained ones"
    elif order != "yes":
        why = UNORDERED
    elif name not in READ and not abs(coarse.value - told[0].value) < CHANGE:
        why = f"rounding the scores to {BITS} bits changes it"
    else:
        why = ""
    return Tried(name, "one model", *told, *steps, coarse, order, not why, why, n_models)


def _above(told: Estimate, mark: float) -> bool:
    """Whether an AUC of at least ``LEAST`` models is above a mark: its interval, or every model."""
    return told.low > mark or told.value == 1


def _of_distributions(bank: Bank, found: Measures, name: str) -> Tried:
    """A measure of many models, by its order alone: there is one value of all of them."""
    part = evidence.judged_by(bank)
    none, half, whole = (found.halves[kind, part][name] for kind in (RETRAINED, HALF, UNDELETED))
    all_models = len(bank.scores[RETRAINED])
    first, second = (statistics.replicated(x, all_models) for x in (half - none, whole - half))
    steps, n_models = (first, second), all_models // 2
    order = _order(steps)
    why = ""
    if n_models < LEAST:
        why = FEW.format(n_models)
    elif order != "yes":
        why = UNORDERED
    empty = [NONE] * 3
    return Tried(name, "distribution", *empty, *steps, NONE, order, not why, why, n_models)


def _order(steps: tuple[Estimate, Estimate]) -> str:
    if all(step.low > 0 for step in steps):
        return "yes"
    return "no" if any(step.high < 0 for step in steps) else "not shown"


def rounded(bank: Bank) -> Bank:
    """The bank with all scores rounded to so many bits of the range of the retrained models'."""
    goal = bank.scores[RETRAINED].astype(float)
    low, high, levels = goal.min(), goal.max(), 2**BITS - 1
    step = (high - low) / levels
    if not (math.isfinite(step) and step > 0):
        return bank
    scores = {
        kind: (low + step * np.clip(np.round((own - low) / step), 0, levels)).astype(own.dtype)
        for kind, own in bank.scores.items()
    }
    return bank._replace(scores=scores)
