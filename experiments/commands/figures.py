"""Draws a config's figures from its tables alone: no model, no data set, no jax.

A figure that does not apply to these tables is not drawn; a file .note says why, in its place, and
in the report.
"""

import functools
from pathlib import Path

import matplotlib.pyplot as plt

from .. import figures, files
from ..config import grid, reading, schema
from ..errors import Refused
from ..figures import _beside, _plot, _tables
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
    cells = grid.cells(loaded)
    tables = functools.cache(lambda: _tables.read(folder, cells))
    for name in names:
        stem = folder / figures.stem(name)
        draw = figures.load(name)
        _beside.check(folder, figures.sides(name), cells)
        source = folder if figures.of_folder(name) else tables()
        with _plot.style():
            try:
                figure, frame = draw(source)
            except Refused as reason:  # it does not apply: the other figures do
                _unapplied(stem, str(reason))
                continue
            _plot.save(figure, frame, stem)
            plt.close(figure)
        figures.note(stem).unlink(missing_ok=True)
        print(f"{stem}.svg .pdf .csv")
    if not names:
        print("this config names no figures; add figures = ['ratio_curves']")
    return 0


def _unapplied(stem: Path, reason: str) -> None:
    """Leaves a note where a figure would be, and none that an earlier run drew of other tables."""
    for end in (".svg", ".pdf", ".csv"):
        stem.with_suffix(end).unlink(missing_ok=True)
    files.write_atomically(figures.note(stem), f"{reason}\n".encode())
    print(f"{figures.note(stem)}: {reason}")
