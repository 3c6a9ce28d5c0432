"""Draws a config's figures from its tables alone: no model, no data set, no jax."""

import matplotlib.pyplot as plt

from experiments import config, figures, plot, plugins, selection, store, tables
from experiments.errors import Refused, hint


def main(argv: list[str]) -> int:
    parser = selection.parser("figures", __doc__, select=False)
    parser.add_argument(
        "--only", action="append", default=[], metavar="FIGURE", help="draw this one"
    )
    arguments = parser.parse_intermixed_args(argv)
    loaded = config.read(arguments.config, tuple(arguments.overrides))
    names = arguments.only or loaded.experiment.figures
    for name in names:
        if name not in plugins.figures():
            raise Refused(f"no figure {name!r}{hint(name, plugins.figures())}")
    folder = store.folder(arguments.results, loaded.name)
    found = tables.read(folder)
    for name in names:
        with plot.style():
            figure, frame = figures.load(name)(found)
            plot.save(figure, frame, folder / name)
            plt.close(figure)
        print(f"{folder / name}.svg .pdf .csv")
    if not names:
        print("this config names no figures; add figures = ['ratio_curves']")
    return 0
