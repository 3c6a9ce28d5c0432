"""Writes one offline HTML page: two sentences, figures, tables, the config, the provenance."""

import html
import re
from pathlib import Path
from string import Template

import pandas as pd

from experiments import config, panels, selection, store, tables
from experiments.config import Config
from experiments.errors import Refused
from experiments.tables import Tables

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$name</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
.wide { overflow-x: auto } .wide svg { width: 100%; min-width: 34rem; height: auto }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th { border-bottom: 2px solid #888 } td.word { text-align: left }
pre { background: #f5f5f5; padding: .7rem; overflow-x: auto; font-size: .85rem }
.small { color: #555; font-size: .85rem }
</style>
</head>
<body>
<h1>$name</h1>
<p>$shows $found</p>
$figures
<h2>After the request</h2>
<p class="small">Mean ± half width of the 95% t-interval over seeds; n seeds per row. Distance: relative
distance of all predictions to the retrained reference (0 = the same model).</p>
$results
<h2>Before the request, and retrained without it</h2>
$stages
<h2>Time</h2>
<p class="small">Seconds of one run, compiled beforehand; compilation is paid once per shape.</p>
$times
$audit
$problems
<h2>Config</h2>
<pre>$config</pre>
<h2>Where the numbers come from</h2>
$provenance
</body>
</html>
""")
SHOWN = (
    "ndcg", "recall", "auc", "auc_unseen", "rmse", "loss", "distance", "overlap", "membership",
)  # fmt: skip
# on which cells a metric is meant where its title does not say
HOME = {"distance": "all", "overlap": "all", "membership": "forgotten", "loss": "retained"}
FACTS = (
    "git_sha", "dirty", "jaxforget", "jax", "jaxlib", "numpy", "python", "platform", "backend",
    "device_kind", "device_count", "x64", "matmul_precision", "started",
)  # fmt: skip


def number(value: float, half: float = 0.0) -> str:
    """Mean and half width with the digits that the half width leaves meaningful."""
    if pd.isna(value):
        return ""
    if half:
        return f"{value:.4g} ± {half:.1g}" if value else f"0 ± {half:.1g}"
    return f"{value:.4g}"


def _html(rows: list[list[str]], head: list[str], words: int) -> str:
    """A table; its first ``words`` columns are text."""
    cells = ["<tr>" + "".join(f"<th>{html.escape(h)}</th>" for h in head) + "</tr>"]
    for row in rows:
        line = [
            f'<td class="word">{html.escape(v)}</td>' if i < words else f"<td>{html.escape(v)}</td>"
            for i, v in enumerate(row)
        ]
        cells.append("<tr>" + "".join(line) + "</tr>")
    return '<div class="wide"><table>\n' + "\n".join(cells) + "\n</table></div>"


def _summary(cells: pd.DataFrame, columns: dict[str, str], by: list[str]) -> str:
    """Means and intervals over seeds, one row per group of ``by``."""
    columns = {name: title for name, title in columns.items() if name in cells}
    by = [name for name in by if cells[name].notna().any()]
    rows = []
    for key, group in cells.groupby(by, sort=True, dropna=False):
        found = {name: tables.interval(group[name]) for name in columns}
        words = [
            panels.title([n], (v,)) if n in panels.AMOUNT else _word(v)
            for n, v in zip(by, key, strict=True)
        ]
        n = max((n for _, _, n in found.values()), default=0)
        rows.append([*words, *(number(mean, half) for mean, half, _ in found.values()), str(n)])
    head = [name.partition(".")[2] or name for name in by]
    head = ["forgotten" if name in panels.AMOUNT else name for name in head]
    return _html(rows, [*head, *columns.values(), "n"], len(by))


def _word(value: object) -> str:
    return "" if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)


def _joined(found: Tables) -> tuple[pd.DataFrame, dict[str, str]]:
    """Finished cells with the metrics the page shows and their times, as columns; their titles.

    The page shows a choice, at the first k; metrics.csv holds them all.
    """
    cells = tables.finished(found).set_index("cell", drop=False)
    titles = {}
    known = found.metrics[["metric", "split", "k"]].drop_duplicates()
    for metric, split, k in known.itertuples(index=False, name=None):
        k = None if pd.isna(k) else int(k)
        if metric not in SHOWN or split == "valid" or (k and k != tables.first_k(found, metric)):
            continue
        title = f"{metric.replace('_', ' ')}@{k}" if k else metric.replace("_", " ")
        title += "" if split == HOME.get(metric, "test") else f" {split}"
        panels.with_metric(found, cells, title, metric, split, k)
        if cells[f"{title} after"].notna().any():
            titles[title] = title
    return cells.join(found.timings.set_index("cell")), titles


def opening(found: Tables, cells: pd.DataFrame) -> str:
    """The second sentence: how much was computed, and how close the methods come."""
    axes = found.cells
    text = (
        f"{len(cells)} of {len(axes)} cells finished ({axes['method'].nunique()} methods, "
        f"{axes['seed'].nunique()} seeds, data {', '.join(sorted(set(axes['data'])))})"
    )
    if "distance after" not in cells or cells["distance after"].isna().all():
        return text + "."
    place = panels.place(cells, amount=True)
    means = tables.intervals(
        cells.assign(line=panels.lines(cells)), [*place, "line"], "distance after"
    )
    others = means[means["line"] != "retrain"]
    if others.empty:
        return text + "."
    best = others.loc[others["mean"].idxmin()]
    key = tuple(best[place])
    text += (
        f"; the nearest to retraining is {best['line']} ({panels.title(place, key)}), at a "
        f"relative distance of {best['mean']:.3g}"
    )
    same = panels.at(means[means["line"] == "retrain"], place, key)
    if len(same):
        text += f", where two retrainings under different seeds are {same['mean'].item():.3g} apart"
    return text + "."


def _figures(folder: Path, names: list[str]) -> str:
    """The drawn figures, inlined; ids made unique so that one does not borrow another's."""
    parts = []
    for name in names:
        path = folder / f"{name}.svg"
        if not path.is_file():
            raise Refused(
                f"{path} is not there; first: python -m experiments figures {folder.name}"
            )
        svg = path.read_text(encoding="utf-8")
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r'\bid="', f'id="{name}-', svg)
        svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
        parts.append(
            f'<h2>{name.replace("_", " ").capitalize()}</h2>\n<div class="wide">{svg}</div>'
        )
    return "\n".join(parts)


def _problems(found: Tables) -> str:
    bad = found.cells[found.cells["status"] != "ok"]
    if bad.empty:
        return ""
    rows = [
        [r["cell"], r["method"], r["model"], r["status"], str(r["reason"])]
        for _, r in bad.iterrows()
    ]
    table = _html(rows, ["cell", "method", "model", "status", "reason"], 5)
    return f"<h2>Cells without numbers</h2>\n{table}"


def _audit(folder: Path) -> str:
    """What the methods claim and what was measured, where the config was audited."""
    path = folder / "audit.csv"
    if not path.is_file():
        return ""
    names = [
        "data",
        "model",
        "method",
        "verdict",
        "values",
        "pairs",
        "retrained",
        "undeleted",
        "noise",
        "declared",
    ]
    table = pd.read_csv(path)[names]
    rows = [
        [number(v) if isinstance(v, float) else str(v) for v in line] for line in table.to_numpy()
    ]
    words = (
        "Relative distance of all predictions after the deleted rows held other values, after they "
        "were other pairs, and to retraining with the same key; beside it the undeleted model's "
        "distance to retraining, and that of two retrainings."
    )
    return f'<h2>Exactness</h2>\n<p class="small">{words}</p>\n{_html(rows, names, 4)}'


def _provenance(loaded: Config, found: Tables) -> str:
    rows = [["config sha256", loaded.sha256]]
    for fact in FACTS:
        if fact in found.timings:
            values = sorted({_word(v) for v in found.timings[fact]} - {""})
            text = f"{values[0]} to {values[-1]}" if fact == "started" else ", ".join(values)
            rows.append([fact.replace("_", " "), text or "unknown"])
    return _html(rows, ["fact", "value"], 2)


def page(loaded: Config, found: Tables, folder: Path) -> str:
    """The whole page."""
    cells, metrics = _joined(found)
    by = [*panels.place(cells, amount=False), "method", *panels.AMOUNT]
    by += [name for name in tables.swept(cells) if name.startswith("method.")]
    after = {f"{name} after": title for name, title in metrics.items()}
    other = {"distance before": "distance, undeleted"}
    for name in metrics:
        if not name.startswith(("distance", "overlap")):
            other |= {
                f"{name} before": f"{name}, undeleted",
                f"{name} reference": f"{name}, retrained",
            }
    times = {"unlearn_seconds": "unlearn", "fit_seconds": "fit", "reference_seconds": "retrain"}
    times |= {"unlearn_compile_seconds": "compile unlearn", "unlearn.sweeps": "passes"}
    first = cells.drop_duplicates([*panels.place(cells, amount=True), "seed"])
    sentence = loaded.sentence.rstrip(".") + "." if loaded.sentence else ""
    return PAGE.substitute(
        name=html.escape(loaded.name),
        shows=html.escape(sentence),
        found=html.escape(opening(found, cells)),
        figures=_figures(folder, loaded.experiment.figures),
        results=_summary(cells, after, by),
        stages=_summary(first, other, panels.place(cells, amount=True)),
        times=_summary(cells, times, by),
        audit=_audit(folder),
        problems=_problems(found),
        config=html.escape(
            "\n".join([loaded.text.rstrip(), *(f"# override: {o}" for o in loaded.overrides)])
        ),
        provenance=_provenance(loaded, found),
    )


def main(argv: list[str]) -> int:
    arguments = selection.parser("report", __doc__, select=False).parse_intermixed_args(argv)
    loaded = config.read(arguments.config, tuple(arguments.overrides))
    folder = store.folder(arguments.results, loaded.name)
    text = page(loaded, tables.read(folder), folder)
    store.write_atomically(folder / "report.html", text.encode())
    print(folder / "report.html")
    return 0
