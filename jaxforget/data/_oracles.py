"""Banks of retrained models, reduced to their scores on some pairs."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jaxforget.data import _whole

PARTS = ("forgotten", "retained", "test")
PAIRS = ("users", "items", "values", "part")
RETRAINED, UNDELETED = "retrained", "undeleted"
HALF, RELEARNED = "half", "relearned"  # in banks made with --known: ``about["known"]`` says how
KNOWN = (HALF, RELEARNED)
LISTS, RANK_AUC, RESIDUAL = "lists", "rank_auc", "residual"  # of each model in such banks


class Bank(NamedTuple):
    """What M models of each kind predict for the same P pairs."""

    users: np.ndarray  # [P] original ids, as text
    items: np.ndarray  # [P]
    values: np.ndarray  # [P] of the interactions
    part: np.ndarray  # [P] one of ``PARTS``
    scores: Mapping[str, np.ndarray]  # [M, P] by kind: retrained, undeleted, known ones, methods
    about: Mapping[str, Any]  # data, split, model and request, hashes, versions
    # of kinds whose truth is known: lists [M, R, 20] of item numbers, rank_auc [M], residual [M]
    measured: Mapping[str, Mapping[str, np.ndarray]] = MappingProxyType({})

    def of(self, kind: str, part: str) -> np.ndarray:
        """The scores ``[M, P']`` of one kind of models for one part of the pairs."""
        return self.scores[kind][:, self.part == part]


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over names, shapes and contents, in the order of the names."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def arrays(bank: Bank) -> dict[str, np.ndarray]:
    """A bank as the arrays of its file, without any that would need pickle."""
    named = {name: np.asarray(getattr(bank, name)) for name in PAIRS}
    named |= {f"scores/{kind}": scores for kind, scores in bank.scores.items()}
    for kind, found in bank.measured.items():
        named |= {f"measured/{kind}/{name}": array for name, array in found.items()}
    return named | {"about": _signed(named, bank.about)}


def _signed(named: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> np.ndarray:
    """What a bank says of itself, with the hash of that and of its numbers."""
    plain = {name: value for name, value in about.items() if name != "sha256"}
    text = json.dumps(plain, sort_keys=True)
    sha256 = digest({**named, "about": np.array(text)})
    return np.array(json.dumps(plain | {"sha256": sha256}, sort_keys=True))


def oracles(path: str | Path) -> Bank:
    """Loads a bank that the command ``oracles`` wrote.

    A bank holds the scores that independent models give to the forgotten pairs and to a fixed
    sample of retained and test pairs: models retrained without the request (``"retrained"``),
    models trained on everything (``"undeleted"``), and models that a method made forget. Model
    number ``m`` of every kind has the seed ``m``. Banks made with ``--known`` also hold lists, rank
    AUC and residuals (``measured``) of the models whose truth is known.

    Args:
      path: an .npz file.

    Returns:
      A ``Bank``.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is no bank, holds other numbers than when it was written, or numbers
        that do not fit each other.

    Example:
      >>> oracles("no-such-bank.npz")
      Traceback (most recent call last):
      FileNotFoundError: no-such-bank.npz: no such file
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with _whole.arrays(path) as archive:
            found = {name: archive[name] for name in archive.files}
        stated = found.pop("about")
        about = json.loads(str(stated))
        again = _signed(found, about)
        pairs = {name: found[name] for name in PAIRS}
    except Exception as fault:  # zipfile and numpy raise several
        raise ValueError(f"{path}: no bank of oracles: {type(fault).__name__}: {fault}") from None
    if str(again) != str(stated):
        raise ValueError(f"{path}: its numbers are not those that were written: get it again")
    scores, measured = {}, {}
    for name, array in found.items():
        if name.startswith("measured/"):
            _, kind, measure = name.split("/")
            measured.setdefault(kind, {})[measure] = array
        elif name not in pairs:
            scores[name.removeprefix("scores/")] = array
    n_pairs = {len(array) for array in pairs.values()} | {
        array.shape[1] if array.ndim == 2 else -1 for array in scores.values()
    }
    if len(n_pairs) != 1 or {RETRAINED, UNDELETED} - scores.keys():
        raise ValueError(f"{path}: its tables are not of the same pairs, or some are missing")
    return Bank(**pairs, scores=scores, about=about, measured=measured)
