"""Shows how far a run is: a bar on a terminal, one line per cell in a log."""

import sys
import time
from typing import Any

from ..config import grid
from ..config.grid import Cell
from . import soundness

LONG = 160  # letters of a reason on one line


def _short(value: float | None) -> str:
    """Three digits, no leading zero: .312; a missing value is a dash."""
    if value is None:
        return "-"
    text = f"{value:.3f}" if 1e-3 <= abs(value) < 1e3 or value == 0 else f"{value:.1e}"
    return text.removeprefix("0") if text.startswith("0.") else text


def clock(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def short(reason: str) -> str:
    """A reason as one line."""
    text = " ".join(str(reason).split())
    return text if len(text) <= LONG else f"{text[:LONG]} ..."


def summary(row: dict[str, Any]) -> str:
    """One finished cell in a few words; of one without numbers, why it has none."""
    if row["status"] != "ok":
        return f"{row['status']}: {short(row['reason'])}"
    values = {(s, c, m, k): v for s, c, m, k, v in row["metrics"]}
    shown = ("after", "test", "ndcg")  # none of an empty test part
    k = min((k for *where, k in values if tuple(where) == shown), default=None)
    times = row["timings"]
    words = [] if k is None else [f"ndcg@{k} {_short(values[(*shown, k)])}"]
    words += [f"distance {_short(values.get(('after', 'all', 'distance', None)))}"]
    if times.get("batch"):
        words += [f"batch of {times['batch']} in {times['batch_seconds']:.1f} s"]
    else:
        words += [f"unlearn {times['unlearn_seconds']:.2f} s"]
        compiling = times["unlearn_compile_seconds"]
        words += ["compiled before" if compiling is None else f"compile {compiling:.1f} s"]
    words += ["FURTHER than before"] if soundness.further(row) else []
    return "  ".join(words)


class Progress:
    """Counts finished cells and guesses the rest from the mean time of those before."""

    def __init__(self, total: int, quiet: bool):
        self.total, self.done, self.start = total, 0, time.monotonic()
        self.quiet, self.bar = quiet, None
        if sys.stderr.isatty() and not quiet:
            from tqdm import tqdm

            self.bar = tqdm(total=total, unit="cell", smoothing=0.1)

    def tell(self, cell: Cell, row: dict[str, Any]) -> None:
        """Reports one finished cell."""
        self.done += 1
        if self.quiet:
            return
        rest = (time.monotonic() - self.start) / self.done * (self.total - self.done)
        line = f"{grid.label(cell)}  {summary(row)}"
        if self.bar is None:
            width = len(str(self.total))
            count = f"[{self.done:{width}}/{self.total}]"
            print(f"{count} {line}  eta {clock(rest)}", flush=True)
            return
        if row["status"] != "ok":
            self.bar.write(line)
        self.bar.set_postfix_str(grid.label(cell), refresh=False)
        self.bar.update()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
