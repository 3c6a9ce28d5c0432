"""What the figures share: style, one look per method, the note that every figure carries."""

import io
import textwrap
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd

from ..files import write_atomically

mpl.use("agg")  # files only: no window, no display needed

STYLE = Path(__file__).parent / "style.mplstyle"
# Okabe and Ito's colours, which colour-blind readers tell apart; without yellow, which is too pale
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vPX*"  # one more than colours: 56 lines before a look repeats
LINES = ("-", "--", "-.", ":")
METHODS = {  # the colour of a method in all figures; of two with one colour the marks differ
    **{"retrain": 6, "ifru": 0, "ifru_flow": 1, "replay": 2, "scif": 3, "newton": 4},
    **{"gradient_ascent": 5, "projected_gradient": 5, "released": 2, "ifru_released": 2},
    **{"unlearn_als": 0, "local_als": 1, "difference_als": 2, "certified_als": 3, "finetune": 4},
    **{"closed_form": 5, "sisa": 1, "receraser": 4},
}
BEFORE = {"color": "#777777", "linestyle": ":", "linewidth": 1.2}
REFERENCE = {"color": "#222222", "linestyle": "--", "linewidth": 1.0}
FLOOR = {"color": "#bbbbbb", "alpha": 0.5, "linewidth": 0}
FLOOR_MEAN = {"color": "#999999", "linewidth": 0.8}
UNDELETED = {"color": "#555555", "markersize": 7, "fillstyle": "none", "zorder": 5}


def style() -> AbstractContextManager:
    """The one style sheet, for a ``with`` block."""
    return mpl.rc_context(fname=STYLE)


def looks(labels: list[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line style per label: no reading depends on colour alone.

    A label begins with the name of a method. Labels of one method alone, or of none that is known,
    have the colours in their order.
    """
    names = {label: label.partition(" ")[0] for label in labels}
    fixed = METHODS if len(set(names.values())) > 1 else {}
    free = [n for n in range(len(COLOURS)) if n not in {fixed.get(x) for x in names.values()}]
    free, others = free or [*range(len(COLOURS))], iter(range(len(labels)))
    found, taken = {}, set()
    for i, (label, name) in enumerate(names.items()):
        colour = fixed[name] if name in fixed else free[next(others) % len(free)]
        marks = [*range(i, i + len(MARKERS))]
        mark = next((m for m in marks if (colour, m % len(MARKERS)) not in taken), i)
        taken.add((colour, mark % len(MARKERS)))
        found[label] = {
            "color": COLOURS[colour],
            "marker": MARKERS[mark % len(MARKERS)],
            "linestyle": LINES[(i // 2) % len(LINES)],
        }
    return found


def grid(
    rows: int, columns: int, *, width: float = 3.3, height: float = 2.7
) -> tuple[mpl.figure.Figure, Any]:
    """An empty figure with rows of panels; sizes in inches per panel."""
    size = (width * columns + 0.3, height * rows + 0.9)
    return plt.subplots(rows, columns, figsize=size, squeeze=False)


def wrapped(count: int, most: int, **size: float) -> tuple[mpl.figure.Figure, Any]:
    """An empty figure of so many panels, at most ``most`` side by side; axes ``[count, 1]``."""
    columns = min(most, count)
    figure, axes = grid(-(-count // columns), columns, **size)
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, axes.reshape(-1, 1)[:count]


def curve(axis: Any, rows: pd.DataFrame, x: str, label: str, style: dict[str, Any]) -> None:
    """A line of means with its band; nothing where there are no rows."""
    if rows.empty:
        return
    axis.plot(rows[x], rows["mean"], label=label, **style)
    # on a log scale a band that reaches zero would have no lower edge
    low = rows["low"].where(rows["low"] > 0, rows[["low", "mean"]].min(axis=1))
    axis.fill_between(rows[x], low, rows["high"], color=style["color"], alpha=0.15, linewidth=0)


def dots(axis: Any, rows: pd.DataFrame, at: dict[str, float], label: str, **look: Any) -> None:
    """A mean and its interval per line, from left to right at the heights ``at``."""
    rows = rows[rows["line"].isin(list(at))]
    if rows.empty:
        return
    half = rows["mean"] - rows["low"], rows["high"] - rows["mean"]
    style = {"linestyle": "none", "capsize": 2, "elinewidth": 1.0} | look
    axis.errorbar(rows["mean"], [at[n] for n in rows["line"]], xerr=half, label=label, **style)


def heights(axis: Any, names: list[str]) -> dict[str, float]:
    """A height per name, the first on top, written beside the axis."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.locator_params(axis="x", nbins=5)
    return {name: float(i) for i, name in enumerate(names)}


def hollow(axis: Any, rows: pd.DataFrame, x: str, style: dict[str, Any]) -> None:
    """Hollow markers over a curve's own: points that did not reach their tolerance."""
    axis.plot(
        rows[x],
        rows["mean"],
        linestyle="none",
        marker=style["marker"],
        markerfacecolor="white",
        markeredgecolor=style["color"],
        zorder=4,
    )


def legend(figure: mpl.figure.Figure, axes: Any) -> None:
    """One legend for all panels, above them."""
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    longest = 0.08 * max(map(len, handles), default=0) + 0.6  # inches, about
    columns = max(1, min(4, len(handles), int(figure.get_figwidth() / longest)))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=columns)


def thin(ticks: list[int]) -> list[int]:
    """Ticks of a log axis without those that would overlap."""
    kept: list[int] = []
    for tick in ticks:
        if not kept or tick == 0 or kept[-1] == 0 or tick >= 1.5 * kept[-1]:
            kept.append(tick)
    return kept


def spans_decades(values: pd.Series) -> bool:
    """Whether a log scale reads better: all positive and more than a factor of 20 apart."""
    values = values.dropna()
    return len(values) > 1 and values.min() > 0 and values.max() / values.min() > 20


def scale(axis: Any, rows: pd.DataFrame) -> None:
    """The y axis of a quantity that cannot be negative: decades, or from zero."""
    if spans_decades(rows["mean"]):
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)


def note(figure: mpl.figure.Figure, text: str) -> None:
    """The small print under a figure: n, interval, what was left out; as wide as the figure."""
    text = textwrap.fill(text, int(figure.get_figwidth() / 0.053))  # inches of a letter of size 7
    figure.supxlabel(text, fontsize=7, color="#555555", x=0.01, ha="left")


def seeds(frame: pd.DataFrame, left_out: str, mark: str = "bands") -> str:
    """The sentence on n and interval that every figure states; ``mark`` shows the interval."""
    low, high = int(frame["n"].min()), int(frame["n"].max())
    n = f"{low}" if low == high else f"{low} to {high}"
    band = f"{mark}: 95% t-interval over seeds" if high > 2 else "fewer than 3 seeds: no interval"
    return f"n = {n} seeds; {band}; {left_out}"


def save(figure: mpl.figure.Figure, frame: pd.DataFrame, stem: Path) -> None:
    """Writes stem.svg, stem.pdf and the plotted numbers as stem.csv, with stable bytes."""
    unstable = {
        "svg": ("Creator", "Date", "Format", "Type"),
        "pdf": ("CreationDate", "Creator", "Producer"),
    }
    for kind, names in unstable.items():  # dates and versions
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=dict.fromkeys(names))
        content = buffer.getvalue()
        if kind == "svg":  # trailing blanks trouble git and editors
            content = b"\n".join(line.rstrip() for line in content.split(b"\n"))
        write_atomically(stem.with_suffix(f".{kind}"), content)
    write_atomically(stem.with_suffix(".csv"), plotted(frame))


def plotted(frame: pd.DataFrame) -> bytes:
    """The plotted numbers as a file."""
    return frame.to_csv(index=False, float_format="%.9g", lineterminator="\n").encode()
