"""Training in shards against training once, unlearning in one shard, and balanced partitions."""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from jaxforget import methods, models
from jaxforget.gradient import descent, graph
from jaxforget.shards import partition, training
from jaxforget.sparse.compact import compact, shorten
from jaxforget.types import Batch, ForgetSet

from ..errors import PROGRAM
from . import _pairs, influence
from ._options import at_least, count

SHARDS = 10
GRADIENT = {"lr": 1e-3, "init_scale": 1e-3, "batch_size": 2048}
ALS = {"reg": 10.0, "alpha": 4.0, "tol": 0.0}


def flops(function, *arguments) -> float:
    """Arithmetic of one call by XLA's count; the body of a loop counts once, a CSR product not."""
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


def arithmetic(model, settings, train, sizes) -> tuple[float, float]:
    """Flops of training once, and of training shards of these sizes, by minibatches.

    Steps times the flops of a step, plus epochs times those of a shuffle; a shard also pays for
    being cut out of the whole.
    """
    key, batch, ones = jax.random.key(0), settings["batch_size"], jnp.ones_like(train.values)
    params = jax.eval_shape(model.fit, key, train, ones)[0]
    params = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), params)
    rule, rows = descent.adam(settings["lr"]), jnp.arange(batch, dtype=jnp.int32)

    def step(params, state, train, links, weights):
        def mean(p):
            some = Batch(rows, weights[rows], key)
            return model.margins.batch(p, train, some, weights, links) / batch

        return rule.update(jax.grad(mean)(params), state)

    def epochs(size, sizes):
        kept = jnp.arange(len(ones)) < size
        cut, weights = shorten(compact(train, kept)[0], size), ones[:size]
        links = graph.links(cut, weights) if model.margins.n_layers else None
        steps = sum(-(-n // batch) for n in sizes)
        one = flops(step, params, rule.init(params), cut, links, weights)
        shuffle = flops(descent.shuffled, key, cut, weights)
        return settings["n_epochs"] * (steps * one + len(sizes) * shuffle)

    cut = len(sizes) * flops(lambda t, w: compact(t, w > 0), train, ones)
    n = len(train.users)
    return epochs(n, [n]), epochs(training.shard_size(n, len(sizes)), sizes) + cut


def compare(name, settings, train, runs) -> None:
    """One model: whole training, sharded training, and unlearning a request in one shard."""
    model = models.load(name)(**settings)
    sisa = methods.load("sisa")(model, n_shards=SHARDS)
    key, ones = jax.random.key(0), jnp.ones_like(train.values)
    fit, whole, unlearn = jax.jit(sisa.fit), jax.jit(model.fit), jax.jit(sisa.unlearn)
    state, _ = jax.block_until_ready(fit(key, train, ones))
    sizes = np.bincount(np.asarray(state.shards), minlength=SHARDS).tolist()
    rows = jnp.flatnonzero(state.shards == 3)[:20]
    request = ForgetSet(ones, ones.at[rows].set(0))

    timing = _pairs.compare(
        lambda: whole(key, train, ones), lambda: fit(key, train, ones), runs=runs
    )
    print(
        f"  {name:<9} whole {timing['ours_ms'] / 1e3:7.2f} s   {SHARDS} shards "
        f"{timing['theirs_ms'] / 1e3:7.2f} s   {timing['ratio']:5.2f}x "
        f"[{timing['low']:.2f}, {timing['high']:.2f}]   target 1.3x"
    )
    if "batch_size" in settings:
        once, parts = arithmetic(model, settings, train, sizes)
        print(
            f"  {'':<9} arithmetic {once / 1e9:.1f} and {parts / 1e9:.1f} Gflop: "
            f"{parts / once:.2f}x   target 1.3x"
        )
    timing = _pairs.compare(
        lambda: unlearn(key, state, train, request), lambda: fit(key, train, ones), runs=runs
    )
    _, info = unlearn(key, state, train, request)
    print(
        f"  {'':<9} unlearn {len(rows)} rows of {int(info['shards_touched'])} shard: "
        f"{timing['ours_ms'] / 1e3:.2f} s, {1 / timing['ratio']:.3f} of training the shards   "
        "target 0.2"
    )


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} bench partition", description=__doc__)
    parser.add_argument("--interactions", type=count, default=351_347)
    parser.add_argument(
        "--balanced", type=at_least(0), default=1_000_000, help="interactions to deal"
    )
    parser.add_argument("--dim", type=count, default=48)
    parser.add_argument("--epochs", type=count, default=2)
    parser.add_argument("--runs", type=count, default=3)
    parser.add_argument("--models", default="mf,lightgcn,ials")
    options = parser.parse_args(argv)
    train, _, _ = influence.labelled(options.interactions, options.dim)
    shape = f"{train.n_users:,} x {train.n_items:,}, {options.dim} factors, float32"
    print(_pairs.heading("Shards", f"{options.interactions:,} interactions, {shape}"))
    for name in options.models.split(","):
        own = (
            {"max_sweeps": options.epochs, **ALS}
            if name == "ials"
            else {"n_epochs": options.epochs, **GRADIENT}
        )
        compare(name, {"dim": options.dim, **own}, train, options.runs)
    if options.balanced:
        balance(*influence.labelled(options.balanced, options.dim))
    return 0


def balance(train, _, factors) -> None:
    """Times dealing interactions into balanced shards, by each side."""
    arguments = (jax.random.key(0), train, train.values * 0 + 1, factors)
    for by in partition.UNITS:
        deal = jax.jit(lambda key, *a, by=by: partition.balanced(key, *a, by=by, n_shards=SHARDS))
        start = time.perf_counter()
        compiled = deal.lower(*arguments).compile()
        ready = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        print(
            f"  balanced by {by:<12} {len(train.users):,} interactions: "
            f"{time.perf_counter() - ready:6.2f} s (compile {ready - start:.2f} s)"
        )
