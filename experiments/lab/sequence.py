"""Meets a request one person after the other, and measures what is served in between."""

import functools
import math
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget import metrics
from jaxforget.metrics import exposure
from jaxforget.sparse.serving import Served
from jaxforget.types import ForgetSet, Interactions, Split

from ..config.grid import Cell, label
from ..errors import Refused
from .clock import Recent, opened
from .jobs import Job, Outcome
from .programs import keys, method_plug, model_plug, program, reference_key, reference_spec
from .setup import Laboratory

OF_THE_ASKED = ("sensitive", "exposure", "distance_forgotten")  # before anyone asks: of nothing
COMPARED = ("distance", "distance_forgotten")  # with the retrained model, of others than itself


class Row(NamedTuple):
    """One number of one model at one checkpoint."""

    checkpoint: float  # share of the people who have asked
    stage: str
    metric: str
    k: int | None
    value: float
    n: int  # people who have asked; of a latency: requests since the checkpoint before


class Turns(NamedTuple):
    """A request in the order in which people make it."""

    train: Interactions
    whole: ForgetSet
    order: np.ndarray  # [U] when a user asks, 0 first; n_people or more: not at all
    n_people: int
    items: jax.Array  # [I] bool, the items that the whole request names

    def after(self, n: int) -> jax.Array:
        """The weights ``[N]`` once n people have asked."""
        asked = self.order[np.asarray(self.train.users)] < n
        return jnp.where(asked, self.whole.after, self.whole.before)

    def so_far(self, n: int) -> ForgetSet:
        """What n people asked for, as one request."""
        return ForgetSet(self.whole.before, self.after(n))


def turns(train: Interactions, request: ForgetSet, seed: int, most: int | None) -> Turns:
    """People in random order; of more than ``most`` the last are left out.

    Raises:
      Refused: the request names nothing.
    """
    users, items = np.asarray(train.users), np.asarray(train.items)
    gone = np.asarray(request.before) > np.asarray(request.after)
    people = np.random.default_rng(seed).permutation(np.unique(users[gone]))[:most]
    if not len(people):
        raise Refused("sequence: the request names no interaction: nobody asks; set request.kind")
    order = np.full(train.n_users, train.n_users)
    order[people] = np.arange(len(people))
    named = np.isin(np.arange(train.n_items), items[gone])
    return Turns(train, request, order, len(people), jnp.asarray(named))


def checkpoints(n_people: int) -> dict[int, float]:
    """After how many people a model is looked at, and which share of them that is.

    Of less than four people some quarters are the same number, of which the largest is kept.
    """
    return {math.ceil(n_people * quarter / 4): quarter / 4 for quarter in range(5)}


class Sequences:
    """Follows cells; those that share a reference share its trainings at the checkpoints."""

    def __init__(self, lab: Laboratory, most: int | None):
        self.lab, self.most, self._retrained = lab, most, Recent(1)

    def people(self, cell: Cell) -> int:
        """How many people ask in all."""
        return self._turns(cell).n_people

    def _turns(self, cell: Cell) -> Turns:
        return turns(*self.lab.materials.request(cell), cell.spec["seed"], self.most)

    def rows(self, cell: Cell) -> list[Row]:
        """All that is measured of one cell, checkpoint after checkpoint."""
        asked = self._turns(cell)
        self._check(cell, asked)
        marks = checkpoints(asked.n_people)
        retrained = self._retrained.get(
            reference_key(cell), lambda: self._references(cell, asked, list(marks))
        )
        digest = self.lab.materials.attacked(cell).hash
        state = self._run(self.lab.programs.fit(cell, digest, asked.train, asked.whole)).output[0]
        undeleted, found, seconds = self._serve(cell, state, asked, 0), [], []
        for n in range(asked.n_people + 1):
            if n:
                state, took = self._forget(cell, state, asked, n)
                seconds.append(took)
            if n in marks:
                served = {"undeleted": undeleted, "unlearnt": self._serve(cell, state, asked, n)}
                served |= {"retrained": retrained[n]}
                found += self._judge(cell, asked, n, marks[n], served)
                found += _latencies(marks[n], seconds)
                seconds = []
        return found

    def _run(self, job: Job) -> Outcome:
        return self.lab.singly.run([job])[0]

    def _check(self, cell: Cell, asked: Turns) -> None:
        """Refuses a method that cannot go on from what it returned, before it trains."""
        model, method = model_plug(cell.spec["model"]), method_plug(cell.spec["method"])
        request = asked.so_far(1)

        def twice(key: jax.Array, train: Interactions, request: ForgetSet) -> Any:
            learn, forget = (opened(program(f, model, method), ()) for f in ("fit", "unlearn"))
            state, _ = learn[0](*learn[1], key, train, request.before)
            for _ in range(2):
                state, _ = forget[0](*forget[1], key, state, train, request)
            return state

        try:
            jax.eval_shape(twice, keys(0)["unlearn"], asked.train, request)
        except (ValueError, TypeError, AttributeError) as fault:
            raise Refused(
                f"sequence: {label(cell)} cannot meet one request after another: {fault}; leave it "
                "out with --only"
            ) from fault

    def _references(self, cell: Cell, asked: Turns, marks: list[int]) -> dict[int, Any]:
        """What models serve that were trained on what is retained at each checkpoint."""
        serve, found = program("factors", model_plug(reference_spec(cell))), {}
        for n in marks:
            request = asked.so_far(n)
            job = self.lab.programs.reference(cell, asked.train, request)
            state = self._run(job._replace(name=None)).output[0]  # the name is of the last one
            found[n] = self._run(Job(serve, (state, asked.train, request.after))).output
        return found

    def _serve(self, cell: Cell, state: Any, asked: Turns, n: int) -> Any:
        """What a state of the method serves once n people have asked."""
        model, method = model_plug(cell.spec["model"]), method_plug(cell.spec["method"])
        serve = program("factors", model, method)
        return self._run(Job(serve, (state, asked.train, asked.after(n)))).output

    def _forget(self, cell: Cell, state: Any, asked: Turns, n: int) -> tuple[Any, float]:
        """The state after the n-th person's request, and the seconds that it took."""
        request = ForgetSet(asked.after(n - 1), asked.after(n))
        job = self.lab.programs.unlearn(cell, state, asked.train, request)
        key = jax.random.fold_in(job.args[0], n)  # what a method draws, it draws anew
        job = job._replace(args=(key, *job.args[1:]))
        if n == 1:  # the first run of a program pays for memory that all later ones find
            self._run(job)
        done = self._run(job)
        return done.output[0], done.timing.run

    def _judge(
        self, cell: Cell, asked: Turns, n: int, share: float, served: dict[str, Any]
    ) -> list[Row]:
        """The measures of each stage at one checkpoint."""
        parts = self.lab.materials.attacked(cell).split._replace(train=asked.train)
        people, rows = jnp.asarray(asked.order < n), []
        for stage, model in served.items():
            args = model, served["retrained"], parts, asked.so_far(n), people, asked.items
            found = self._run(Job(_measure(tuple(cell.spec["ks"])), args)).output
            left_out = OF_THE_ASKED if n == 0 else ()
            left_out += COMPARED if stage == "retrained" else ()
            for name, value in found.items():
                metric, _, k = name.partition("@")
                if metric not in left_out:
                    rows.append(Row(share, stage, metric, int(k) if k else None, float(value), n))
        return rows


@functools.cache
def _measure(ks: tuple[int, ...]) -> Callable[..., dict[str, jax.Array]]:
    """A function that measures one model; one object for one ks, so that it compiles once."""

    def measure(
        served: Served,
        reference: Served,
        parts: Split,
        request: ForgetSet,
        people: jax.Array,
        items: jax.Array,
    ) -> dict[str, jax.Array]:
        hidden, gone = [(parts.train, request.after)], request.before > request.after
        taken = exposure.of_items(served, items, people, hidden, ks=ks)
        shown = exposure.of_pairs(served, parts.train, gone, hidden, ks=ks)
        usual = metrics.evaluate(served, parts, request, ks=ks, reference=reference)
        found = {f"sensitive@{k}": value for k, value in taken.items()}
        found |= {f"exposure@{k}": value for k, value in shown.items()}
        wanted = (*(f"ndcg@{k}" for k in ks), *COMPARED)
        return found | {name: usual[name] for name in wanted if name in usual}

    return measure


def _latencies(share: float, seconds: list[float]) -> list[Row]:
    """The seconds of the requests since the checkpoint before."""
    if not seconds:
        return []
    ways = {"min": min, "mean": statistics.fmean, "max": max}
    n = len(seconds)
    return [Row(share, "unlearnt", f"latency_{w}", None, f(seconds), n) for w, f in ways.items()]
