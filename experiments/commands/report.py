"""Writes one offline HTML page: two sentences, figures, tables, the config, the provenance."""

import html
import re
from pathlib import Path
from string import Template

import matplotlib.pyplot as plt
import pandas as pd

from .. import figures, files
from ..config import grid, reading
from ..config.grid import short
from ..config.reading import Config
from ..errors import PROGRAM, Refused
from ..figures import _beside, _panels, _plot, _tables, _undeleted
from ..figures._tables import Tables
from . import _report_tables, _selection
from ._report_tables import number, rows_of

SHOWN = "ndcg recall auc auc_unseen rmse loss distance overlap membership".split()
# on which cells a metric is meant where its title does not say
HOME = {"distance": "all", "overlap": "all", "membership": "forgotten", "loss": "retained"}
FACTS = (
    "git_sha dirty jaxforget jax jaxlib numpy python platform backend device_kind device_count x64 "
    "matmul_precision started"
).split()


def _summary(cells: pd.DataFrame, columns: dict[str, str], by: list[str]) -> str:
    """Means and intervals over seeds, a row per group of ``by``; a number of fewer says its n."""
    columns = {name: title for name, title in columns.items() if name in cells}
    by = [name for name in by if cells[name].notna().any()]
    rows = []
    for key, group in cells.groupby(by, sort=True, dropna=False):
        shown = {name: _tables.interval(group[name]) for name in columns}
        words = [
            _panels.title([n], (v,)) if n in _panels.AMOUNT else _word(v)
            for n, v in zip(by, key, strict=True)
        ]
        n = max((n for _, _, n in shown.values()), default=0)
        numbers = [number(x, half) + f" (n {k})" * (0 < k < n) for x, half, k in shown.values()]
        rows.append([*words, *numbers, str(n)])
    head = [short(name) for name in by]
    head = ["forgotten" if name in _panels.AMOUNT else name for name in head]
    return rows_of(rows, [*head, *columns.values(), "n"], len(by))


def _word(value: object) -> str:
    return "" if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)


def _joined(tables: Tables) -> tuple[pd.DataFrame, dict[str, str]]:
    """Finished cells with the metrics the page shows and their times, as columns; their titles.

    The page shows a choice, at the first k; metrics.csv holds them all.
    """
    cells = _tables.finished(tables).set_index("cell", drop=False)
    titles = {}
    known = tables.metrics[["metric", "split", "k"]].drop_duplicates()
    for metric, split, k in known.itertuples(index=False, name=None):
        k = None if pd.isna(k) else int(k)
        if metric not in SHOWN or split == "valid" or (k and k != _tables.first_k(tables, metric)):
            continue
        title = f"{metric.replace('_', ' ')}@{k}" if k else metric.replace("_", " ")
        title += "" if split == HOME.get(metric, "test") else f" {split}"
        _panels.with_metric(tables, cells, title, metric, split, k)
        if cells[f"{title} after"].notna().any():
            titles[title] = title
    return cells.join(tables.timings.set_index("cell")), titles


def opening(tables: Tables, cells: pd.DataFrame) -> str:
    """The second sentence: how much was computed, and how close the methods come."""
    axes = tables.cells
    text = (
        f"{len(cells)} of {len(axes) + tables.missing} cells finished "
        f"({axes['method'].nunique()} methods, {axes['seed'].nunique()} seeds, "
        f"data {', '.join(sorted(set(axes['data'])))})"
    )
    if "distance after" not in cells or cells["distance after"].isna().all():
        return text + "."
    groups = _panels.groups(cells, amount=True)
    means = _tables.intervals(
        cells.assign(line=_panels.lines(cells)), [*groups, "line"], "distance after"
    )
    again = means["line"].map(_panels.method_of) == "retrain"
    others = means[~again]
    if others.empty:
        return text + "."
    best = others.loc[others["mean"].idxmin()]
    key = tuple(best[groups])
    text += (
        f"; the nearest to retraining is {best['line']} ({_panels.title(groups, key)}), at a "
        f"relative distance of {best['mean']:.3g}"
    )
    same = _panels.rows(means[again], groups, key)
    if len(same):
        text += f", where two retrainings under different seeds are {same['mean'].mean():.3g} apart"
    return text + "."


def _refuse_stale(folder: Path, name: str, tables: Tables) -> None:
    """Refuses a figure that ``figures`` would draw otherwise of the tables as they are."""
    stem = folder / figures.stem(name)
    note, drawn = figures.note(stem), stem.with_suffix(".csv")
    if not (note.is_file() or (drawn.is_file() and stem.with_suffix(".svg").is_file())):
        raise Refused(f"{stem}.svg is not there; first: {PROGRAM} figures {folder.name}")
    try:
        with _plot.style():
            figure, frame = figures.load(name)(folder if figures.of_folder(name) else tables)
        plt.close(figure)
        is_current = not note.is_file() and drawn.read_bytes() == _plot.plotted(frame)
    except Refused as reason:
        is_current = note.is_file() and note.read_text(encoding="utf-8") == f"{reason}\n"
    if not is_current:
        raise Refused(
            f"{stem}: was drawn of other tables than are there now; first: {PROGRAM} figures "
            f"{folder.name}"
        )


def _figures(folder: Path, names: list[str], tables: Tables) -> str:
    """The drawn figures, inlined; ids made unique so that one does not borrow another's."""
    parts = []
    for name in names:
        _refuse_stale(folder, name, tables)
        name = figures.stem(name)
        path = folder / f"{name}.svg"
        reason = figures.note(folder / name)
        if reason.is_file():
            words = html.escape(reason.read_text(encoding="utf-8"))
            parts.append(f'<p class="small">{name.replace("_", " ")} is not drawn: {words}</p>')
            continue
        svg = path.read_text(encoding="utf-8")
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r'\bid="', f'id="{name}-', svg)
        svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
        parts.append(
            f'<h2>{name.replace("_", " ").capitalize()}</h2>\n<div class="wide">{svg}</div>'
        )
    return "\n".join(parts)


def _problems(tables: Tables) -> str:
    bad = tables.cells[tables.cells["status"] != "ok"]
    if bad.empty:
        return _further(tables)
    rows = [
        [r["cell"], r["method"], r["model"], r["status"], str(r["reason"])]
        for _, r in bad.iterrows()
    ]
    table = rows_of(rows, ["cell", "method", "model", "status", "reason"], 5)
    return f"<h2>Cells without numbers</h2>\n{table}\n{_further(tables)}"


def _further(tables: Tables) -> str:
    """A line on the cells that unlearning took away from the reference, by method."""
    far = _tables.further(tables)
    if far.empty:
        return ""
    counts = ", ".join(f"{n} of {name}" for name, n in far["method"].value_counts().items())
    words = f"{len(far)} cells end further from the reference than they began: {counts}."
    return f'<p class="small">{html.escape(words)}</p>'


def _provenance(loaded: Config, tables: Tables) -> str:
    rows = [["config sha256", loaded.sha256]]
    for fact in FACTS:
        if fact in tables.timings:
            values = sorted({_word(v) for v in tables.timings[fact]} - {""})
            text = f"{values[0]} to {values[-1]}" if fact == "started" else ", ".join(values)
            rows.append([fact.replace("_", " "), text or "unknown"])
    rows += [["request", _listed(tables)]] if "request.asked" in tables.cells else []
    return rows_of(rows, ["fact", "value"], 2)


def _listed(tables: Tables) -> str:
    """What became of the lines of a list of ids, from the fewest to the most over all cells."""
    titles = {"asked": "lines", "missing": "lines ignored", "train": "interactions forgotten"}
    titles |= {"valid": "validation rows dropped", "test": "test rows dropped"}
    ends = tables.cells[[f"request.{name}" for name in titles]].agg(["min", "max"]).to_numpy()
    counts = (" to ".join(f"{n:g}" for n in dict.fromkeys(end)) for end in ends.T)
    return ", ".join(f"{n} {title}" for n, title in zip(counts, titles.values(), strict=True))


def _stages(tables: Tables, cells: pd.DataFrame, metrics: list[str]) -> str:
    """The undeleted and the retrained models, and whose the first are where none is plain."""
    shown = {"distance before": "distance, undeleted"}
    for name in metrics:
        if not name.startswith(("distance", "overlap")):
            shown |= {
                f"{name} before": f"{name}, undeleted",
                f"{name} reference": f"{name}, retrained",
            }
    groups = _panels.groups(cells, amount=True)
    once = _undeleted.once(tables, cells.assign(line=_panels.lines(cells)), groups)
    once = once.rename(columns={"whose": "undeleted of"})
    return _summary(once, shown, [*groups, "undeleted of"])


def page(loaded: Config, tables: Tables, folder: Path) -> str:
    """The whole page."""
    cells, metrics = _joined(tables)
    by = [*_panels.groups(cells, amount=False), "method", *_panels.AMOUNT]
    by += [name for name in _tables.swept(cells) if _tables.of_method(name)]
    after = {f"{name} after": title for name, title in metrics.items()}
    times = {"unlearn_seconds": "unlearn", "fit_seconds": "fit", "reference_seconds": "retrain"}
    times |= {"unlearn_compile_seconds": "compile unlearn", "unlearn.sweeps": "passes"}
    sentence = loaded.sentence.rstrip(".") + "." if loaded.sentence else ""
    template = Template((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    return template.substitute(
        name=html.escape(loaded.name),
        shows=html.escape(sentence),
        computed=html.escape(opening(tables, cells)),
        verdict=_report_tables.verdict(folder),
        figures=_figures(folder, loaded.experiment.figures if len(cells) else [], tables),
        results=_summary(cells, after, by),
        stages=_stages(tables, cells, [*metrics]),
        times=_summary(cells, times, by),
        audit=_report_tables.audit(folder),
        problems=_problems(tables),
        config=html.escape(
            "\n".join([loaded.text.rstrip(), *(f"# override: {o}" for o in loaded.overrides)])
        ),
        provenance=_provenance(loaded, tables),
    )


def main(argv: list[str]) -> int:
    arguments = _selection.parser("report", __doc__, select=False).parse_intermixed_args(argv)
    loaded = reading.read(arguments.config, tuple(arguments.overrides))
    folder = files.folder(arguments.results, loaded.name)
    cells = grid.cells(loaded)
    tables = _tables.read(folder, cells)
    sides = {side for name in loaded.experiment.figures for side in figures.sides(name)}
    _beside.check(folder, sorted({"audit", "verdict"} | sides), cells)
    text = page(loaded, tables, folder)
    files.write_atomically(folder / "report.html", text.encode())
    print(folder / "report.html")
    return 0
