"""Tables of a report: how one looks, what an audit found, what is said of each method."""

import html
from pathlib import Path

import pandas as pd

from ..figures import _beside, _panels, _tables

ESTIMATES = {  # columns of a verdict, and what stands above them
    "left": "distance left",
    "told": "told by U-LiRA",
    "excess": "membership excess",
    "harm": "harm to others",
    "utility": "utility",
    "seconds": "seconds",
}


def number(value: float, half: float = 0.0) -> str:
    """Mean and half width with the digits that the half width leaves meaningful."""
    if pd.isna(value):
        return ""
    if half:
        return f"{value:.4g} ± {half:.1g}" if value else f"0 ± {half:.1g}"
    return f"{value:.4g}"


def rows_of(rows: list[list[str]], head: list[str], words: int) -> str:
    """A table; its first ``words`` columns are text."""
    cells = ["<tr>" + "".join(f"<th>{html.escape(h)}</th>" for h in head) + "</tr>"]
    for row in rows:
        line = [
            f'<td class="word">{html.escape(v)}</td>' if i < words else f"<td>{html.escape(v)}</td>"
            for i, v in enumerate(row)
        ]
        cells.append("<tr>" + "".join(line) + "</tr>")
    return '<div class="wide"><table>\n' + "\n".join(cells) + "\n</table></div>"


def audit(folder: Path) -> str:
    """What the methods claim and what was measured, where the config was audited."""
    if not (folder / "audit.csv").is_file():
        return ""
    names = ["data", "model", "method", "verdict", "values", "pairs", "retrained"]
    names += ["undeleted", "noise", "declared"]
    table = _beside.read(folder, "audit")[names]
    rows = [
        [number(v) if isinstance(v, float) else str(v) for v in line] for line in table.to_numpy()
    ]
    words = (
        "Relative distance of all predictions after the deleted rows held other values, after they "
        "were other pairs, and to retraining with the same key; beside it the undeleted model's "
        "distance to retraining, and that of two retrainings."
    )
    return f'<h2>Exactness</h2>\n<p class="small">{words}</p>\n{rows_of(rows, names, 4)}'


def verdict(folder: Path) -> str:
    """What is said of each method, where its models were judged by a bank (``evidence``)."""
    if not (folder / "verdict.csv").is_file():
        return ""
    rows = []
    for _, row in _tables.with_seconds(folder, _beside.read(folder, "verdict")).iterrows():
        asked = ["kind", "ratio", "count"]
        request = _panels.title(asked, tuple(row[asked]))
        claim = "" if pd.isna(row["claim"]) else row["claim"]
        words = map(str, [row["model"], request, row["method"], claim, row["verdict"]])
        estimates = [_estimate(row, name) for name in ESTIMATES]
        rows.append([*words, *estimates, f"{row['n_models']:g}"])
    head = ["model", "request", "method", "claim", "verdict", *ESTIMATES.values(), "n"]
    words = (
        "Distance left: to the distribution of retrained models, as a share of what doing nothing "
        "leaves, over the floor of two halves of retrained models (median Gaussian KL of the "
        "forgotten pairs). Told: AUC over that floor of an attacker who tells the models from "
        "retrained ones. Excess: how much more often than retrained ones they score a forgotten "
        "pair above a test pair. Harm: median KL of retained pairs over the floor, in nats. "
        "Utility: AUC of the labels of test pairs, over the retrained models; none where all are "
        "likes. With 95 % intervals; n models of each kind. Seconds: of one request, in the cells "
        "of this page."
    )
    return f'<h2>Verdict</h2>\n<p class="small">{words}</p>\n{rows_of(rows, head, 5)}'


def _estimate(row: pd.Series, name: str) -> str:
    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if pd.isna(value):
        return ""
    return f"{value:.3g}" if pd.isna(low) else f"{value:.3g} [{low:.3g}, {high:.3g}]"
