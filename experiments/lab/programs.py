"""Makes the models and methods of cells and runs them: a plug-in's ``build`` is called here only.

A plug-in names in ``TRACED`` the settings that may be arguments of the compiled program instead
of constants in it; a grid over ``reg``, ``tol`` or ``max_sweeps`` then compiles once.
"""

import functools
import hashlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget import methods, models
from jaxforget._checks import SettingError
from jaxforget.sparse.arithmetic import ratio
from jaxforget.types import ForgetSet, Interactions, Method, Model

from ..config.grid import AGAIN, Cell, canonical
from ..errors import Refused
from .clock import Program, Recent
from .jobs import Job


class Skipped(Exception):
    """The method cannot serve this model, and says why."""


class Recipe(NamedTuple):
    """A plug-in's build function and those settings that are constants of a program."""

    build: Callable
    static: tuple[tuple[str, Any], ...]


class Plug(NamedTuple):
    """A plug-in with its settings: a recipe, and the numbers that a program takes as arguments."""

    recipe: Recipe
    numbers: dict[str, float]


def plug(build: Callable, settings: dict[str, Any]) -> Plug:
    """Sorts settings into constants of the program and arguments to it."""
    traced = getattr(sys.modules[build.__module__], "TRACED", ())
    numbers = {k: v for k, v in settings.items() if k in traced and type(v) in (int, float)}
    static = tuple((k, v) for k, v in sorted(settings.items()) if k not in numbers)
    return Plug(Recipe(build, static), numbers)


def make(recipe: Recipe, numbers: dict[str, Any], *model: Model) -> Any:
    """A model, or a method on a model; the numbers may be traced."""
    return recipe.build(*model, **dict(recipe.static), **numbers)


def program(field: str, model: Plug, method: Plug | None = None) -> Program:
    """The function ``field`` of a model, or of a method on it."""
    numbers = {"model": model.numbers, "method": method.numbers if method else {}}
    return Program(_shell(field, model.recipe, method.recipe if method else None), numbers)


@functools.cache
def _shell(field, model, method):
    def shell(numbers, *args):
        owner = make(model, numbers["model"])
        if method:
            owner = make(method, numbers["method"], owner)
        return getattr(owner, field)(*args)

    return shell


def forgotten_loss(model: Plug) -> Program:
    """The mean loss of the forgotten interactions, of a model that states margins.

    A function of parameters, interactions, the request and the edges of the served graph. Labels,
    and the opponents of BPR, are those that were learnt before the request, whatever stage the
    parameters are of, so that stages compare; no penalty is in it. NaN for an empty request.
    """
    return Program(_of_forgotten(model.recipe), {"model": model.numbers, "method": {}})


@functools.cache
def _of_forgotten(model):
    def shell(numbers, params, train, request, edges):
        losses = make(model, numbers["model"]).margins
        gone = request.before - request.after
        learnt = jnp.where(gone > 0, gone, request.before)
        outcomes = losses.outcomes(losses.margins(params, train, edges), train, learnt)
        total = jnp.sum(jnp.where(gone > 0, outcomes, 0))
        return ratio(total, jnp.sum(gone), otherwise=jnp.nan)

    return shell


@functools.cache
def keys(seed: int) -> dict[str, jax.Array]:
    """The four keys of a seed, in a fixed order: with one seed all methods draw alike."""
    names = ("request", "fit", "unlearn", "reference")
    return dict(zip(names, jax.random.split(jax.random.key(seed), 4), strict=True))


def settings(spec: dict[str, Any]) -> dict[str, Any]:
    """Settings as keyword arguments; JSON lists become tuples, which can be hashed."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in spec["settings"].items()}


def reference_spec(cell: Cell) -> dict[str, Any]:
    """The spec of the model that is retrained as the reference."""
    spec = cell.spec["model"]
    return spec | {"settings": spec["settings"] | cell.spec["reference"]}


class Programs:
    """The models and methods of cells, and the jobs that train and unlearn them."""

    def __init__(self, repeats: int):
        self.repeats = repeats  # timed runs; the median counts
        self._models, self._methods = Recent(64), Recent(64)

    def model(self, spec: dict[str, Any]) -> Model:
        """The model of a spec."""

        def compute():
            try:
                return make(*model_plug(spec))
            except (ValueError, TypeError) as error:
                raise Refused(f"model {spec['use']}: {error}") from error

        return self._models.get(canonical(spec), compute)

    def recipe(self, spec: dict[str, Any]) -> Recipe:
        """What two models have in common whose programs are the same."""
        return model_plug(spec).recipe

    def method(self, cell: Cell) -> Method:
        """The method of a cell, on the cell's model.

        Raises:
          Refused: a setting of the method is wrong for every model.
          Skipped: the method refuses this model.
        """
        model = self.model(cell.spec["model"])

        def compute():
            built = method_plug(cell.spec["method"])
            try:
                return make(*built, model)
            except SettingError as error:
                raise Refused(f"method {cell.spec['method']['use']}: {error}") from error
            except ValueError as error:
                raise Skipped(str(error)) from error

        return self._methods.get(cell.key("model", "method"), compute)

    def trains_plainly(self, cell: Cell) -> bool:
        """Whether the method trains as its model does, so that its state is the model's own."""
        return self.method(cell).fit is self.model(cell.spec["model"]).fit

    def fit(self, cell: Cell, data: str, train: Interactions, request: ForgetSet) -> Job:
        """The training before the request; ``data`` is the hash of the split."""
        plain, model = self.trains_plainly(cell), model_plug(cell.spec["model"])
        own = None if plain else canonical(cell.spec["method"])
        learn = program("fit", model, None if plain else method_plug(cell.spec["method"]))
        name = (data, _digest(train.values, request.before), cell.key("model", "seed"), own)
        args = (keys(cell.spec["seed"])["fit"], train, request.before)
        return Job(learn, args, ("fit", name), self.repeats)

    def unlearn(self, cell: Cell, state: Any, train: Interactions, request: ForgetSet) -> Job:
        """The unlearning of the request; repetitions of it share all that went before."""
        model, method = model_plug(cell.spec["model"]), method_plug(cell.spec["method"])
        key = keys(cell.spec["seed"])["unlearn"]
        if AGAIN in cell.spec:
            key = jax.random.fold_in(key, cell.spec[AGAIN])
        args = (key, state, train, request)
        return Job(program("unlearn", model, method), args, None, self.repeats)

    def reference(self, cell: Cell, train: Interactions, request: ForgetSet) -> Job:
        """The training on the retained interactions alone."""
        learn = program("fit", model_plug(reference_spec(cell)))
        args = (keys(cell.spec["seed"])["reference"], train, request.after)
        return Job(learn, args, ("reference", reference_key(cell)), self.repeats)


def model_plug(spec: dict[str, Any]) -> Plug:
    """A model of a spec, as a plug."""
    return plug(models.load(spec["use"]), settings(spec))


def method_plug(spec: dict[str, Any]) -> Plug:
    """A method of a spec, as a plug."""
    return plug(methods.load(spec["use"]), settings(spec))


def reference_key(cell: Cell) -> str:
    """Names what cells with the same reference share."""
    return cell.key("data", "split", "model", "request", "reference", "seed", "dtype")


def _digest(*arrays: jax.Array) -> str:
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays)).hexdigest()
