"""Propagation equals powers of the dense normalised graph; compacted interactions sum alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxforget import sparse
from jaxforget.gradient import graph
from jaxforget.sparse import bodies, kernels, layout
from jaxforget.sparse.compact import compact

factors = functools.partial(oracles.factors, dim=3)


def some(train, seed=5, share=0.7):
    return jnp.asarray((np.random.default_rng(seed).random(len(train.users)) < share).astype(float))


def operator(train, edges, n_layers):
    """``mean_l A^l`` as a dense matrix over users, then items."""
    block = oracles.dense(train, np.asarray(edges) * (np.asarray(train.values) > 0))
    n = train.n_users
    adjacency = np.zeros((n + train.n_items,) * 2)
    adjacency[:n, n:], adjacency[n:, :n] = block, block.T
    degree = adjacency.sum(1)
    root = np.array([1 / np.sqrt(d) if d > 0 else 0.0 for d in degree])
    normal = root[:, None] * adjacency * root[None, :]
    powers = [np.linalg.matrix_power(normal, k) for k in range(n_layers + 1)]
    return sum(powers) / (n_layers + 1)


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_propagation_equals_the_mean_of_powers_of_the_dense_normalised_graph(labelled, n_layers):
    f, edges = factors(labelled), some(labelled)
    out = graph.propagate(f, labelled, edges, n_layers=n_layers)
    want = operator(labelled, edges, n_layers) @ np.concatenate(f)
    np.testing.assert_allclose(np.concatenate(out), want, atol=1e-12)


def test_a_forgotten_edge_leaves_the_graph_built_from_retained_data_alone(labelled):
    f, edges = factors(labelled), some(labelled).at[jnp.where(labelled.users == 5)[0]].set(0.0)
    kept = oracles.without(labelled, edges, layout.build)
    ones = jnp.ones(len(kept.users))
    got = graph.propagate(f, labelled, edges, n_layers=2)
    want = graph.propagate(f, kept, ones, n_layers=2)
    np.testing.assert_allclose(np.concatenate(got), np.concatenate(want), atol=1e-13)
    weights = graph.normalise(labelled, edges)
    np.testing.assert_allclose(weights[edges > 0], graph.normalise(kept, ones), atol=1e-14)
    assert np.all(weights[edges == 0] == 0)
    np.testing.assert_array_equal(got.users[5], f.users[5] / 3)  # isolated now: its own layer alone


def test_propagation_is_its_own_transpose(labelled):
    a, b, edges = factors(labelled), factors(labelled, seed=1), some(labelled)

    def spread(f):
        return graph.propagate(f, labelled, edges, n_layers=2)

    pulled = jax.linear_transpose(spread, a)(b)[0]
    np.testing.assert_allclose(np.concatenate(pulled), np.concatenate(spread(b)), atol=1e-13)


def test_links_propagate_like_the_graph_they_come_from(labelled):
    f, edges = factors(labelled), some(labelled)
    links = jax.jit(graph.links)(labelled, edges)
    got = graph.spread(f, links, n_layers=2)
    want = graph.propagate(f, labelled, edges, n_layers=2)
    np.testing.assert_allclose(np.concatenate(got), np.concatenate(want), atol=1e-13)
    assert int(links.train.by_user.indptr[-1]) == int(jnp.sum(edges * labelled.values))


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_compacted_interactions_give_the_same_sums_on_every_kernel_body(labelled, share):
    kept = some(labelled, share=share) > 0
    smaller, places = jax.jit(compact)(labelled, kept)
    f, values = factors(labelled), jnp.asarray(np.random.default_rng(2).normal(size=60))
    moved = values.at[places].get(mode="fill", fill_value=0)
    for by, rows in (("user", f.items), ("item", f.users)):
        want = oracles.dense(labelled, np.asarray(values) * np.asarray(kept))
        want = (want if by == "user" else want.T) @ np.asarray(rows)
        np.testing.assert_allclose(sparse.spmm(smaller, moved, rows, by=by), want, atol=1e-12)
        accelerator = bodies.spmm_segment(
            moved, rows, *kernels.indices(smaller), by=by, shape=kernels.shape_of(smaller)
        )
        np.testing.assert_allclose(accelerator, want, atol=1e-12)
    scores = sparse.sddmm(smaller, *f)[: int(kept.sum())]
    np.testing.assert_allclose(scores, sparse.sddmm(labelled, *f)[kept], atol=1e-13)
