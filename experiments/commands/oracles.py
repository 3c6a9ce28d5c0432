"""Makes the banks of models that evidence is judged by.

For every data set, split, request and model of a config: models trained without the request,
models trained on everything, and, by each method of the config, models made to forget it; each
under as many independent seeds. Of a model its scores of the forgotten pairs, and of a fixed sample
of retained and test pairs, are kept: results/X/oracles/ID.npz, which `jaxforget.data.oracles`
reads. A model whose training draws nothing needs one of each kind: all others would be equal.

With --known also models whose truth is known by how they were made, on which `evidence` tries the
measures: trained without half of the request, and retrained ones that were taught it again. Give it
whenever the bank is put together, as --models and --pairs.

Stop it at any moment and run it again; --shard i/n makes the i-th of n parts, and whoever runs
last puts them together.
"""

import argparse
import sys

from .. import files
from ..config import choice, grid, owned
from ..errors import Refused
from ..lab import setup
from . import _selection


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = _selection.parser("oracles", __doc__, select=True)
    _selection.add_laboratory(parser)
    add = parser.add_argument
    add("--models", type=int, default=100, metavar="n", help="of each kind (default 100)")
    add("--pairs", type=int, default=500, metavar="n", help="of each part, at most (default 500)")
    add("--batch", default="auto", metavar="auto|off|n", help="models trained together, as in run")
    add("--known", action="store_true", help="also models to try measures on: half, relearned")
    add("--devices", type=int, metavar="n", help="deal a batch to n devices")
    arguments = parser.parse_intermixed_args(argv)
    for name in ("models", "pairs"):
        if getattr(arguments, name) < 1:
            raise Refused(f"--{name} must be 1 or more; got {getattr(arguments, name)}")
    return arguments


def main(argv: list[str]) -> int:
    arguments = _arguments(argv)
    part, arguments.shard = choice.part_of(arguments.shard), None
    config, chosen = _selection.load(arguments)
    setup.check_batch(config.experiment, arguments.batch, arguments.devices)
    lab = setup.laboratory(
        config.experiment, arguments.device, arguments.root, arguments.batch, arguments.devices
    )
    from jaxforget.data import _oracles

    from ..lab import known, oracles, plans

    folder = files.folder(arguments.results, config.name) / "oracles"
    missing = 0
    decides = (*owned.DECIDES, "method")  # several cells may ask for the same models
    asked = {cell.key(*decides) for cell in chosen}
    for plan in plans.plans(grid.cells(config), arguments.models, arguments.pairs):
        wanted = {name for name, cell in plan.methods.items() if cell.key(*decides) in asked}
        if not wanted:
            continue
        if arguments.known and plan.draws:
            plan = plan._replace(known=known.kinds(lab, plan.cell))
        pairs = oracles.sample(lab, plan)
        oracles.make(lab, folder, plan, pairs, _told, part=part, wanted=wanted)
        bank = oracles.gather(lab, folder, plan, pairs)
        if bank is None:
            missing += 1
            continue
        content = files.archive(_oracles.arrays(bank), compressed=True)
        files.write_atomically(folder / f"{plan.id}.npz", content)
        print(f"{folder / plan.id}.npz: {oracles.described(bank)}")
    if missing:
        print(f"{missing} banks wait for their other parts or methods, which were not asked for")
    return 0


def _told(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
