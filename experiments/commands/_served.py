"""A served model: its files, and the objective that it was trained on."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import Refused
from ..files import archive
from . import _receipt_files as receipts
from . import _served_table

OTHERS = {  # settings that tell a model that is no implicit ALS
    "learning_rate": "trained by gradient descent (BPR or logistic factorisation)",
    "K": "a model of neighbours",
}
TEXTS = {"dtype": ("float16", "float32", "float64")}  # what implicit writes of text, beside numbers
TABLES = ("user_factors", "item_factors")


class Served(NamedTuple):
    """A model as it is served."""

    factors: Any  # Factors, NumPy, in the precision of the file
    settings: dict[str, Any]  # the other arrays of the file
    text: dict[str, str]  # metadata of a safetensors file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say how a table is to be read, and what objective a model has."""
    add = _served_table.add_arguments(parser)
    add("--trust", action="store_true", help="do not ask whether the model fits the table")
    told = "an array, or metadata, of MODEL that says nothing of anybody: keep it (repeatable)"
    add("--keep", action="append", metavar="NAME", help=told)
    add = parser.add_argument_group("the objective, where the file does not say").add_argument
    add(
        "--explicit",
        action="store_true",
        help="explicit feedback: only observed values were fitted (models.explicit_als, ALS-WR)",
    )
    add("--reg", type=float, help="regularization")
    add("--alpha", type=float, help="confidence per unit of value; none with --explicit")
    add("--nu", type=float, help="power of the counts in the ridges (default 0; --explicit 1)")
    add("--unobserved", type=float, help="what a pair never observed adds to a count, with --nu")


def model(path: Path) -> Served:
    """Reads a model: an .npz of `implicit` or of this library, or two tables as .safetensors."""
    served = receipts.read(_safetensors if path.suffix == ".safetensors" else _npz, path)
    users, items = (side.dtype.newbyteorder("=") for side in served.factors)
    if users != items:  # one table would be rounded to what the other is
        raise Refused(f"{path}: user_factors are {users}, item_factors {items}: save them alike")
    return served


def _npz(path: Path) -> Served:
    from jaxforget.prepare import interop

    receipts.check_size(path)
    return Served(interop.load_factors(path), interop.load_settings(path), {})


def _safetensors(path: Path) -> Served:
    try:
        from safetensors import safe_open
    except ModuleNotFoundError:
        raise Refused(f"{path}: safetensors is not installed; pip install safetensors") from None
    from jaxforget.prepare import interop

    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}
        text = dict(file.metadata() or {})
    factors = interop.from_arrays(arrays, path)
    settings = {name: array for name, array in arrays.items() if name not in TABLES}
    return Served(factors, settings, text)


def content(served: Served, factors: Any, path: Path) -> bytes:
    """The bytes of a file like ``path`` with other factors: all settings and the precision kept."""
    from jaxforget.prepare import interop

    arrays = interop.implicit_arrays(factors, dtype=served.factors.users.dtype)
    if path.suffix == ".safetensors":
        from safetensors.numpy import save

        return save(served.settings | arrays, metadata=served.text or None)
    return archive(served.settings | arrays)


def objective(served: Served, args: argparse.Namespace, path: Path) -> dict[str, float]:
    """The settings of the objective, from the options or the file.

    ``reg``, ``alpha``, ``nu`` and ``unobserved``; of explicit feedback ``reg`` and ``nu``.
    """
    for name, what in OTHERS.items():
        if name in served.settings:
            raise Refused(
                f"{path}: its settings have {name}, so it was {what}: erase serves implicit ALS; "
                "train this model again without the request"
            )
    asked = [("reg", "regularization"), ("alpha", "alpha")]
    found = {"nu": args.nu or 0.0, "unobserved": args.unobserved or 0.0}
    if args.explicit:
        for name in ("alpha", "unobserved"):
            if getattr(args, name) is not None:
                raise Refused(f"--{name} is of implicit feedback: leave out it or --explicit")
        if "alpha" in served.settings:
            raise Refused(f"{path}: has an alpha, so it is of implicit feedback: no --explicit")
        found, asked = {"nu": 1.0 if args.nu is None else args.nu}, asked[:1]
    for name, theirs in asked:
        given = getattr(args, name)
        if given is None and theirs not in served.settings:
            raise Refused(f"{path}: does not say its {theirs}: give --{name}")
        try:
            found[name] = float(served.settings[theirs]) if given is None else given
        except (TypeError, ValueError):
            raise Refused(f"{path}: {theirs} must be a number") from None
    _refuse_more(served, args.keep or [], path)
    return found


def _refuse_more(served: Served, keep: list[str], path: Path) -> None:
    """Refuses a file that holds more than factors and settings: who is erased might stay there.

    Settings are single numbers, and the text that ``implicit`` writes; ``keep`` names what else
    says nothing of anybody, which can be no array with a place for each user or item.
    """
    sizes = {len(side) for side in served.factors}
    tied = [name for name, array in served.settings.items() if sizes & {*np.shape(array)}]
    if tied:  # their rows would go on telling of who is gone, or belong to somebody else
        raise Refused(
            f"{path}: {', '.join(tied)} may hold something of every user or item, which erase does "
            "not know how to erase: take it out of the file"
        )
    more = [name for name, array in served.settings.items() if not _is_setting(name, array)]
    more += [name for name in served.text if name != "format"]  # of safetensors itself
    if unknown := [name for name in more if name not in keep]:
        raise Refused(
            f"{path}: {', '.join(unknown)} is no setting, and may hold something of who is to be "
            "erased: take it out of the file, or --keep NAME if it says nothing of anybody"
        )


def _is_setting(name: str, array: Any) -> bool:
    """Whether an array is one number, or a known text: neither can hold what somebody did."""
    number = np.ndim(array) == 0 and array.dtype.kind in "biuf"
    return number or (name in TEXTS and str(array) in TEXTS[name])


def n_passes(served: Served) -> int:
    """For how many passes the model was trained, as far as its file says."""
    return max(1, int(served.settings.get("iterations", 15)))


def build(served: Served, objective: dict[str, float], **more: Any) -> Any:
    """The model ``ials`` or ``explicit_als`` with the settings of a served one."""
    from jaxforget import models

    name, how, kept = "explicit_als", dict(objective), served.settings
    if "alpha" in objective:
        name = "ials"
        how["unobserved"] = objective["unobserved"] if objective["nu"] else None
    how["max_sweeps"] = n_passes(served)
    if bool(kept.get("use_cg", False)):
        more.setdefault("cg_steps", int(kept.get("cg_steps", 3)))
    return models.load(name)(dim=served.factors.items.shape[1], **how, **more)
