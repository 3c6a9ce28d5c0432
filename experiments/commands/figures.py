"""Draws a config's figures from its tables alone: no model, no data set, no jax."""

import matplotlib.pyplot as plt

from .. import figures, files
from ..config import reading, schema
from ..figures import _plot, _tables
from . import _selection


def main(argv: list[str]) -> int:
    parser = _selection.parser("figures", __doc__, select=False)
    parser.add_argument(
        "--only", action="append", default=[], metavar="FIGURE", help="draw this one"
    )
    _selection.add_code(parser)
    arguments = parser.parse_intermixed_args(argv)
    loaded = reading.read(arguments.config, tuple(arguments.overrides))
    names = arguments.only or loaded.experiment.figures
    _selection.refuse_code(names, arguments)
    for name in names:
        schema.find("figures", name, "--only" if arguments.only else "figures")
    folder = files.folder(arguments.results, loaded.name)
    tables = _tables.read(folder)
    for name in names:
        stem = folder / figures.stem(name)
        with _plot.style():
            figure, frame = figures.load(name)(tables)
            _plot.save(figure, frame, stem)
            plt.close(figure)
        print(f"{stem}.svg .pdf .csv")
    if not names:
        print("this config names no figures; add figures = ['ratio_curves']")
    return 0
