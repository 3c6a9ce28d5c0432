"""A verdict on each method of a bank, by a stated rule."""

import math
from typing import NamedTuple

import numpy as np

from jaxforget.data._oracles import RETRAINED, UNDELETED, Bank

from .. import statistics
from ..statistics import Estimate
from . import evidence
from .evidence import Measures

LEFT = 0.05  # share of what doing nothing leaves, below which a method is as retrained, where
TOLD = 0.05  # its models are not told from retrained ones by an AUC of so much above the floor
ERROR = 0.05  # chance of one wrong "nearer" or "further" among all methods of a bank
IDLE = "its models score the {} pairs as the undeleted ones do"


class Verdict(NamedTuple):
    """What is said of a method."""

    part: str  # of the pairs that it is judged by
    left: Estimate  # share of the distance to the retrained models that is left
    told: Estimate  # AUC of U-LiRA over its floor: how well its models are told from retrained ones
    excess: Estimate  # of the one-model membership test, over the retrained models
    harm: Estimate  # median distance on retained pairs over the floor, in nats
    utility: Estimate  # AUC of the labels of test pairs, over the retrained models
    chance: float  # p-value of ``left`` against 1, adjusted for the methods of the bank
    word: str
    why: str


def of(bank: Bank, measures: Measures) -> dict[str, Verdict]:
    """What is to be said of each method of a bank, and of the undeleted models."""
    kinds = [k for k in bank.scores if k not in (RETRAINED, *evidence.of_known_truth(bank))]
    if bad := _unsound(bank):
        return {kind: _nothing(bank)._replace(word="bank diverged", why=bad) for kind in kinds}
    if not bank.about["draws"]:
        return {kind: _of_single(bank, kind) for kind in kinds}
    if not measures.halves:
        why = f"{len(bank.scores[RETRAINED])} of each kind, {evidence.LEAST} are needed"
        return {kind: _nothing(bank)._replace(word="too few models", why=why) for kind in kinds}
    part, members = evidence.judged_by(bank), measures.members

    def over_floor(name: str, kind: str, part: str) -> np.ndarray:
        """A measure of each half over that of two halves of the retrained models."""
        return measures.halves[kind, part][name] - measures.halves[RETRAINED, part][name]

    undeleted, n_models = over_floor("kl_p50", UNDELETED, part), len(bank.scores[RETRAINED])
    found = {}
    for kind in kinds:
        own = over_floor("kl_p50", kind, part)
        found[kind] = Verdict(
            part,
            left=statistics.replicated(
                own / undeleted, n_models, float(own.mean() / undeleted.mean())
            ),
            told=statistics.replicated(over_floor("lira", kind, part), n_models),
            excess=statistics.difference(members[kind], members[RETRAINED]),
            harm=statistics.replicated(over_floor("kl_p50", kind, "retained"), n_models),
            utility=_utility(measures, kind),
            chance=math.nan,
            word="",
            why="",
        )
    return _worded(bank, found, statistics.replicated(undeleted, n_models))


def _utility(measures: Measures, kind: str) -> Estimate:
    own = measures.utilities.get(kind)
    if own is None:
        return Estimate(math.nan, math.nan, math.nan, 0)
    return statistics.difference(own, measures.utilities[RETRAINED])


def _worded(bank: Bank, found: dict[str, Verdict], scale: Estimate) -> dict[str, Verdict]:
    """The words, after the p-values were adjusted for the number of methods."""
    methods = [kind for kind in found if kind != UNDELETED]
    freedom = len(bank.scores[RETRAINED]) - 1
    chances = [statistics.chance(found[kind].left, 1.0, freedom) for kind in methods]
    for kind, chance in zip(methods, statistics.holm(chances).tolist(), strict=True):
        found[kind] = found[kind]._replace(chance=chance)
    words = {kind: _word(bank, kind, verdict, scale) for kind, verdict in found.items()}
    return {kind: found[kind]._replace(word=word, why=why) for kind, (word, why) in words.items()}


def _word(bank: Bank, kind: str, found: Verdict, scale: Estimate) -> tuple[str, str]:
    """The verdict and its reason; ``scale``: how far the undeleted models are over the floor."""
    if not np.isfinite(bank.scores[kind]).all():
        return "diverged", "a score is not finite"
    if not scale.low > 0:
        return "cannot be told", "the undeleted models are inside the floor of retraining"
    if kind == UNDELETED:
        return "undeleted", "the scale: what doing nothing leaves"
    if _idle(bank, kind, found.part):
        return "no step", IDLE.format(found.part)
    if not np.isfinite(found.left.value):
        return "further", "its models do not differ from each other, as retrained ones do"
    left, over, differs = found.left, found.excess.high < 0, found.chance < ERROR
    low = "; it scores the forgotten pairs lower than retraining does" if over else ""
    if differs and left.value > 1:
        return "further", f"further from retraining than doing nothing{low}"
    if left.high <= LEFT and found.told.high <= TOLD:
        why = f"{max(left.value, 0):.1%} is left; told from retraining by {_auc(found)}"
        return "as retrained", why
    if differs:
        why = f"{left.value:.0%} is left; told from retraining by {_auc(found)}{low}"
        return "over-forgets" if over else "nearer", why
    why = f"from doing nothing: {left.low:.0%} to {left.high:.0%} is left, p = {found.chance:.2g}"
    return "no difference shown", why


def _idle(bank: Bank, kind: str, part: str) -> bool:
    """Whether the models of a method score a part of the pairs as the undeleted ones do."""
    return np.array_equal(bank.of(kind, part), bank.of(UNDELETED, part))


def _unsound(bank: Bank) -> str | None:
    """Why nothing can be compared, if the models to compare with are not finite."""
    bad = [k for k in (RETRAINED, UNDELETED) if not np.isfinite(bank.scores[k]).all()]
    return f"a score of the {bad[0]} models is not finite" if bad else None


def _nothing(bank: Bank) -> Verdict:
    none = Estimate(math.nan, math.nan, math.nan, len(bank.scores[RETRAINED]))
    return Verdict(evidence.judged_by(bank), none, none, none, none, none, math.nan, "", "")


def _auc(found: Verdict) -> str:
    return f"AUC {0.5 + found.told.value:.2f}"


def _of_single(bank: Bank, kind: str) -> Verdict:
    found = _nothing(bank)
    if not np.isfinite(bank.scores[kind]).all():
        return found._replace(word="diverged", why="a score is not finite")

    def apart(kind: str, part: str) -> float:
        goal = bank.of(RETRAINED, part)[0].astype(float)
        return float(np.linalg.norm(bank.of(kind, part)[0] - goal))

    part = evidence.judged_by(bank)
    undeleted = apart(UNDELETED, part)
    left = found.left._replace(value=apart(kind, part) / undeleted if undeleted else math.nan)
    found = found._replace(left=left)
    if kind == UNDELETED:
        return found._replace(word="undeleted", why="the scale: what doing nothing leaves")
    if not undeleted:
        return found._replace(word="cannot be told", why="deleting changes no score")
    if _idle(bank, kind, part):
        return found._replace(word="no step", why=IDLE.format(part))
    close = left.value <= LEFT
    why = f"{left.value:.2g} of what doing nothing leaves; training draws nothing, so one suffices"
    word = "as retrained" if close else "nearer" if left.value < 1 else "further"
    return found._replace(word=word, why=why)
