"""Every committed table of estimates, and every figure, says n and, from three on, an interval."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

RESULTS = Path(__file__).parents[1] / "results"
SINGLE = {  # one row is one measurement: nothing is averaged
    *("cells.csv", "metrics.csv", "timings.csv", "audit.csv", "reconstruction.csv"),
    "sequence.csv",
    "cell_ids.csv",
}
TABLES = [
    path.relative_to(RESULTS)
    for path in sorted(RESULTS.rglob("*.csv"))
    if path.name not in SINGLE and path.parent.name != "bench"
]
FIGURES = [path.relative_to(RESULTS) for path in sorted(RESULTS.rglob("*.svg"))]
COUNTS = ("n", "n_models")  # how many values an estimate is of
VALUES = {"mean": ("low", "high"), "value": ("low", "high"), "advantage": ("low", "high")}
ESTIMATES = ["left", "told", "excess", "harm", "change"]
ESTIMATES += ["faithful", "half", "relearned", "from_none", "from_half", "rounded"]
VALUES |= {x: (f"{x}_low", f"{x}_high") for x in ESTIMATES}


def estimates(table):
    """Every column of estimates with its interval and n."""
    count = next(table[name] for name in COUNTS if name in table)
    for name, (low, high) in VALUES.items():
        if name in table:
            yield table[name], table[low], table[high], count


def test_there_are_tables_and_figures():
    assert len(TABLES) > 30 and len(FIGURES) > 30


@pytest.mark.parametrize("path", TABLES, ids=str)
def test_a_table_has_n_and_an_interval(path):
    table = pd.read_csv(RESULTS / path)
    found = list(estimates(table))
    assert found
    for value, low, high, n in found:
        known = value.notna() & np.isfinite(value)
        assert (n[known] >= 1).all()
        many = known & (n >= 3)
        assert (low[many].notna() & high[many].notna()).all()
        width = 1e-6 * value[many].abs() + 1e-9  # as many digits as are written
        assert (low[many] <= value[many] + width).all() and (
            value[many] <= high[many] + width
        ).all()
        few = known & (n < 3)
        assert (low[few].isna() | (low[few] == value[few])).all(), "an interval of two values"


@pytest.mark.parametrize("path", FIGURES, ids=str)
def test_a_figure_says_n(path):
    text = re.sub(r"<[^>]*>", " ", (RESULTS / path).read_text(encoding="utf-8"))
    assert re.search(r"\bn = \d", text)
    if not re.search(r"n = [12]\b(?! (to|and))", text):
        assert "95" in text, "what the bars or bands are"
