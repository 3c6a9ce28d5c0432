"""The sparse kernels against SciPy, ``segment_sum`` and the fused gather-dot."""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from jaxforget import sparse

from ..errors import PROGRAM
from . import _pairs
from ._options import count


@jax.jit
def by_segments(train, values, dense):
    return jax.ops.segment_sum(
        values[:, None] * dense[train.items], train.users, num_segments=train.n_users
    )


@jax.jit
def fused(train, left, right):
    return jnp.einsum("nd,nd->n", left[train.users], right[train.items])


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} bench kernels", description=__doc__)
    parser.add_argument("--interactions", type=count, default=500_000)
    parser.add_argument("--dim", type=count, default=64)
    parser.add_argument("--runs", type=count, default=9)
    options = parser.parse_args(argv)
    train, (left, right) = _pairs.workload(options.interactions, options.dim)
    values = train.values

    shape = (train.n_users, train.n_items)
    coordinates = (np.asarray(train.users), np.asarray(train.items))
    matrix = scipy.sparse.csr_matrix((np.asarray(values), coordinates), shape=shape)
    turned, users, items = matrix.T.tocsr(), np.asarray(left), np.asarray(right)

    def spmm(by, dense):
        return lambda: sparse.spmm(train, values, dense, by=by)

    def segments():
        return by_segments(train, values, right)

    def scores():
        return sparse.sddmm(train, left, right)

    scipy_name = "scipy CSR @ dense"
    rows = [
        ("spmm by user", spmm("user", right), scipy_name, lambda: matrix @ items, 3),
        ("spmm by item", spmm("item", left), scipy_name, lambda: turned @ users, 3),
        ("spmm by user", spmm("user", right), "segment_sum", segments, 10),
        ("sddmm", scores, "fused gather-dot", lambda: fused(train, left, right), 5),
    ]
    sizes = f"{options.interactions:,} interactions, {shape[0]:,} x {shape[1]:,}"
    sizes += f", {options.dim} factors, float32"
    print(_pairs.heading("sparse kernels: times faster than the rival, in turns", sizes, "scipy"))
    for name, ours, rival, theirs, target in rows:
        timing = _pairs.compare(ours, theirs, runs=options.runs, calls=10)
        print(_pairs.line(name, rival, timing, f"target {target}x"))
    return 0
