"""The files that `erase` writes: the model, and a report for whoever asks what was done."""

import argparse
import csv
import hashlib
import html
import io
import json
from pathlib import Path
from string import Template
from typing import Any

from . import _erase_measures, _erased, _receipt_files, _served

OUTSIDE = (
    "Backups, logs, caches, exported lists and copies of the model or of the data are outside of "
    "what was done here; so is the interaction table, from which the rows are to be removed.",
    "Whoever has seen the model before and after may learn from the difference what was erased, "
    "as from the difference to a retrained model.",
    "This is a measurement of a model and no legal opinion.",
)


def contents(
    job: _erased.Job, done: _erase_measures.Done, args: argparse.Namespace
) -> dict[str, bytes]:
    """The bytes of every file, by its name."""
    name = f"model{args.model.suffix}"
    found = {name: _served.content(job.served, done.factors, args.model)}
    if done.receipt is not None:
        found |= _receipt_files.contents(
            done.receipt,
            job.train,
            job.forget.after,
            before=job.served.factors,
            request=job.forget,
        )
    for side, ids in zip(("users", "items"), done.ids or ()):
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows([["id"], *([x] for x in ids.tolist())])
        found[f"{side}.csv"] = lines.getvalue().encode()
    report = done.report | {"files": {name: _sha256(data) for name, data in found.items()}}
    found["report.json"] = (json.dumps(report, indent=2, allow_nan=False) + "\n").encode()
    found["report.html"] = page(report).encode()
    return found


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def verdict(report: dict[str, Any]) -> str:
    """One sentence: what is proved of the model, or that nothing is."""
    n = report["request"]["interactions"]
    rows = f"{n:,} erased interaction{'s' if n != 1 else ''}"
    if report["certified"]:
        return (
            f"The model differs from the optimum that never saw the {rows} by at most "
            f"{report['bound']:.2g} of its size (promised: {report['promised']:g}), the rounding "
            "of its numbers included."
        )
    if report["method"]["name"] == "retrain":
        return f"The model was trained without the {rows}: it is exact by construction."
    return f"The model is not certified: that it never saw the {rows} is not proved."


def page(report: dict[str, Any]) -> str:
    """The report for a person to read."""
    template = Template((Path(__file__).parent / "erase.html").read_text(encoding="utf-8"))
    request, zero = report["request"], report["zero"]
    emptied = [
        f"{zero[f'{side}_emptied']:,} {side} lost everything; {zero[f'{side}_zero']:,} of their "
        "rows are exactly 0"
        for side in ("users", "items")
        if zero[f"{side}_emptied"]
    ]
    until = report["keep_served_until"]
    return template.substitute(
        date=html.escape(report["date"]),
        verdict=html.escape(verdict(report)),
        claim=html.escape(report["method"]["claim"]),
        method=html.escape(f"{report['method']['name']}: {report['method']['why']}"),
        erased=_rows(
            {
                "asked for": f"{request['lines']:,} {request['kind']}",
                "lines that named nothing": f"{request['ignored']:,}",
                "interactions erased": f"{request['interactions']:,}, of {request['users']:,} "
                f"users and {request['items']:,} items",
                "SHA-256 of the pairs": request["sha256"],
                "rows": "; ".join(emptied) or "nobody lost everything",
                "interactions retained": f"{report['retained']['interactions']:,}",
                "SHA-256 of the retained": report["retained"]["sha256"],
                "old model to be served until": until or "not stated",
            }
            | {name: ", ".join(map(str, ids)) for name, ids in request.get("ids", {}).items()}
        ),
        measured=_rows(
            {f"residual {name}": _number(x) for name, x in report["residual"].items()}
            | _moved(report["others"])
            | {"seconds": f"{report['seconds']:.3g}"}
        ),
        outside="\n".join(f"<li>{html.escape(line)}</li>" for line in OUTSIDE),
        files=_rows(report.get("files", {})),
        model=_rows(
            {name: str(value) for name, value in report["model"].items()}
            | {name: str(value) for name, value in report["versions"].items()}
        ),
    )


def _moved(others: dict[str, Any]) -> dict[str, str]:
    """How far those moved who lost nothing, in words."""
    if not others["users"]:
        return {"users who lost nothing": "none"}
    return {
        "users who lost nothing": f"{others['users']:,}",
        "their scores moved by": f"{_number(others['distance'])} of their size",
        f"their lists of {others['k']} kept": f"a share of {_number(others['overlap'])} "
        f"({others['compared']:,} users compared)",
    }


def _number(x: float | None) -> str:
    return "not defined" if x is None else f"{x:.3g}"


def _rows(facts: dict[str, str]) -> str:
    """The rows of a table of two columns."""
    return "\n".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in facts.items()
    )
