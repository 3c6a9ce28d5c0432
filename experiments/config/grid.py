"""The grid: every cell of a config, checked before the first one runs."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import Refused
from ..plugins import DOORS
from . import schema
from .fields import ALONE, INJECTED, RESERVED
from .reading import Config

SCHEMA = 1
AGAIN = "unlearn_seed"  # an axis, and a key of the spec, only where a config gives unlearn_seeds


class Cell(NamedTuple):
    """One point of the grid. ``spec`` decides the numbers, ``axes`` is how people find it."""

    id: str
    axes: dict[str, Any]
    spec: dict[str, Any]

    def key(self, *names: str) -> str:
        """Names what some parts of the spec make, for a cache or a shard."""
        return canonical({name: self.spec[name] for name in names})


def canonical(value: Any) -> str:
    """JSON with one spelling: equal content, equal text."""
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def identity(spec: Any) -> str:
    """The id of the cell that has this spec, or of what a part of one decides."""
    return hashlib.sha256(canonical(spec).encode()).hexdigest()[:16]


def _combinations(axes: dict[str, list]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _tables(kind: str, label: str, table: dict[str, Any], where: str) -> Iterator[tuple]:
    """(axes, {use, settings}) for every combination of a plug-in's swept settings."""
    use = table.get("use", label)
    if not isinstance(use, str):
        raise Refused(f"{where}.use: expected the name of a {DOORS[kind].noun}, got {use!r}")
    given = {
        k: v for k, v in table.items() if k not in RESERVED or (kind != "methods" and k != "use")
    }
    signature = schema.find(kind, use, f"{where}.use")
    fixed, swept = signature.split(given, where)
    for point in _combinations(swept):
        axes = {f"{kind.removesuffix('s')}.{name}": value for name, value in point.items()}
        yield axes, {"use": use, "settings": signature.stated(fixed | point)}


def _data(config: Config) -> Iterator[tuple]:
    """The data sets: ``use`` and every reader setting may be a list."""
    table = dict(config.experiment.data)
    steps, uses = table.pop("steps", []), table.pop("use")
    for use in uses if isinstance(uses, list) else [uses]:
        for axes, spec in _tables("data", use, table, "data"):
            yield {"data": use, **axes}, spec | {"steps": steps}


def _reference(config: Config, model: dict[str, Any], label: str) -> dict[str, Any]:
    """The overrides of the retrained reference, checked against this model."""
    over = config.experiment.reference
    signature = schema.find("models", model["use"], f"models.{label}.use")
    checked, swept = signature.split(over, "reference", partial=True)
    if swept:
        raise Refused(f"reference.{next(iter(swept))}: the reference cannot be swept")
    return checked


def _amounts(config: Config, method: dict[str, Any]) -> list[tuple[str, Any]]:
    """The request's axis for one method: ("ratio", 0.05), ("count", 100) or nothing."""
    request = config.experiment.request
    if request.kinds[0] in ALONE:
        return [("ratio", None)]
    name = "ratio" if request.ratio is not None else "count"
    values = method.get("ratio", getattr(request, name))
    return [(name, value) for value in (values if isinstance(values, list) else [values])]


def _request(config: Config, kind: str, amount: tuple[str, Any], seed: int) -> dict[str, Any]:
    request = config.experiment.request
    spec = {"kind": kind, "ratio": None, "count": None, "pairs": None}
    spec |= {name: getattr(request, name) for name in INJECTED.get(kind, ())}
    if kind == "listed":
        spec["ignore_missing"] = request.ignore_missing
    spec[amount[0]] = float(amount[1]) if amount[0] == "ratio" and amount[1] else amount[1]
    if request.path:  # what the file says decides, not where it lies
        spec["pairs"] = hashlib.sha256(Path(request.path).read_bytes()).hexdigest()
    return spec | {"seed": seed if request.seed is None else request.seed}


def _split(config: Config, use: str, seed: int) -> dict[str, Any]:
    """How this data set is split under this seed of a split."""
    how = config.experiment.split
    if how.by != "files":
        return {"by": how.by, "shares": how.shares, "cold": how.cold, "seed": seed}
    spec: dict[str, Any] = {"by": how.by, "cold": how.cold}
    reader = schema.find("data", use, "data.use")
    for part, over in (("valid", how.valid), ("test", how.test)):
        fixed, swept = reader.split(over or {}, f"split.{part}", partial=True)
        if swept:
            raise Refused(f"split.{part}.{next(iter(swept))}: a part's files cannot be swept")
        spec[part] = None if over is None else fixed
    return spec


def _draws(config: Config) -> Iterator[tuple[dict[str, int], int, int]]:
    """(axes, seed of the split, seed) of everything that is drawn before the request is met."""
    fixed, seeds = config.experiment.split.seed, config.experiment.seeds
    if isinstance(fixed, list):
        yield from (({"split.seed": split}, split, seed) for split in fixed for seed in seeds)
    else:
        yield from (({}, seed if fixed is None else fixed, seed) for seed in seeds)


def _points(config: Config) -> Iterator[tuple[dict, dict]]:
    """(axes, spec) of every cell."""
    experiment = config.experiment
    again: list[dict[str, int]] = [{AGAIN: seed} for seed in experiment.unlearn_seeds] or [{}]
    for (data_axes, data), draw in itertools.product(list(_data(config)), list(_draws(config))):
        split_axes, split_seed, seed = draw
        split = _split(config, data["use"], split_seed)
        for label, table in experiment.models.items():
            for model_axes, model in _tables("models", label, table, f"models.{label}"):
                reference = _reference(config, model, label)
                for name, settings in experiment.methods.items():
                    if label not in settings.get("models", [label]):
                        continue
                    where, amounts = f"methods.{name}", _amounts(config, settings)
                    for kind, amount, (method_axes, method), repeat in itertools.product(
                        experiment.request.kinds,
                        amounts,
                        list(_tables("methods", name, settings, where)),
                        again,
                    ):
                        request = _request(config, kind, amount, seed)
                        axes = {**data_axes, "model": label, "method": name}
                        axes |= {"kind": request["kind"], "ratio": request["ratio"]}
                        axes |= {"count": request["count"], "seed": seed}
                        yield axes | split_axes | model_axes | method_axes | repeat, {
                            "schema": SCHEMA, "data": data, "split": split, "request": request,
                            "model": model, "reference": reference, "method": method,
                            "seed": seed, "ks": experiment.ks, "dtype": experiment.dtype,
                            **repeat,
                        }  # fmt: skip


def cells(config: Config) -> list[Cell]:
    """All cells, those that share a split, a fit and a request next to each other."""
    by_id: dict[str, Cell] = {}
    for axes, spec in _points(config):
        name = identity(spec)
        if name in by_id:
            twin = by_id[name].axes
            raise Refused(
                f"methods.{axes['method']}: the same cell twice (also models.{twin['model']} with "
                f"methods.{twin['method']}, seed {twin['seed']}); remove one of the two"
            )
        by_id[name] = Cell(name, axes, spec)
    if not by_id:
        raise Refused("the grid is empty: no method may run on any of the models")
    kinds, rank = config.experiment.request.kinds, {}
    for cell in by_id.values():
        rank.setdefault(cell.key("data", "split", "model", "seed"), len(rank))
    return sorted(
        by_id.values(),
        key=lambda c: (
            rank[c.key("data", "split", "model", "seed")],
            kinds.index(c.axes["kind"]),
            c.spec["request"]["ratio"] or c.spec["request"]["count"] or 0,
        ),
    )


def swept(cells: list[Cell]) -> list[str]:
    """The axes beside the fixed ones, sorted: swept settings, seeds of splits and of unlearning."""
    return sorted({name for cell in cells for name in cell.axes if "." in name or name == AGAIN})


def short(name: str) -> str:
    """A swept setting without the plug-in's kind; ``split.seed`` whole: there is another seed."""
    return name if name.startswith("split.") else name.rpartition(".")[2]


def label(cell: Cell) -> str:
    """One cell as a line of a log."""
    axes = cell.axes
    words = [f"{axes['method']} {axes['model']}"]
    words += [axes["kind"]] if axes["kind"] != "random" else []
    words += [f"{n}={axes[n]}" for n in ("ratio", "count") if axes[n] is not None]
    words += [f"seed={axes['seed']}"]
    words += [f"{short(name)}={axes[name]}" for name in swept([cell])]
    return " ".join(words)


def named(cell: Cell, part: str) -> str:
    """The data, model or method of a cell and those of its settings that the config sweeps.

    A split is of its data.
    """
    parts = ("data", "split") if part == "data" else (part,)
    mine = [name for name in swept([cell]) if name.partition(".")[0] in parts]
    return " ".join([cell.axes[part], *(f"{short(name)}={cell.axes[name]}" for name in mine)])
