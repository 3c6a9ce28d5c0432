"""Checks a receipt of certified unlearning: recomputes its certificate, trusting nobody."""

import argparse
import dataclasses
import secrets
from pathlib import Path

import numpy as np

from ..errors import PROGRAM, Refused
from . import _receipt_files as files
from . import _served_table
from ._receipt_files import save

__all__ = ["main", "save"]

OBJECTIVE = ("reg", "alpha", "nu", "unobserved")


def main(argv: list[str]) -> int:
    """Recomputes the certificate; prints what it finds; 0 verified, 1 not, 2 unreadable input."""
    args = _parser().parse_args(argv)
    args.seed = secrets.randbits(32) if args.seed is None else args.seed
    try:
        receipt = files.read(files.receipt, args.receipt)
        verdict, size = _recompute(receipt, args)
        wrong = verdict.wrong + _demands(receipt, verdict, args)
    except (ValueError, ModuleNotFoundError) as fault:
        raise Refused(f"cannot verify: {fault}") from fault
    for line in wrong:
        print(f"FAILED   {line}")
    if not wrong:
        _tell(receipt, verdict, size, args)
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} verify", description=__doc__)
    add = parser.add_argument
    add("receipt", type=Path, help="receipt.json")
    add("model", type=Path, help="factors.npz as `implicit` saves them, or .safetensors")
    add("data", type=Path, help="retained.npz, or the retained rows as `erase` reads a table")
    add("--request", type=Path, help="CSV user,item,value of what was asked to be forgotten")
    add("--before", type=Path, help="factors of the model before the request")
    _served_table.add_arguments(parser)
    demands = parser.add_argument_group("what you demand (FAILED where the receipt has another)")
    demands.add_argument("--tol", type=float, help="largest relative distance")
    for name in OBJECTIVE:
        demands.add_argument(f"--{name}", type=float, help=f"{name} of the objective")
    demands.add_argument("--retained", help="hash of the retained data, as printed")
    demands.add_argument("--signer", help="KEY.pub, or the fingerprint of the key that signed")
    proof = parser.add_argument_group("your proof, which the receipt has no say in")
    proof.add_argument("--seed", type=int, help="of your random starts; drawn anew by default")
    proof.add_argument("--proof", default="lanczos", help="lanczos (default) or cholesky")
    proof.add_argument("--failure", type=float, default=1e-9, help="chance of error, in (0, 1)")
    proof.add_argument("--steps", type=int, default=24, help="block steps of Lanczos")
    proof.add_argument("--width", type=int, default=16, help="block width of Lanczos")
    return parser


def _recompute(receipt, args):
    """What ``verify`` of the library finds, and how many users, items and rows the data have."""
    import jax

    from jaxforget.als.certificate import check_settings, fields, verifying

    proof = {name: getattr(args, name) for name in ("proof", "failure", "steps", "width")}
    proof["deflate"] = 32
    check_settings("verify", **proof)
    if not 0 <= args.seed < 2**32:
        raise Refused(f"--seed must be an integer from 0 to {2**32 - 1}; got {args.seed}")
    fields.require(receipt)
    with jax.enable_x64(True):
        factors = _factors(args.model, receipt)
        retained = _retained(args, factors)
        verdict = verifying.verify(
            receipt,
            factors,
            retained,
            fresh_seed=args.seed,
            request=_request(args, receipt),
            before=None if args.before is None else _factors(args.before, receipt["before"]),
            settings=proof,
        )
    return verdict, (len(retained.users), retained.n_users, retained.n_items)


def _request(args, receipt):
    """The request; its values as the issuer had them, where these were rounded to 32 bits."""
    if args.request is None:
        return None
    from jaxforget.als.certificate.digests import hash_pairs

    asked = files.read(files.request, args.request)
    if len(asked) == 3 and receipt["request"]["data"] != hash_pairs(*asked):
        with np.errstate(over="ignore"):
            rounded = (*asked[:2], asked[2].astype(np.float32))
        if receipt["request"]["data"] == hash_pairs(*rounded):
            return rounded
    return asked


def _retained(args, factors):
    """The retained interactions, of the file that ``erase`` wrote or of a table."""
    import jax.numpy as jnp

    from jaxforget.sparse import layout

    if args.data.suffix != ".npz" or files.is_matrix(args.data):
        train = _served_table.read(args.data, factors, args).train
        return dataclasses.replace(train, values=jnp.asarray(train.values, jnp.float64))
    data = files.read(files.retained, args.data)
    sizes = [len(side) for side in factors]
    if data["shape"].tolist() != sizes:
        raise Refused(
            f"{args.data} has {data['shape'].tolist()} users and items, {args.model} {sizes}"
        )
    return layout.build(
        data["users"],
        data["items"],
        data["values"].astype(np.float64),
        n_users=sizes[0],
        n_items=sizes[1],
    )


def _factors(path, receipt):
    """The factors of a file, as arrays of JAX; ``receipt["factors"]`` is the hash of them."""
    import jax

    found = files.read(lambda path: files.factors(path, receipt["factors"]), path)
    return jax.tree.map(jax.numpy.asarray, found)


def _demands(receipt, verdict, args):
    """What the verifier asked for and the receipt does not have, a line each."""
    wrong = []
    bound = verdict.numbers.get("relative_bound")
    if args.tol is not None:
        if not receipt["promise"]["tol"] <= args.tol:
            wrong.append(f"tol {receipt['promise']['tol']:.3g} was promised; you demand {args.tol}")
        elif bound is not None and not bound <= args.tol:
            wrong.append(f"the certified distance is {bound:.3g}; you demand {args.tol}")
    for name in OBJECTIVE:
        asked, stated = getattr(args, name), receipt["objective"][name]
        if asked is not None and not np.isclose(stated, asked, rtol=1e-9, atol=0):
            wrong.append(f"{name} of the objective is {stated}; you demand {asked}")
    if args.retained is not None and args.retained != receipt["retained"]:
        wrong.append(f"the retained data have the hash {receipt['retained']}; you demand another")
    if args.signer is not None:
        signer = args.signer
        if not signer.startswith("sha256:"):
            from jaxforget.als.certificate import signing

            signer = files.read(
                lambda path: signing.fingerprint_of(path.read_bytes()), Path(signer)
            )
        if verdict.signed_by != signer:
            wrong.append(f"signed by {verdict.signed_by or 'nobody'}; you demand {signer}")
    return wrong


def _tell(receipt, verdict, size, args):
    """Prints what was verified, of what objective and data, who signed, and what is not proved."""
    found, stated, asked = verdict.numbers, receipt["before"], receipt["request"]["pairs"]
    chance = found["failure_probability"]
    print(
        f"verified  |M - M*| <= {found['relative_bound']:.3g} |M| "
        f"(promised {receipt['promise']['tol']:.3g}); {args.proof}, chance of error {chance:.1g} "
        f"for your seed {args.seed}"
    )
    objective = ", ".join(f"{name} {receipt['objective'][name]:.12g}" for name in OBJECTIVE)
    rows, users, items = size
    print(f"objective {objective}")
    print(f"data      {rows} interactions, {users} users, {items} items, {receipt['retained']}")
    if verdict.forgotten:
        kept = receipt["kept"]["bound"] / found["size"] if found["size"] else np.inf
        print(f"forgotten {asked} pairs; with them in the data this bound would be {kept:.3g}")
        print(
            f"          over the rows of the request |M - M*| <= {found['rows']:.3g} "
            f"(|M| there: {found['rows_size']:.3g}), over its pairs {found['pairs']:.3g}"
        )
        if verdict.factor is not None:
            print(
                f"          unlearnt by a factor of {verdict.factor:.3g}: the model before is "
                f"within {stated['bound']:.3g}, over the rows {stated['rows']:.3g}, over the pairs "
                f"{stated['pairs']:.3g}"
            )
    elif asked:
        print(f"request   of {asked} pairs: NOT shown to be forgotten; give it with its values")
    else:
        print("request   of no pairs: nothing was asked to be forgotten")
    nobody = "somebody, unchecked" if "signature" in receipt else "nobody"
    print(f"signed    by {verdict.signed_by or nobody}")
    for line in verdict.unproved:
        print(f"unproved  {line}")
