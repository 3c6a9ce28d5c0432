"""Curvature products against plain gathers, and one unlearning against training again."""

import argparse
import functools
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget import methods, models, sparse
from jaxforget.gradient import losses
from jaxforget.prepare import forget
from jaxforget.sparse import layout
from jaxforget.sparse.compact import compact
from jaxforget.sparse.degrees import exchange
from jaxforget.types import watch

from ..errors import PROGRAM
from . import _pairs
from ._options import count, fraction

# Book-Crossing by the published recipe, as the default size
INTERACTIONS, USERS, ITEMS = 351_347, 15_758, 37_992


PRODUCTS = 8  # in a row, as a solver takes them: what depends on the parameters alone is shared


def plain(params, train, weights):
    """The Hessian-vector product as anyone would write it first."""

    def loss(p):
        scores = jnp.sum(p.users[train.users] * p.items[train.items], axis=1)
        return jnp.sum(weights * (jax.nn.softplus(scores) - train.values * scores))

    return lambda vector: jax.jvp(jax.grad(loss), (params,), (vector,))[1]


def ours(params, train, weights, *, full):
    loss = losses.build("bce", reg=0.0, n_layers=0)
    return loss.product(params, train, weights, weights, full=full)


def chain(prepare):
    """``PRODUCTS`` products, each of the last one's result."""

    @jax.jit
    def run(params, vector, train, weights):
        product = prepare(params, train, weights)

        def step(_, x):
            return jax.tree.map(lambda new, first: 1e-3 * new + first, product(x), vector)

        return jax.lax.fori_loop(0, PRODUCTS, step, vector)

    return run


def kernels(params, vector, train, weights, *, full):
    """``PRODUCTS`` times the sparse products that a product cannot do without, and nothing else."""
    wide = (jnp.concatenate(pair, axis=1) for pair in zip(vector, params))
    scores = functools.partial(sparse.sddmm, train, *wide)
    spread = functools.partial(exchange, train, weights)

    def run():
        for _ in range(PRODUCTS):
            products = scores(), spread(params), spread(vector) if full else None
        return products

    return run


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} bench influence", description=__doc__)
    parser.add_argument("--interactions", type=count, default=INTERACTIONS)
    parser.add_argument("--dim", type=count, default=48)
    parser.add_argument(
        "--ratio", type=fraction, default=0.02, help="share forgotten, labels flipped"
    )
    parser.add_argument("--runs", type=count, default=5)
    options = parser.parse_args(argv)
    train, valid, factors = labelled(options.interactions, options.dim)
    train, request = forget.flipped(jax.random.key(1), watch(train, valid), options.ratio)
    shape = f"{train.n_users:,} x {train.n_items:,}, {options.dim} factors, float32"
    print(_pairs.heading("Influence on MF", f"{options.interactions:,} interactions, {shape}"))

    _products(train, request, factors, options.runs)
    _unlearning(train, request, options.dim, options.runs)
    return 0


def _products(train, request, factors, runs):
    """Curvature products against gathers."""
    vector = jax.tree.map(lambda x: x[::-1], factors)
    arguments = (factors, vector, train, request.after)
    rival = chain(plain)
    for name, full, target in (
        (f"Hessian, {PRODUCTS} products", True, "target 5x"),
        (f"Gauss-Newton, {PRODUCTS}", False, ""),
    ):
        mine = chain(functools.partial(ours, full=full))
        timing = _pairs.compare(lambda f=mine: f(*arguments), lambda: rival(*arguments), runs=runs)
        print(_pairs.line(name, "gathers, autodiff scatter", timing, target))
        alone = kernels(*arguments, full=full)
        timing = _pairs.compare(alone, lambda: rival(*arguments), runs=runs)
        print(
            _pairs.line("  its sparse kernels alone", "gathers, autodiff scatter", timing, "bound")
        )
    for share in (0.5, 0.1):
        print(_pairs.line(*_fewer(share, *arguments, runs=runs)))


def _unlearning(train, request, dim, runs):
    """One unlearning against training again."""
    settings = {"lr": 1e-3, "init_scale": 1e-3, "n_epochs": 5000, "patience": 10}
    model = models.load("mf")(dim=dim, **settings)
    state, _ = jax.block_until_ready(jax.jit(model.fit)(jax.random.key(0), train, request.before))
    retrain, retrain_compile, (_, info) = _timed(model.fit, jax.random.key(2), train, request.after)
    print(
        f"\n  training again: {retrain:.2f} s, {int(info['epochs'])} epochs "
        f"(compile {retrain_compile:.2f} s)"
    )
    for name, use, settings in (
        ("ifru", "ifru", {}),
        ("ifru, rows asked", "ifru", {"hops": 0}),
        ("ifru, tol 0.01", "ifru", {"tol": 0.01}),
        ("ifru_flow", "ifru_flow", {"hessian": "full"}),
        ("replay", "replay", {}),
    ):
        method = methods.load(use)(model, **settings)
        seconds, compile_, (_, info) = _timed(
            method.unlearn, jax.random.key(3), state, train, request, runs=runs
        )
        steps = int(info["iterations"])
        print(
            f"  {name:<26} {seconds:>6.3f} s {steps:>4} steps   {retrain / seconds:>6.1f}x   "
            f"target 50x   (compile {compile_:.2f} s)"
        )


def _fewer(share, factors, vector, train, weights, *, runs):
    """Products where few interactions meet the updated rows, against those of all interactions."""
    met = jax.random.uniform(jax.random.key(0), weights.shape) < share
    fewer, _ = jax.jit(compact)(train, met)
    run = chain(functools.partial(ours, full=True))
    timing = _pairs.compare(
        lambda: run(factors, vector, fewer, weights),
        lambda: run(factors, vector, train, weights),
        runs=runs,
    )
    return f"Hessian, {share:.0%} of them", "all interactions", timing, f"linear: {1 / share:g}x"


def labelled(n, dim):
    """Interactions labelled by planted factors with noise; a fifth more for validation."""
    train, factors = _pairs.workload(n + n // 5, dim, n_users=USERS, n_items=ITEMS)
    rng = np.random.default_rng(0)
    users, items = (np.asarray(x) for x in (train.users, train.items))
    left, right = (rng.normal(size=(size, 6)) for size in (USERS, ITEMS))
    logits = np.sum(left[users] * right[items], axis=1) / 2 + left[users, 0] - 0.8
    labels = (rng.random(len(users)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    held = rng.permutation(len(users)) >= n
    parts = (
        layout.build(users[k], items[k], labels[k], n_users=USERS, n_items=ITEMS)
        for k in (~held, held)
    )
    return *parts, factors


def _timed(function, *arguments, runs=1):
    """Median seconds of some runs after a first one, seconds of compiling, and the result."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    ready = time.perf_counter()
    result = jax.block_until_ready(compiled(*arguments))
    seconds = [_pairs.seconds(lambda: compiled(*arguments)) for _ in range(runs)]
    return statistics.median(seconds), ready - start, result
