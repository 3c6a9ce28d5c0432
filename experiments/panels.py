"""What the figures over cells share: where a panel stands, what a line is called."""

import pandas as pd

from experiments import tables
from experiments.tables import Tables

AMOUNT = ("ratio", "count")
KINDS = {
    "random": "random interactions", "users": "whole users", "items": "whole items",
    "active": "most active users", "inactive": "least active users", "popular": "popular items",
    "flipped": "flipped labels", "pairs": "listed pairs", "none": "empty request",
    "shilling_random": "random attack", "shilling_bandwagon": "bandwagon attack",
}  # fmt: skip


def place(cells: pd.DataFrame, *, amount: bool) -> list[str]:
    """The columns that decide a row of panels: data, model, their swept settings, the request."""
    ours = [name for name in tables.swept(cells) if not name.startswith("method.")]
    kind = ["kind"] if cells["kind"].nunique() > 1 else []
    return [*tables.GROUP, *ours, *kind, *(AMOUNT if amount else ())]


def at(frame: pd.DataFrame, names: list[str], key: tuple) -> pd.DataFrame:
    """The rows at one place; an absent axis matches an absent axis."""
    keep = pd.Series(True, frame.index)
    for name, wanted in zip(names, key, strict=True):
        keep &= frame[name].isna() if pd.isna(wanted) else frame[name] == wanted
    return frame[keep]


def places(frame: pd.DataFrame, names: list[str]) -> list[tuple]:
    """Every place that occurs, sorted."""
    found = frame[names].drop_duplicates().sort_values(names)
    return list(found.itertuples(index=False, name=None))


def title(names: list[str], key: tuple) -> str:
    """A panel's title: movietweetings, ials, 5% forgotten."""
    words = []
    for name, value in zip(names, key, strict=True):
        if pd.isna(value):
            continue
        if name == "ratio":
            words.append(f"{100 * value:g}% forgotten")
        elif name == "count":
            words.append(f"{value:g} forgotten")
        elif name == "kind":
            words.append(KINDS[value])
        else:
            words.append(
                f"{value}" if name in tables.GROUP else f"{name.partition('.')[2]} {value}"
            )
    return ", ".join(words)


def lines(cells: pd.DataFrame, without: tuple[str, ...] = ()) -> list[str]:
    """Each cell's line: its method and what its method sweeps beside the x axis."""
    names = [n for n in tables.swept(cells) if n.startswith("method.") and n not in without]
    return [
        " ".join([row["method"], tables.words(row, names)]).strip() for _, row in cells.iterrows()
    ]


def certified(found: Tables) -> pd.DataFrame:
    """Finished cells whose unlearning ended in a certificate; ``certified``: 1 where as asked."""
    cells = tables.finished(found)
    if "unlearn.relative_bound" not in cells:
        return cells.iloc[:0]
    cells = cells[cells["unlearn.relative_bound"].notna()].copy()
    words = cells["unlearn.certified"].astype(str)
    return cells.assign(certified=words.isin(["True", "1.0", "1"]).astype(float))


def with_metric(
    found: Tables, cells: pd.DataFrame, column: str, metric: str, split: str, k: int | None = None
) -> None:
    """Adds ``<column> before``, ``after`` and ``reference`` to cells indexed by their id."""
    for stage in ("before", "after", "reference"):
        cells[f"{column} {stage}"] = tables.value(found, stage, metric, split, k)


def accuracies(found: Tables) -> list[tuple]:
    """(axis label, metric, split, k) of test NDCG, recall and AUC, each where it is defined."""
    defined = found.metrics.dropna(subset=["value"])
    there = set(defined.loc[defined["split"] == "test", "metric"])
    wanted = []
    for name, metric in (("NDCG", "ndcg"), ("recall", "recall")):
        if metric in there:
            k = tables.first_k(found, metric)
            wanted.append((f"test {name}@{k}", metric, "test", k))
    if "auc" in there:  # needs test rows of both labels
        wanted.append(("test AUC", "auc", "test", None))
    elif "auc_unseen" in there:
        wanted.append(("test AUC against unseen items", "auc_unseen", "test", None))
    return wanted
