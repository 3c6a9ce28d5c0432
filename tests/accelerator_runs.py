"""Compiles the library's programs for an accelerator that is not here, as a script.

``accelerator_runs.py TARGET`` prints what every compiled program holds. In a process of its own,
as the compilers must not be on the path of other tests.
"""

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import jax

jax.config.update("jax_platforms", "cpu")

import jax.numpy as jnp  # noqa: E402  (after the setting above)

from experiments.bench import _targets, roofline  # noqa: E402
from experiments.bench._work import workload  # noqa: E402
from jaxforget import _plugins, methods, models  # noqa: E402
from jaxforget.prepare import forget  # noqa: E402

SIZES, DIM = (20_000, 20_000, 15_000), 8  # no array may be as large as users x items
SERVED = dict.fromkeys(["unlearn_als", "difference_als", "local_als"], "ials")
# one needs 64 bits, the other a model of items by items
SERVED |= dict.fromkeys(["certified_als", "closed_form"])


def built():
    """Every method on a model that it serves: its name, the model, the method."""
    for name in _plugins.names(_plugins.DOORS["methods"]):
        served = SERVED.get(name, "mf")
        if served is None:
            continue
        toys = [
            getattr(importlib.import_module(f"jaxforget.{module}"), "TOY", {})
            for module in (f"models.{served}", f"methods.{name}")
        ]
        model = models.load(served)(**toys[0])
        yield name, model, methods.load(name)(model, **toys[1])


def unlearnings():
    """The function of every method, and what it takes."""
    train = workload(SIZES, DIM)[0]
    train = dataclasses.replace(train, values=(train.values > 1).astype(jnp.float32))  # labels
    request = forget.random(jax.random.key(1), train, 0.01)[1]
    for name, model, method in built():
        data, key = model.prepare(train), jax.random.key(0)
        state = jax.eval_shape(method.fit, key, data, request.before)[0]
        yield name, method.unlearn, (key, state, data, request)


def cells():
    """Training and unlearning of eight cells side by side."""
    train = workload(SIZES, DIM)[0]
    model = models.load("ials")(dim=DIM, reg=1.0, alpha=1.0, max_sweeps=2)
    method = methods.load("unlearn_als")(model, max_sweeps=1)

    def cell(key, weights, train):
        state, _ = model.fit(key, train, jnp.ones_like(weights))
        request = forget.ForgetSet(jnp.ones_like(weights), weights)
        return method.unlearn(key, state, train, request)[0]

    keys, weights = jax.random.split(jax.random.key(0), 8), jnp.ones((8, SIZES[0]))
    return jax.vmap(cell, in_axes=(0, 0, None)), (keys, weights, train)


def main(target):
    place, found = _targets.device(_targets.TARGETS[target]), {}
    programs = [(n, w.function, w.args) for n, w in roofline.works(SIZES, DIM).items()]
    for name, function, args in (*programs, *unlearnings(), ("eight cells", *cells())):
        found[name] = _targets.compile_for(place, function, args)._asdict()
    print(json.dumps(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main(*sys.argv[1:])
