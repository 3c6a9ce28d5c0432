"""Checks a receipt of certified unlearning: recomputes its certificate, trusting nobody."""

import argparse
import csv
import json
import secrets
from pathlib import Path

import numpy as np

from ..errors import PROGRAM, Refused


def main(argv: list[str]) -> int:
    """Recomputes the certificate; prints what it finds; 0 verified, 1 not, 2 unreadable input."""
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} verify", description=__doc__)
    parser.add_argument("receipt", type=Path, help="receipt.json")
    parser.add_argument("model", type=Path, help="factors.npz as `implicit` saves them")
    parser.add_argument("data", type=Path, help="retained.npz with users, items, values, shape")
    parser.add_argument(
        "--request", type=Path, help="CSV (user,item) of the ids asked to be forgotten"
    )
    parser.add_argument("--seed", type=int, help="of your own random starts; drawn anew by default")
    args = parser.parse_args(argv)
    seed = secrets.randbits(31) if args.seed is None else args.seed
    try:
        receipt = json.loads(args.receipt.read_text())
        request = args.request and _pairs(args.request)
        wrong = _check(receipt, args.model, _arrays(args.data), request, seed)
    except (OSError, KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise Refused(f"cannot verify: {type(error).__name__}: {error}") from error
    for line in wrong:
        print(f"FAILED   {line}")
    if not wrong:
        stated = receipt["certificate"]
        print(
            f"verified |M - M*| <= {stated['relative_bound']:.3g} |M| (promised "
            f"{receipt['promise']['tol']:.3g}), {receipt['request']['pairs']} pairs forgotten; "
            f"chance of error {stated['failure_probability']:.1g} per seed, yours is {seed}"
        )
    return 1 if wrong else 0


def save(folder: Path, receipt: dict, factors, train, weights) -> None:
    """Writes ``receipt.json``, ``factors.npz`` and ``retained.npz``: what ``verify`` reads.

    The factors keep their precision, and have the names that the library ``implicit`` gives them.
    """
    from jaxforget.prepare import interop

    folder.mkdir(parents=True, exist_ok=True)
    kept = np.asarray(weights) > 0
    columns = {
        name: np.asarray(getattr(train, name))[kept] for name in ("users", "items", "values")
    }
    dtype = np.asarray(factors.users).dtype
    interop.save_factors(folder / "factors.npz", factors, dtype=dtype)
    np.savez(folder / "retained.npz", **columns, shape=[train.n_users, train.n_items])
    (folder / "receipt.json").write_text(json.dumps(receipt, indent=2) + "\n")


def _check(receipt, model, data, request, seed):
    import jax

    from jaxforget.als.certificate import receipt as receipts
    from jaxforget.sparse import layout

    with jax.enable_x64(True):
        n_users, n_items = (int(n) for n in data["shape"])
        values = data["values"].astype(np.float64)
        retained = layout.build(
            data["users"], data["items"], values, n_users=n_users, n_items=n_items
        )
        factors = jax.tree.map(jax.numpy.asarray, _factors(model, receipt))
        return receipts.check(receipt, factors, retained, fresh_seed=seed, request=request)


def _factors(path, receipt):
    """The factors of a file; in 64 bits where that is what the receipt is about."""
    from jaxforget.als.certificate.receipt import hash_arrays
    from jaxforget.prepare import interop
    from jaxforget.types import Factors

    stored = interop.load_factors(path)
    wide = Factors(*(array.astype(np.float64) for array in stored))
    return wide if receipt["factors"] == hash_arrays(*wide) else stored


def _arrays(path):
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _pairs(path):
    with path.open(newline="") as lines:
        rows = [(int(row["user"]), int(row["item"])) for row in csv.DictReader(lines)]
    return tuple(np.array(rows, np.int64).reshape(-1, 2).T)
