"""One full ALS pass and its memory, against ``implicit`` at equal threads, on two densities."""

import argparse
import functools
import os

import jax
import numpy as np

from jaxforget import als
from jaxforget.als import chunking

from ..errors import PROGRAM
from . import _pairs, influence
from ._options import count

REG, ALPHA = 0.1, 2.0


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} bench als", description=__doc__)
    parser.add_argument("--interactions", type=count, default=535_000)
    parser.add_argument("--dim", type=count, default=64)
    parser.add_argument("--runs", type=count, default=9)
    options = parser.parse_args(argv)
    _compare(options, options.interactions, {})
    print()
    _compare(
        options, influence.INTERACTIONS, {"n_users": influence.USERS, "n_items": influence.ITEMS}
    )
    return 0


def _compare(options, n, sizes):
    """Both solvers on one workload."""
    train, factors = _pairs.workload(n, options.dim, **sizes)
    terms = als.implicit(train, jax.numpy.ones_like(train.values), reg=REG, alpha=ALPHA)
    exact, steps = (
        jax.jit(functools.partial(als.alternate, cg_steps=n_steps)) for n_steps in (0, 3)
    )
    threads = os.cpu_count() or 1
    shape = f"{train.n_users:,} x {train.n_items:,}, {options.dim} factors, float32"
    shape += f", {threads} threads each"
    print(_pairs.heading("ALS pass, users then items", f"{n:,} interactions, {shape}"))
    print(_memory(exact.lower(factors, train, terms).compile().memory_analysis(), train, factors))
    try:
        cholesky, cg = _rivals(train, factors, threads)
    except ImportError:
        print("  implicit is not installed (pip install implicit): nothing to compare with")
        return
    for name, ours, theirs, target in (
        ("exact rows", exact, cholesky, "target 1.25x (time 0.8), aim 1.67x (0.6)"),
        ("CG, 3 steps", steps, cg, "target 1.11x (time 0.9), aim 1.43x (0.7)"),
    ):
        timing = _pairs.compare(lambda: ours(factors, train, terms), theirs, runs=options.runs)  # noqa: B023
        print(_pairs.line(name, "implicit", timing, target))


def _memory(analysis, train, factors):
    size = lambda tree: sum(x.nbytes for x in jax.tree.leaves(tree))  # noqa: E731
    dim = factors.users.shape[1]
    chunk = 4 * (2 * chunking.CPU.slots * dim + chunking.CPU.rows * dim * dim)
    peak = (
        analysis.temp_size_in_bytes
        + analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
    )
    base = size(train) + size(factors) + chunk
    return (
        f"  memory of one exact pass: {peak / 1e6:.1f} MB = {peak / base:.2f} x "
        f"(data {size(train) / 1e6:.1f} + factors {size(factors) / 1e6:.1f} + "
        f"chunk {chunk / 1e6:.1f} MB); target 1.5 x"
    )


def _rivals(train, factors, threads):
    import scipy.sparse
    from implicit.cpu import _als

    coordinates = (np.asarray(train.users), np.asarray(train.items))
    confidence = (ALPHA * np.asarray(train.values), coordinates)
    by_user = scipy.sparse.csr_matrix(confidence, shape=(train.n_users, train.n_items))
    by_item = by_user.T.tocsr()
    users, items = (np.array(x) for x in factors)
    sides = ((by_user, users, items), (by_item, items, users))

    def cholesky():
        for m, x, y in sides:
            _als._least_squares(y.T @ y, m.indptr, m.indices, m.data, x, y, REG, threads)

    def cg():
        for m, x, y in sides:
            _als._least_squares_cg(m.indptr, m.indices, m.data, x, y, REG, threads, 3)

    return cholesky, cg
