"""What one cell computes: data, request, fit, reference, unlearn, judgement. Mathematics: none."""

import dataclasses
import functools
import hashlib
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import attack, provenance
from experiments.clock import Recent, Timing, timed
from experiments.errors import Refused
from experiments.grid import Cell, canonical
from experiments.programs import Plug, plug, program
from jaxforget import data, methods, metrics, models
from jaxforget.prepare import forget, interop, preprocess, split
from jaxforget.types import Factors, ForgetSet, Interactions, Method, Model, Split, watch

COMPARED = ("distance", "overlap")  # metrics that need the reference
SPLITS = ("test", "valid", "forgotten", "retained")  # how a metric's name may end
WHERE = {  # on which cells, where the name does not say
    "distance": "all", "overlap": "all", "membership": "forgotten", "exposure": "all",
}  # fmt: skip


class Skipped(Exception):
    """The method cannot serve this model, and says why."""


class Prepared(NamedTuple):
    """One split of one data set, on the device, with the hash of its content."""

    split: Split
    users: np.ndarray  # labels of the user ids
    items: np.ndarray
    hash: str
    spam: attack.Attack | None = None  # its split is this one


class Made(NamedTuple):
    """A fit or an unlearning: its state, its info and its time."""

    state: Any
    info: dict[str, Any]
    timing: Timing


def _settings(spec: dict[str, Any]) -> dict[str, Any]:
    """Settings as keyword arguments; JSON lists become tuples, which can be hashed."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in spec["settings"].items()}


def _oracle(cell: Cell) -> dict[str, Any]:
    """The spec of the retrained reference's model."""
    spec = cell.spec["model"]
    return spec | {"settings": spec["settings"] | cell.spec["reference"]}


def content_hash(parts: Split, users: np.ndarray, items: np.ndarray) -> str:
    """sha256 over the final arrays and labels: equal data, equal hash."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.n_users} {part.n_items} {part.values.shape}".encode())
        for array in (part.users, part.items, part.values):
            digest.update(np.ascontiguousarray(array).tobytes())
    for labels in (users, items):
        digest.update("\n".join(map(str, labels)).encode())
    return digest.hexdigest()


def _cast(part: Interactions, dtype: str) -> Interactions:
    return dataclasses.replace(part, values=part.values.astype(dtype))


class Laboratory:
    """Computes cells and keeps what neighbouring cells share: data, models, fits, references."""

    def __init__(self, root: str, pairs: str | None, ks: list[int], repeats: int):
        self.root, self.pairs, self.repeats = root, pairs, repeats
        self.frames, self.splits, self.requests = Recent(2), Recent(2), Recent(4)
        self.attacks = Recent(2)
        self.models, self.methods = Recent(64), Recent(64)
        self.fits, self.references, self.judged = Recent(8), Recent(4), Recent(16)

        def judge(factors: Factors, parts: Split, request: ForgetSet, reference: Factors):
            return metrics.evaluate(factors, parts, request, ks=tuple(ks), reference=reference)

        self._judge = judge  # one function object, hence one compilation per shape
        self._expose = attack.exposure(ks)

    def frame(self, spec: dict[str, Any]) -> Any:
        """The table of one data set after its preprocessing steps."""

        def make():
            try:
                table = data.read(spec["use"], self.root, **_settings(spec))
                return preprocess.apply(table, spec["steps"])
            except (ValueError, TypeError, OSError, EOFError) as error:
                raise Refused(f"data {spec['use']}: {error}") from error

        return self.frames.get(canonical(spec), make)

    def prepared(self, cell: Cell) -> Prepared:
        """The split of one cell."""

        def make():
            how = cell.spec["split"]
            try:
                made = split.split_frame(self.frame(cell.spec["data"]), **how)
            except ValueError as error:
                raise Refused(f"split: {error}") from error
            parts = Split(*(_cast(part, cell.spec["dtype"]) for part in made.split))
            users, items = np.asarray(made.users), np.asarray(made.items)
            return Prepared(parts, users, items, content_hash(parts, users, items))

        return self.splits.get(cell.key("data", "split", "dtype"), make)

    def attacked(self, cell: Cell) -> Prepared:
        """The split that is learnt from: with injected profiles where the request is an attack."""
        how, clean = cell.spec["request"], self.prepared(cell)

        def make():
            made = attack.inject(keys(how["seed"])["request"], clean.split, how)
            if made is None:
                return clean
            hashed = content_hash(made.split, clean.users, clean.items)
            return clean._replace(split=made.split, hash=hashed, spam=made)

        return self.attacks.get(cell.key("data", "split", "dtype", "request"), make)

    def model(self, spec: dict[str, Any]) -> Model:
        """A model; built once, so that its functions compile once."""

        def make():
            try:
                return models.load(spec["use"])(**_settings(spec))
            except (ValueError, TypeError) as error:
                raise Refused(f"model {spec['use']}: {error}") from error

        return self.models.get(canonical(spec), make)

    def oracle(self, cell: Cell) -> Model:
        """The model of the retrained reference."""
        return self.model(_oracle(cell))

    def programs(self, cell: Cell) -> tuple[Plug, Plug, Plug]:
        """Model, reference model and method of a cell, ready to be called with their numbers."""
        spec, method = cell.spec["model"], cell.spec["method"]
        build = models.load(spec["use"])
        return (
            plug(build, _settings(spec)),
            plug(build, _settings(_oracle(cell))),
            plug(methods.load(method["use"]), _settings(method)),
        )

    def method(self, cell: Cell) -> Method:
        """A method on the cell's model."""
        spec, model = cell.spec["method"], self.model(cell.spec["model"])

        def make():
            build = methods.load(spec["use"])
            try:
                return build(model, **_settings(spec))
            except ValueError as error:
                raise Skipped(str(error)) from error

        return self.methods.get(cell.key("model", "method"), make)

    def request(self, cell: Cell) -> tuple[Interactions, ForgetSet]:
        """Who asks: the training interactions (labels may be flipped) and their weights."""
        how, prepared = cell.spec["request"], self.attacked(cell)
        model = self.model(cell.spec["model"])

        def make():
            parts = prepared.split  # a recipe that stops on validation finds it in train.valid
            train = model.prepare(watch(parts.train, parts.valid))
            ones = jax.numpy.ones_like(train.values)
            if how["kind"] == "none":
                return train, ForgetSet(ones, ones)
            if prepared.spam is not None:
                return train, attack.request(train, prepared.spam)
            try:
                if how["kind"] == "pairs":
                    pairs = interop.read_pairs(self.pairs, prepared.users, prepared.items)
                    return forget.pairs(train, *pairs)
                choose = getattr(forget, how["kind"])
                key = keys(how["seed"])["request"]
                return choose(key, train, how["ratio"], count=how["count"])
            except (ValueError, OSError) as error:
                raise Refused(f"request: {error}") from error

        return self.requests.get(cell.key("data", "split", "model", "request", "dtype"), make)

    def compute(self, cell: Cell) -> dict[str, Any]:
        """Everything one cell has to say: metrics, info, timings and the data hash."""
        key, where = keys(cell.spec["seed"]), self.attacked(cell)
        train, request = self.request(cell)
        parts = where.split._replace(train=train)
        shared = self.method(cell).fit is self.model(cell.spec["model"]).fit  # one fit for all
        model, oracle, method = self.programs(cell)
        place = cell.key("data", "split", "model", "request", "reference", "seed", "dtype")
        own = None if shared else canonical(cell.spec["method"])

        reference = self.references.get(
            place,
            lambda: self._made(program("fit", oracle), key["reference"], train, request.after),
        )
        learnt = (where.hash, _digest(train.values, request.before), cell.key("model", "seed"), own)
        learn = program("fit", model) if shared else program("fit", model, method)
        fit = self.fits.get(learnt, lambda: self._made(learn, key["fit"], train, request.before))
        unlearn = program("unlearn", model, method)
        after = self._made(unlearn, key["unlearn"], fit.state, train, request)
        goal, _ = timed(program("factors", oracle), reference.state, train, request.after)

        serving = program("factors", model, method)

        def stage(state, weights, serve=serving, params=shared):
            factors, _ = timed(serve, state, train, weights)
            found, _ = timed(self._judge, factors, parts, request, goal)
            if where.spam is not None:
                found = found | timed(self._expose, factors, where.spam, request)[0]
            if params:  # the state is the model's own parameters: the objective is defined
                loss, _ = timed(program("loss", model), state, train, request.after, request.after)
                found = found | {"loss_retained": loss}
                if hasattr(self.model(cell.spec["model"]).loss, "outcomes"):
                    found["loss_forgotten"] = forgotten_loss(
                        program("loss", model), state, train, request, weights
                    )
            return jax.device_get(found)

        stages = {
            "before": self.judged.get(
                ("before", place, own), lambda: stage(fit.state, request.before)
            ),
            "after": stage(after.state, request.after),
            "reference": self.judged.get(
                ("reference", place),
                lambda: stage(reference.state, request.after, program("factors", oracle), True),
            ),
        }
        made = {"fit": fit, "unlearn": after, "reference": reference}
        return {
            "data_hash": self.prepared(cell).hash,
            "info": {name: scalars(m.info) for name, m in made.items()},
            "metrics": [row for name, found in stages.items() for row in tidy(name, found)],
            "timings": {f"{n}_seconds": m.timing.run for n, m in made.items()}
            | {f"{n}_compile_seconds": m.timing.compile for n, m in made.items()}
            | provenance.peak_memory(),
        }

    def _made(self, f: Any, *args: Any) -> Made:
        (state, info), timing = timed(f, *args, repeats=self.repeats)
        return Made(state, info, timing)


@functools.cache
def keys(seed: int) -> dict[str, jax.Array]:
    """The four keys of a seed, in a fixed order: for one seed every method meets the same luck."""
    names = ("request", "fit", "unlearn", "reference")
    return dict(zip(names, jax.random.split(jax.random.key(seed), 4), strict=True))


def forgotten_loss(loss: Any, state: Any, train: Any, request: ForgetSet, edges: Any) -> Any:
    """Mean loss of the forgotten interactions, labels as they were learnt, along the served graph."""
    gone = request.before - request.after
    with_, without = (timed(loss, state, train, w, edges)[0] for w in (gone, 0 * gone))
    return (with_ - without) / gone.sum()  # the penalty cancels; NaN for an empty request


def _digest(*arrays: jax.Array) -> str:
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays)).hexdigest()


def scalars(info: dict[str, Any]) -> dict[str, Any]:
    """``info`` as plain numbers."""
    return {name: np.asarray(value).item() for name, value in jax.device_get(info).items()}


def tidy(stage: str, found: dict[str, Any]) -> list[list[Any]]:
    """Rows [stage, split, metric, k, value].

    A name such as ``distance_test`` or ``ndcg@10`` says on which cells and at which k. How far the
    reference is from itself is left out.
    """
    rows = []
    for name, value in found.items():
        metric, _, k = name.partition("@")
        stem, _, cells = metric.rpartition("_")
        metric, cells = (stem, cells) if cells in SPLITS else (metric, WHERE.get(metric, "test"))
        if stage == "reference" and metric in COMPARED:
            continue
        rows.append([stage, cells, metric, int(k) if k else None, np.asarray(value).item()])
    return rows
