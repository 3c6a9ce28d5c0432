"""Meets deletion requests one after another, on a model that is being served, and keeps a journal.

The first call gives --model and --interactions, as `erase` takes them, and makes FOLDER, which
may be there if it is empty. The same command goes on from there, also after a kill; so does one
without the options of the first call.

--requests is a CSV with the header user, item, or user,item, and original ids: one request per
line, or --batch lines together. Of a file, what the journal has is not met again: it may have
grown; of another file all lines are met. So are all of standard input (-), where who is named again
loses nothing more. A line that names nothing is counted, and nothing is done about it. A last line
without its end is left, as it may be half written.

FOLDER holds journal.jsonl, a line per request, on disk before the request is met, each with the
hash of the line before; state.npz, from which a later call goes on; and the model to be served. The
journal names who was erased: keep it as long as it is needed, and no longer.

Every --check requests the drift is measured: what the requests have left undone of what they
disturbed, relative to the data. Above --budget the model is trained anew on what is left.

Exit code 1: not all lines were met, as one has no end, or one of standard input was refused. A list
that is refused (2) leaves the stream as it was; a first call has begun it.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PROGRAM, Refused
from ..lab import setup
from . import _asked, _beginning, _served, _stream


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} serve-requests",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER")
    add("--requests", required=True, help="CSV of requests, or - for standard input")
    add("--batch", type=int, default=1, metavar="n", help="lines that are one request (1)")
    add("--save", type=int, default=20, metavar="n", help="requests between two saved states (20)")
    begin = parser.add_argument_group("the first call").add_argument
    begin("--model", type=Path)
    begin("--interactions", type=Path)
    begin("--tol", type=float, default=0.1, help="rows out by less, relatively, are left (0.1)")
    begin("--check", type=int, default=50, metavar="n", help="requests between two checks (50)")
    begin("--budget", type=float, default=0.01, help="drift at which to train anew (0.01)")
    _served.add_arguments(parser)
    return parser


def main(argv: list[str]) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    for name in ("batch", "save", "check"):
        if getattr(args, name) < 1:
            raise Refused(f"--{name} must be 1 or more; got {getattr(args, name)}")
    if not 0 < args.tol < 1:
        raise Refused(f"--tol must lie in (0, 1); got {args.tol:g}")
    if not args.budget > 0:
        raise Refused(f"--budget must be positive; got {args.budget:g}")
    setup.configure(None, "float32")
    new = not (args.folder / _stream.STATE).exists()
    if new and (args.model is None or args.interactions is None):
        raise Refused(f"{args.folder} has no stream yet: give --model and --interactions")
    if not new:  # what is not given is as the stream began
        parser.set_defaults(**dict.fromkeys(_beginning.options()))
        args = parser.parse_args(argv)
    if args.requests != "-" and not Path(args.requests).is_file():
        raise Refused(f"{args.requests}: no such file")
    with _stream.opened(args.folder, args, new=new) as stream:
        return _serve(stream, args)


def _serve(stream: Any, args: argparse.Namespace) -> int:
    replayed = stream.replay()
    if replayed:
        print(f"went on from request {stream.done}, of which {replayed} were met again")
    asked = _asked.Asked(args.requests, stream.text)
    lines, live = asked.lines(), args.requests == "-"
    if not live:  # a file is read whole before anything of it is met
        lines = [*lines]
        skipped = _asked.met(lines, stream.entries)
        lines = lines[skipped:]
        stream.check(asked.columns, lines)
        if skipped:
            print(f"{skipped} lines of {args.requests} were met before")
    seconds, missing, refused = [], 0, None
    try:
        for chunk in _asked.batches(lines, args.batch):
            started = time.perf_counter()
            if live:
                stream.check(asked.columns, chunk)
            told, unknown = stream.meet(asked.columns, chunk)
            missing += unknown
            seconds.append(time.perf_counter() - started)
            print(f"request {stream.done}: {told}, {seconds[-1]:.3f} s", flush=True)
            if stream.done % args.save == 0:
                stream.save()
    except Refused as fault:
        if not seconds:
            raise
        refused = fault
    finally:
        stream.save()
    return _summary(stream, asked, seconds, missing, refused)


def _summary(
    stream: Any, asked: _asked.Asked, seconds: list[float], missing: int, refused: Refused | None
) -> int:
    """Says what this call did; the exit code."""
    if seconds:
        p50, p95 = np.percentile(seconds, (50, 95))
        print(f"{len(seconds)} requests, {sum(seconds):.3g} s; p50 {p50:.3g} s, p95 {p95:.3g} s")
    if missing:
        print(f"{missing} lines name nothing that the model learnt from")
    if stream.whole:
        drift = stream.session.drift()
        print(f"drift {drift['drift']:.2g}, residual {drift['residual']:.2g}")
    if refused:
        print(f"error: {refused}: it stopped there", file=sys.stderr)
    if asked.open_end:
        line = f"line {asked.open_end} of {asked.address} has no end"
        print(f"error: {line}, so it may be half written: it was not met", file=sys.stderr)
    return int(bool(refused or asked.open_end))
