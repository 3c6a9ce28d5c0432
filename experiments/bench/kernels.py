"""The sparse kernels against SciPy, ``segment_sum`` and the fused gather-dot."""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from experiments.bench import _pairs
from jaxforget import sparse


@jax.jit
def by_segments(train, values, dense):
    return jax.ops.segment_sum(
        values[:, None] * dense[train.items], train.users, num_segments=train.n_users
    )


@jax.jit
def fused(train, left, right):
    return jnp.einsum("nd,nd->n", left[train.users], right[train.items])


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments bench kernels", description=__doc__
    )
    parser.add_argument("--interactions", type=int, default=500_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--runs", type=int, default=9)
    asked = parser.parse_args(argv)
    train, (left, right) = _pairs.workload(asked.interactions, asked.dim)
    values = train.values

    shape = (train.n_users, train.n_items)
    coordinates = (np.asarray(train.users), np.asarray(train.items))
    matrix = scipy.sparse.csr_matrix((np.asarray(values), coordinates), shape=shape)
    turned, users, items = matrix.T.tocsr(), np.asarray(left), np.asarray(right)

    def spmm(by, dense):
        return lambda: sparse.spmm(train, values, dense, by=by)

    rows = [
        (
            "spmm by user",
            spmm("user", right),
            "scipy CSR @ dense",
            lambda: matrix @ items,
            "target 3x",
        ),
        (
            "spmm by item",
            spmm("item", left),
            "scipy CSR @ dense",
            lambda: turned @ users,
            "target 3x",
        ),
        (
            "spmm by user",
            spmm("user", right),
            "segment_sum",
            lambda: by_segments(train, values, right),
            "target 10x",
        ),
        (
            "sddmm",
            lambda: sparse.sddmm(train, left, right),
            "fused gather-dot",
            lambda: fused(train, left, right),
            "target 5x",
        ),
    ]
    sizes = f"{asked.interactions:,} interactions, {shape[0]:,} x {shape[1]:,}, {asked.dim} factors, float32"
    print(_pairs.heading("sparse kernels: times faster than the rival, in turns", sizes, "scipy"))
    for name, ours, rival, theirs, target in rows:
        found = _pairs.compare(ours, theirs, runs=asked.runs, calls=10)
        print(_pairs.line(name, rival, found, target))
    return 0
