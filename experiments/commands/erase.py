"""Erases people, items or pairs from a model that is already serving.

MODEL is an .npz that `implicit` (AlternatingLeastSquares) or save_factors wrote, or a .safetensors
file with the tables user_factors and item_factors. INTERACTIONS is what it was trained on:
delimited text with a header (.csv, .tsv), .inter of RecBole, .dat (user::item::value), .parquet, or
the .npz of a SciPy matrix. REQUEST is a CSV with the header user, item, or user,item, and the
original ids, or a .inter of RecBole.

How the model numbers ids: --ids rows (default for integers: an id is the number of its row),
sorted (rows follow the sorted ids, as with pandas categories), appearance (rows follow the order in
which ids first appear), or --users and --items, files with the original id of every row. A model
that does not fit the table so numbered is refused.

OUT, a folder that must not be there yet, gets the new model in the format that came in, report.html
and report.json for an auditor and, with --certify, a receipt and what `verify` needs. The rows of
who lost everything are 0; with --drop-rows they are gone, and users.csv and items.csv name those
that are left. A run that fails writes nothing.
"""

import argparse
import os
import shutil
from pathlib import Path

from .. import files
from ..errors import PROGRAM, Refused
from ..lab import setup
from . import _erase_measures, _erase_report, _erased, _served, _updates


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} erase",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL")
    add("interactions", type=Path, metavar="INTERACTIONS")
    add("request", type=Path, metavar="REQUEST")
    add("--out", type=Path, required=True, help="folder to be written")
    add("--method", choices=_updates.METHODS, help="default: by the size of the request, and said")
    add("--tol", type=float, help="of local: rows out by less, relatively, are left (0.1)")
    add("--passes", type=int, metavar="n", help="of difference (3), passes (10), retrain")
    add("--certify", type=float, metavar="TOL", help="prove this relative distance, or refuse")
    add("--sign", type=Path, metavar="KEY", help="sign the receipt with a key of keygen")
    add(
        "--drop-rows",
        action="store_true",
        help="remove the rows of who lost everything",
    )
    add("--ignore-missing", action="store_true", help="leave out lines that name nothing")
    add("--name-ids", action="store_true", help="list the erased ids in the report")
    add("--keep-served-until", metavar="DATE", help="of the old model; recorded, nothing else")
    add("--dry-run", action="store_true", help="say what would be touched; write nothing")
    _served.add_arguments(parser)
    return parser


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    _check(args)
    if not args.dry_run:  # what a kill has left holds who is to be forgotten
        files.clean(args.out.parent, args.out.name)
    setup.configure(None, "float64" if args.certify is not None else "float32")
    job = _erased.prepare(args)
    _announce(job)
    if args.dry_run:
        print(_erased.estimate(job, args))
        return 0
    update = _updates.run(job.method, job.model, job.factors, job.train, job.forget, args)
    done = _erase_measures.finish(job, update, args)
    _write(args.out, _erase_report.contents(job, done, args))
    print(f"{args.out}: " + ", ".join(sorted(path.name for path in args.out.iterdir())))
    print(_erase_report.verdict(done.report))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuses what can be refused before anything is read."""
    if args.passes is not None and args.passes < 1:
        raise Refused(f"--passes must be 1 or more; got {args.passes}")
    for name in ("tol", "certify"):
        value = getattr(args, name)
        if value is not None and not 0 < value < 1:
            raise Refused(f"--{name} must lie in (0, 1); got {value:g}")
    _updates.choose(args.method, args.certify, 0.0, 0)
    if args.drop_rows and args.certify is not None:
        raise Refused("--drop-rows renumbers rows, and a receipt names them: give one of the two")
    if args.explicit and args.certify is not None:
        raise Refused("--certify proves of implicit feedback alone: leave out it or --explicit")
    if args.sign is not None and args.certify is None:
        raise Refused("--sign signs the receipt of --certify: give that too")
    if args.tol is not None and args.method not in (None, "local"):
        raise Refused(f"--tol is of --method local, not {args.method}")
    if args.passes is not None and args.method not in _updates.PASSES:
        raise Refused(f"--passes needs --method {', '.join(_updates.PASSES)}")
    if args.out.exists() and not args.dry_run:
        raise Refused(f"{args.out} is there already: remove it, or choose another --out")
    given = (args.model, args.interactions, args.request, args.sign)
    for path in (path for path in given if path is not None):
        if not Path(str(path).partition("!")[0]).is_file():
            raise Refused(f"{path}: no such file")


def _announce(job: _erased.Job) -> None:
    counts = job.counts
    print(
        f"{counts['train']:,} of {len(job.train.users):,} interactions to be erased "
        f"({counts['asked']:,} lines, {counts['missing']:,} that name nothing)"
    )
    print(f"method {job.method}: {job.why}")


def _write(out: Path, contents: dict[str, bytes]) -> None:
    """Writes the whole folder beside its place and moves it there, or leaves nothing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    half = files.unfinished(out)
    with files.terminable():
        try:
            shutil.rmtree(half, ignore_errors=True)  # of an earlier process with this number
            half.mkdir(mode=0o700)
            for name, content in contents.items():
                files.write_atomically(half / name, content)
            half.chmod(0o777 & ~_umask())
            half.rename(out)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise


def _umask() -> int:
    """The bits that new folders lack."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
