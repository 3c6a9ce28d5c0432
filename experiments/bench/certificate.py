"""Certified unlearning of 1 % against a cold certified training and against 15 plain ALS passes."""

import argparse
import os
import statistics
from pathlib import Path

import jax
import numpy as np

from ..errors import PROGRAM
from . import _pairs
from ._options import count, fraction, positive

SETTINGS = {"100k": (30.0, 96, 4.0), "1m": (60.0, 128, 3.0), "drawn": (30.0, 64, 3.0)}
SWEEPS = 15


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} bench certificate", description=__doc__)
    parser.add_argument("--data", choices=[*SETTINGS], default="drawn")
    parser.add_argument(
        "--root", default=os.environ.get("JAXFORGET_DATA"), help="folder of data sets"
    )
    parser.add_argument("--interactions", type=count, default=40_000, help="for --data drawn")
    parser.add_argument("--tol", type=positive, nargs="+", default=[1e-1, 1e-2, 1e-3, 1e-5])
    parser.add_argument(
        "--share", type=fraction, default=0.01, help="of the interactions, forgotten"
    )
    parser.add_argument("--runs", type=count, default=3)
    parser.add_argument("--reg", type=positive)
    parser.add_argument("--dim", type=count)
    parser.add_argument("--alpha", type=positive, help="confidence of observed pairs")
    options = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    train = _load(options)
    reg, dim, alpha = (
        usual if given is None else given
        for given, usual in zip((options.reg, options.dim, options.alpha), SETTINGS[options.data])
    )
    print(_heading(train, reg, dim, alpha))
    work = _workload(train, reg, dim, alpha, options.share)
    for tol in options.tol:
        _row(work, tol, options.runs)
    return 0


def _load(options):
    from jaxforget.sparse import layout

    if options.data == "drawn":
        train, _ = _pairs.workload(options.interactions, 1, n_users=1500, n_items=1000)
        users, items = np.asarray(train.users), np.asarray(train.items)
    else:
        from jaxforget.data import movielens

        frame = movielens.read(options.root and Path(options.root), size=options.data)
        frame = frame[frame["value"] >= 4]
        users, items = (np.unique(frame[name], return_inverse=True)[1] for name in ("user", "item"))
        kept = np.random.default_rng(0).permutation(len(users))[: int(0.8 * len(users))]
        users, items = users[kept], items[kept]
    return layout.build(users, items, np.ones(len(users)))


def _heading(train, reg, dim, alpha):
    sizes = f"{train.n_users:,} x {train.n_items:,}, {len(train.users):,} pairs, confidence {alpha}"
    columns = (
        f"  {'bound':<7}{'unlearn':>10}{'steps':>7}{'proved':>10}{'cold':>10}{'steps':>7}"
        f"{f'{SWEEPS} passes':>12}{'in 32 bits':>12}{'cold / un.':>12}{'ALS / un.':>11}"
        f"{'32 / un.':>10}"
    )
    title = "Certified unlearning, seconds (medians) and ratios within a round"
    return _pairs.heading(title, f"{sizes}, reg {reg}, {dim} factors, float64") + columns


def _workload(train, reg, dim, alpha, share):
    import jax.numpy as jnp

    from jaxforget import als
    from jaxforget.methods import certified_als
    from jaxforget.models import ials
    from jaxforget.types import Factors

    rng = np.random.default_rng(1)
    after = np.ones(len(train.users))
    after[rng.permutation(len(after))[: max(1, int(share * len(after)))]] = 0

    @jax.jit
    def passes(start, train, weights):
        factors, _ = als.run(start, train, weights, n_sweeps=SWEEPS, reg=reg, alpha=alpha)
        return factors

    start = Factors(*(0.01 * rng.random((n, dim)) for n in (train.n_users, train.n_items)))
    wide = jax.tree.map(jnp.asarray, (start, train, after))
    narrow = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, wide)
    for start in (wide, narrow):
        _pairs.seconds(lambda start=start: passes(*start))  # compile, fill caches
    model = ials.build(dim=dim, reg=reg, alpha=alpha)
    fit = jax.jit(lambda tol, *data: certified_als.build(model, tol=tol).fit(*data))
    unlearn = jax.jit(lambda tol, *data: certified_als.build(model, tol=tol).unlearn(*data))
    return fit, unlearn, train, jnp.asarray(after), passes, wide, narrow


def _row(work, tol, runs):
    import jax.numpy as jnp

    from jaxforget.types import ForgetSet

    fit, unlearn, train, after, passes, wide, narrow = work
    key, ones = jax.random.key(0), jnp.ones_like(after)
    trained, _ = fit(tol, key, train, ones)
    rivals = {
        "unlearn": lambda: unlearn(tol, key, trained, train, ForgetSet(ones, after)),
        "cold": lambda: fit(tol, key, train, after),
        "passes": lambda: passes(*wide),
        "narrow": lambda: passes(*narrow),
    }
    results = {name: jax.block_until_ready(rivals[name]()) for name in ("unlearn", "cold")}
    infos = {name: info for name, (_, info) in results.items()}
    rounds = [{name: _pairs.seconds(rival) for name, rival in rivals.items()} for _ in range(runs)]
    middle = {name: statistics.median(r[name] for r in rounds) for name in rivals}
    ratio = {name: statistics.median(r[name] / r["unlearn"] for r in rounds) for name in rivals}
    warm, cold = infos["unlearn"], infos["cold"]
    proved = f"{warm['relative_bound']:.1e}" if warm["certified"] else "none"
    print(
        f"  {tol:<7.0e}{middle['unlearn']:>10.3f}{int(warm['steps']):>7}{proved:>10}"
        f"{middle['cold']:>10.3f}{int(cold['steps']):>7}{middle['passes']:>12.3f}"
        f"{middle['narrow']:>12.3f}{ratio['cold']:>12.2f}{ratio['passes']:>11.2f}{ratio['narrow']:>10.2f}",
        flush=True,
    )
