"""Trains one model over all devices of all processes, and unlearns the request from it.

For ALS models (ials, explicit_als) whose tables are larger than a device. The config must come
down to one cell (see --only), with the method unlearn_als or retrain. Every few passes the tables
are written, a file per device; the same command goes on from there. At the end the folder holds
trained.npz and unlearned.npz (or retrained.npz), as `implicit` reads them.

Several processes: start the same command on every host, with --coordinator, --processes and
--process, or with --cluster where SLURM or Kubernetes say who takes part. If a process is lost, the
others end with one line and exit code 1 within a minute.
"""

import argparse
import functools
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from .. import files
from ..config.grid import Cell
from ..config.reading import Config
from ..errors import PROGRAM, Refused
from ..lab import setup
from . import _selection

WORKER = "JAXFORGET_WORKER"  # set in the process that computes; its parent only watches it


def _parser() -> argparse.ArgumentParser:
    parser = _selection.parser("train", __doc__, select=True)
    _selection.add_laboratory(parser)
    parser.add_argument("--out", help="folder of the tables (default: results/NAME/mesh)")
    parser.add_argument("--every", type=int, default=5, metavar="n", help="passes per checkpoint")
    parser.add_argument(
        "--mesh", type=int, metavar="n", help="devices of this process (default: all; CPU: cores)"
    )
    parser.add_argument("--coordinator", metavar="host:port", help="of the first process")
    parser.add_argument("--processes", type=int, metavar="n", help="how many take part")
    parser.add_argument("--process", type=int, metavar="i", help="which this is, from 0")
    parser.add_argument("--cluster", action="store_true", help="ask SLURM or Kubernetes for these")
    parser.add_argument(
        "--lost-after", type=int, default=20, metavar="s", help="seconds without a sign of life"
    )
    parser.add_argument("--force", action="store_true", help="begin anew")
    return parser


def _join(arguments: argparse.Namespace) -> bool:
    """Joins the other processes, if there are any; says whether there are."""
    given = [arguments.coordinator, arguments.processes, arguments.process]
    if arguments.cluster and any(part is not None for part in given):
        raise Refused("--cluster asks the cluster: leave out --coordinator and the numbers")
    if not arguments.cluster and any(given) and None in given:
        raise Refused("--coordinator, --processes and --process go together")
    return arguments.cluster or arguments.processes is not None


def _initialise(arguments: argparse.Namespace) -> None:
    """Has JAX join the other processes."""
    import jax

    jax.distributed.initialize(
        arguments.coordinator,
        arguments.processes,
        arguments.process,
        heartbeat_timeout_seconds=arguments.lost_after,
        shutdown_timeout_seconds=arguments.lost_after,
    )


def _compute(
    arguments: argparse.Namespace, config: Config, cells: list[Cell], folder: Path, several: bool
) -> int:
    """Takes the passes, in this process."""
    if len(cells) != 1:
        raise Refused(f"{len(cells)} cells; choose one, such as --only method=unlearn_als,seed=0")
    n_cpus = arguments.mesh or os.cpu_count()
    setup.configure(
        arguments.device,
        config.experiment.dtype,
        n_cpus,
        functools.partial(_initialise, arguments) if several else None,
    )
    import jax

    lab = setup.laboratory(config.experiment, arguments.device, arguments.root)
    from ..lab import spreading

    here = jax.local_devices()
    if arguments.mesh is not None and arguments.mesh != len(here):
        raise Refused(f"--mesh {arguments.mesh}: this process sees {len(here)} devices")
    there = jax.make_mesh((jax.device_count(),), ("rows",))
    todo = spreading.work(lab, cells[0], there.size)
    if arguments.force:
        spreading.clear(folder)
    if jax.process_index() == 0:
        print(f"{there.size} devices of {jax.process_count()} processes", flush=True)
    for stage, done, total, seconds in spreading.run(todo, there, folder, arguments.every):
        if jax.process_index() == 0:
            print(f"{stage}: pass {done} of {total}, {seconds:.3g} s a pass", flush=True)
    if jax.process_index() == 0:
        print(f"{folder}: {', '.join(stage.name + '.npz' for stage in todo.stages)}")
    return 0


def _watch(argv: list[str], folder: Path) -> int:
    """Runs the computation in a child: what ends it may be an abort deep in a library."""
    log = folder / f"process-{socket.gethostname()[:20]}-{os.getpid()}.log"
    command = [sys.executable, "-m", __package__.rpartition(".")[0], "train", *argv]
    how = {"stdout": subprocess.PIPE, "text": True, "env": os.environ | {WORKER: "1"}}
    with open(log, "wb") as errors, subprocess.Popen(command, stderr=errors, **how) as child:
        signal.signal(signal.SIGTERM, lambda *_: child.kill())  # JAX takes SIGTERM as a notice
        for line in child.stdout or ():
            if "[Gloo]" not in line:  # what the library of collectives tells about itself
                print(line, end="", flush=True)
    text = log.read_text(errors="replace")
    if child.returncode == 0:
        log.unlink()
        return 0
    if child.returncode == 2 and text.strip():
        log.unlink()
        print(text.strip().splitlines()[-1], file=sys.stderr)
        return 2
    how = f"signal {-child.returncode}" if child.returncode < 0 else f"code {child.returncode}"
    print(
        f"a process was lost: the one here ended with {how}, see {log}; start the same command on "
        "all again, and it goes on from the last checkpoint",
        file=sys.stderr,
    )
    return 1


def main(argv: list[str]) -> int:
    arguments = _parser().parse_intermixed_args(argv)
    if arguments.every < 1 or arguments.lost_after < 1:
        raise Refused("--every and --lost-after: expected at least 1")
    several = _join(arguments)
    config, cells = _selection.load(arguments)
    folder = Path(arguments.out or files.folder(arguments.results, config.name) / "mesh")
    try:
        files.writable(folder)
    except OSError as error:
        raise Refused(f"{folder}: {files.reason(error)}; see --out, {PROGRAM}") from error
    if several and WORKER not in os.environ:
        return _watch(argv, folder)
    return _compute(arguments, config, cells, folder, several)
