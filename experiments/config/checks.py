"""What the types of a config's fields alone do not say."""

import math
import os
import re
from typing import Any

import msgspec

from ..errors import Refused
from ..plugins import DOORS, names, suggest
from . import schema
from .fields import ALONE, INJECTED, Experiment, Request, Share, Split

NO_NAMES = ("na", "nan", "none", "null", "true", "false", "inf", "infinity")  # no text in a table
AGAIN = "retrain"  # the method that figures and reports set apart, as the noise floor
LINES = ("reference", "undeleted", "original")  # that figures draw beside those of the methods


def request(request: Request) -> None:
    """Each kind of request needs its own way to say how much."""
    kinds = request.kinds
    if not kinds:
        raise Refused("request.kind: empty; give at least one")
    if lonely := [kind for kind in kinds if len(kinds) > 1 and kind in ALONE]:
        raise Refused(f"request.kind: {lonely[0]!r} has no amount and stands alone, not in a list")
    _injected(request)
    given = [n for n in ("ratio", "count", "path") if getattr(request, n) is not None]
    if request.ignore_missing and kinds != ["listed"]:
        raise Refused("request.ignore_missing: only the kind 'listed' takes it")
    for name in given:
        if getattr(request, name) in ([], ""):
            raise Refused(f"request.{name}: empty; give at least one, or leave it out")
    wanted = {"none": [], "pairs": ["path"], "listed": ["path"]}.get(kinds[0])
    if wanted is None and len(given) == 1 and given != ["path"]:
        return
    if given != wanted:
        takes = "either ratio = 0.05 or count = 100"
        if wanted is not None:
            takes = "path = 'request.csv' and nothing else" if wanted else "nothing else"
        raise Refused(f"request: kind {kinds[0]!r} takes {takes}, got {given or 'nothing'}")
    if request.path and not os.path.isfile(request.path):
        raise Refused(f"request.path: no file {request.path!r}; a CSV or .inter of original ids")


def _injected(request: Request) -> None:
    """What injected profiles look like: said where profiles are injected, and only there."""
    for name in ("fillers", "unpopular"):
        takes = [kind for kind, needed in INJECTED.items() if name in needed]
        asked, given = set(request.kinds) & set(takes), getattr(request, name)
        if asked and given is None:
            raise Refused(f"request.{name}: missing; the kind {min(asked)!r} needs it")
        if not asked and given is not None:
            raise Refused(f"request.{name}: only the kinds {', '.join(takes)} take it")


def split(split: Split, raw: dict[str, Any]) -> None:
    """What is drawn has shares and perhaps a seed; what was published has files."""
    drawn = [name for name in ("shares", "seed") if name in raw]
    files = [name for name in ("valid", "test") if name in raw]
    if split.by == "files" and (drawn or not split.test):
        what = f"{drawn[0]}: not read" if drawn else "test: missing"
        raise Refused(
            f"split.{what} where split.by = 'files'; it takes test = {{path = 'test.txt'}}, the "
            "settings of [data] that differ for that part, and perhaps valid"
        )
    if split.seed == []:
        raise Refused("split.seed: empty; give at least one, or leave it out")
    if split.by != "files" and files:
        raise Refused(f"split.{files[0]}: only read where split.by = 'files'")
    shares = split.shares
    if len(shares) != 3 or not math.isclose(sum(shares), 1.0, abs_tol=1e-9) or shares[0] == 0:
        raise Refused(f"split.shares: expected three shares that sum to 1, got {shares}")


def shapes(experiment: Experiment) -> None:
    """What the types alone do not say."""
    for name in ("seeds", "models", "methods"):
        if not getattr(experiment, name):
            raise Refused(f"{name}: empty; give at least one")
    if not isinstance(experiment.data.get("use"), str | list):
        raise Refused(f"data.use: name a data set{suggest('', names(DOORS['data']))}")
    if not isinstance(experiment.data.get("steps", []), list):
        raise Refused("data.steps: expected a list such as [{use = 'binarise', threshold = 4.0}]")
    if not experiment.data["use"]:
        raise Refused("data.use: empty; give at least one")
    for kind, labels in (("models", experiment.models), ("methods", experiment.methods)):
        for label in labels:
            _label(kind, label)
    for label, table in experiment.methods.items():
        if label in LINES:
            raise Refused(f"methods.{label}: figures have a line of this name; use another")
        if label == AGAIN and (use := table.get("use", label)) != AGAIN:
            raise Refused(
                f"methods.{label}.use: got {use!r}, but tables, figures and reports take this name "
                "for training again; name the method otherwise"
            )
        _reserved(f"methods.{label}", table, experiment)
    for name in experiment.figures:
        schema.find("figures", name, "figures")


def _label(kind: str, label: str) -> None:
    """A name that tables, figures and ``--only`` take as one word."""
    if not re.fullmatch(r"[A-Za-z][\w.+-]*", label, re.ASCII) or label.lower() in NO_NAMES:
        raise Refused(
            f"{kind}.{label[:80]}: cannot name a model or a method: begin with a letter, go on "
            f"with letters, digits and _ . + -, and use none of {', '.join(NO_NAMES)}"
        )


def _reserved(where: str, table: dict[str, Any], experiment: Experiment) -> None:
    """The keys of a method's table that are not its settings, but for ``use``."""
    for name, wanted in (("models", list[str]), ("ratio", Share | list[Share])):
        if name not in table:
            continue
        try:
            msgspec.convert(table[name], wanted, strict=True)
        except msgspec.ValidationError as error:
            raise Refused(f"{where}.{name}: {error}") from None
        if table[name] == []:
            raise Refused(f"{where}.{name}: empty; give at least one, or leave it out")
    for model in table.get("models", []):
        if model not in experiment.models:
            raise Refused(f"{where}.models: no model {model!r}{suggest(model, experiment.models)}")
    if "ratio" in table and experiment.request.ratio is None:
        raise Refused(f"{where}.ratio: the request gives no ratio to override")
