"""Meets deletion requests one after another, on a model that is being served, and keeps a journal.

The first call gives --model and --interactions, as `erase` takes them, and makes FOLDER; every call
goes on where the last one ended, also after a kill. --requests is a CSV with the header user, item,
or user,item, and original ids (- for standard input): one request per line, or --batch lines
together. A line that names nothing is counted, and nothing is done about it.

FOLDER holds journal.jsonl, a line per request, on disk before the request is met, each with the
hash of the line before; state.npz, from which a later call goes on; and the model to be served. The
journal names who was erased: keep it as long as it is needed, and no longer.

Every --check requests the drift is measured: what the requests have left undone of what they
disturbed, relative to the data. Above --budget the model is trained anew on what is left.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PROGRAM, Refused
from ..lab import setup
from . import _served, _stream


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
    args = _parser().parse_args(argv)
    for name in ("batch", "save", "check"):
        if getattr(args, name) < 1:
            raise Refused(f"--{name} must be 1 or more; got {getattr(args, name)}")
    if not 0 < args.tol < 1:
        raise Refused(f"--tol must lie in (0, 1); got {args.tol:g}")
    if not args.budget > 0:
        raise Refused(f"--budget must be positive; got {args.budget:g}")
    setup.configure(None, "float32")
    new = not (args.folder / _stream.STATE).exists()
    if new != (args.model is not None and args.interactions is not None):
        raise Refused(
            f"{args.folder} has no stream yet: give --model and --interactions"
            if new
            else f"{args.folder} has a stream: it goes on without --model and --interactions"
        )
    if args.requests != "-" and not Path(args.requests).is_file():
        raise Refused(f"{args.requests}: no such file")
    with _stream.opened(args.folder, args if new else None) as stream:
        return _serve(stream, args)


def _serve(stream: Any, args: argparse.Namespace) -> int:
    replayed = stream.replay()
    if replayed:
        print(f"went on from request {stream.done}, of which {replayed} were met again")
    seconds, skipped = [], stream.lines
    try:
        for ids in _chunks(_lines(args.requests), args.batch, skipped, stream):
            started = time.perf_counter()
            told = stream.meet(ids)
            seconds.append(time.perf_counter() - started)
            print(f"request {stream.done}: {told}, {seconds[-1]:.3f} s", flush=True)
            if stream.done % args.save == 0:
                stream.save()
    finally:
        stream.save()
    if seconds:
        p50, p95 = np.percentile(seconds, (50, 95))
        print(f"{len(seconds)} requests, {sum(seconds):.3g} s; p50 {p50:.3g} s, p95 {p95:.3g} s")
    drift = stream.session.drift()
    print(f"drift {drift['drift']:.2g}, residual {drift['residual']:.2g}")
    return 0


def _lines(address: str) -> Iterator[list[str]]:
    """The records of a CSV, its header first, as they come."""
    if address == "-":
        yield from csv.reader(sys.stdin, strict=True)
        return
    with open(address, newline="", encoding="utf-8-sig") as file:
        yield from csv.reader(file, strict=True)


def _chunks(
    lines: Iterator[list[str]], size: int, skipped: int, stream: Any
) -> Iterator[list[list[str]]]:
    """Requests of ``size`` lines, without the lines that the journal has."""
    try:
        header = next(lines, [])
        stream.take_header(header)
        chunk = []
        for number, line in enumerate(lines):
            if len(line) != len(header):
                raise Refused(f"requests, line {number + 2}: {len(line)} fields, not {len(header)}")
            if number >= skipped:
                chunk.append(line)
            if len(chunk) == size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk
    except (csv.Error, UnicodeDecodeError) as fault:
        raise Refused(f"requests: {fault}") from fault
