"""The two kernels equal dense products, in value and in every derivative and batching."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxforget import als, metrics, sparse
from jaxforget.sparse import bodies, kernels, layout
from jaxforget.sparse.arithmetic import ratio
from jaxforget.types import Factors

U, I, D = 12, 10, 3


def arrays(toy, width=D):
    rng = np.random.default_rng(1)
    shapes = (toy.users.shape, (U, width), (I, width))
    return tuple(jnp.asarray(rng.normal(size=shape)) for shape in shapes)


def through_kernels(train, params):
    values, left, right = params
    users = jnp.sin(sparse.spmm(train, values, right, by="user"))
    items = sparse.spmm(train, values * values, left, by="item")
    return jnp.sum(jnp.tanh(sparse.sddmm(train, users, items)))


def through_dense(train, params):
    values, left, right = params

    def matrix(entries):
        return jnp.zeros((U, I)).at[train.users, train.items].add(entries)

    users = jnp.sin(matrix(values) @ right)
    items = matrix(values * values).T @ left
    return jnp.sum(jnp.tanh((users @ items.T)[train.users, train.items]))


def close(a, b, tol=1e-11):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tol, atol=tol), a, b)


@pytest.mark.parametrize("width", [0, 1, D, 9])  # on a CPU few columns are padded for spmm
def test_products_equal_dense_products_in_both_orientations(toy, width):
    values, left, right = arrays(toy, width)
    matrix = oracles.dense(toy, values)
    close(sparse.spmm(toy, values, right, by="user"), matrix @ np.asarray(right))
    close(sparse.spmm(toy, values, left, by="item"), matrix.T @ np.asarray(left))
    scores = np.asarray(left) @ np.asarray(right).T
    close(sparse.sddmm(toy, left, right), scores[np.asarray(toy.users), np.asarray(toy.items)])


@pytest.mark.parametrize("width", [D, 32, 48, 64])  # those in between are padded on a CPU
def test_sddmm_equals_a_loop_over_more_pairs_than_one_chunk(width, monkeypatch):
    monkeypatch.setattr(bodies, "BLOCK_BYTES", 1 << 18)
    rng = np.random.default_rng(0)
    n = 2 * (1 << 18) // (8 * width) + 17  # three chunks at least, the last one not full
    pairs = rng.permutation(500 * 60)[:n]
    train = layout.build(pairs // 60, pairs % 60, np.ones(n), n_users=500, n_items=60)
    left, right = rng.normal(size=(500, width)), rng.normal(size=(60, width))
    want = [left[u] @ right[i] for u, i in zip(train.users.tolist(), train.items.tolist())]
    left, right = jnp.asarray(left), jnp.asarray(right)
    close(sparse.sddmm(train, left, right), np.array(want))
    monkeypatch.setattr(bodies, "TPU_BLOCK_BYTES", 1 << 18)
    close(bodies.sddmm_in_blocks(left, right, *kernels.indices(train), shape=(500, 60)), want)


def test_the_accelerator_bodies_equal_the_cpu_bodies(toy):
    values, left, right = arrays(toy)
    indices, shape = kernels.indices(toy), (U, I)
    for by, dense in (("user", right), ("item", left)):
        fast = bodies.spmm_csr(values, dense, *indices, by=by, shape=shape)
        close(fast, bodies.spmm_segment(values, dense, *indices, by=by, shape=shape))
    fast = bodies.sddmm_chunked(left, right, *indices, shape=shape)
    close(fast, bodies.sddmm_gathered(left, right, *indices, shape=shape))
    close(fast, bodies.sddmm_in_blocks(left, right, *indices, shape=shape))


@pytest.mark.parametrize("limit", [layout.LIMIT, 100])  # beyond it, one matrix after the other
def test_the_accelerator_bodies_take_a_batch_as_blocks_of_one_matrix(toy, limit, monkeypatch):
    monkeypatch.setattr(layout, "LIMIT", limit)
    values, left, right = arrays(toy)
    mask = jnp.arange(len(toy.users)) % 3 > 0
    smaller = sparse.compact.compact(toy, mask)[0]  # with padding, at both ends
    tables = [kernels.indices(table) for table in (toy, smaller, toy)]
    indices = [jnp.stack(column) for column in zip(*tables)]
    scaled = [jnp.stack([x, 2 * x, 3 * x]) for x in (values, left, right)]
    shape = (toy.n_users, toy.n_items)
    for body, pair, more in (
        (bodies.spmm_segment, (scaled[0], scaled[2]), {"by": "user"}),
        (bodies.spmm_segment, (scaled[0], scaled[1]), {"by": "item"}),
        (bodies.sddmm_gathered, (scaled[1], scaled[2]), {}),
    ):
        found = bodies.block_diagonal(body, [*pair, *indices], shape=shape, **more)
        for number in range(3):
            one = [x[number] for x in (*pair, *indices)]
            close(found[number], body(*one, shape=shape, **more))


def test_padding_keeps_the_pairs_of_both_sides_in_order(toy):
    mask = jnp.arange(len(toy.users)) % 3 > 0
    smaller = sparse.compact.compact(toy, mask)[0]
    assert np.all(np.diff(smaller.users) >= 0)
    assert np.all(np.diff(smaller.items[smaller.by_item.order]) >= 0)


def test_gradients_of_values_and_of_dense_arguments_equal_dense_autodiff(toy):
    params = arrays(toy)
    got = jax.grad(lambda p: through_kernels(toy, p))(params)
    close(got, jax.grad(lambda p: through_dense(toy, p))(params))


@pytest.mark.parametrize("jit", [False, True])
def test_forward_over_reverse_equals_dense_autodiff(toy, jit):
    params = arrays(toy)
    direction = jax.tree.map(jnp.cos, params)

    def product(loss):
        return lambda train, p, v: jax.jvp(jax.grad(lambda q: loss(train, q)), (p,), (v,))[1]

    got = product(through_kernels)
    got = jax.jit(got) if jit else got
    close(got(toy, params, direction), product(through_dense)(toy, params, direction))


@pytest.mark.parametrize("outer", [jax.jacfwd, jax.jacrev])
@pytest.mark.parametrize("inner", [jax.jacfwd, jax.jacrev])
def test_any_order_of_forward_and_reverse_gives_the_dense_hessian(toy, outer, inner):
    params = arrays(toy)
    got = jax.jit(outer(inner(lambda p: through_kernels(toy, p))))(params)
    want = jax.jit(jax.hessian(lambda p: through_dense(toy, p)))(params)
    close(got, want, tol=1e-10)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 1)])
def test_vmap_over_either_argument_equals_a_loop(toy, axes):
    values, _, right = arrays(toy)
    many = [
        jnp.stack([x, 2 * x, x * x], a or 0) if a is not None else x
        for x, a in zip((values, right), axes)
    ]
    got = jax.vmap(lambda v, d: sparse.spmm(toy, v, d, by="user"), axes)(*many)
    for k in range(3):
        one = [x if a is None else jnp.take(x, k, axis=a) for x, a in zip(many, axes)]
        close(got[k], sparse.spmm(toy, *one, by="user"))


def test_map_and_nested_vmap_of_a_hessian_product_equal_a_loop(toy):
    params = arrays(toy)
    directions = jax.tree.map(lambda x: jnp.stack([x, 2 * x, jnp.cos(x)]), params)

    def product(v):
        return jax.jvp(jax.grad(lambda p: through_kernels(toy, p)), (params,), (v,))[1]

    product = jax.jit(product)
    want = [product(jax.tree.map(lambda x, k=k: x[k], directions)) for k in range(3)]
    want = jax.tree.map(lambda *x: jnp.stack(x), *want)
    close(jax.vmap(product)(directions), want)
    close(jax.lax.map(product, directions), want)
    twice = jax.tree.map(lambda x: jnp.stack([x, x]), directions)
    nested = jax.vmap(jax.vmap(product))(twice)
    close(jax.tree.map(lambda x: x[1], nested), want)


def test_value_zero_equals_never_loaded(toy):
    values, left, right = arrays(toy)
    weights = jnp.asarray(np.random.default_rng(2).integers(0, 2, 60).astype(float))
    kept = oracles.without(toy, weights, layout.build)
    inside = values[weights > 0]
    for by, dense in (("user", right), ("item", left)):
        got = sparse.spmm(toy, values * weights, dense, by=by)
        close(got, sparse.spmm(kept, inside, dense, by=by), tol=1e-10)
    gradient = jax.grad(lambda x: jnp.sum(weights * jnp.tanh(sparse.sddmm(toy, x, right))))(left)
    want = jax.grad(lambda x: jnp.sum(jnp.tanh(sparse.sddmm(kept, x, right))))(left)
    close(gradient, want, tol=1e-10)


def test_products_are_bit_stable(toy):
    values, _, right = arrays(toy)
    runs = {np.asarray(sparse.spmm(toy, values, right, by="user")).tobytes() for _ in range(20)}
    assert len(runs) == 1


def test_float32_stays_float32(toy):
    values, left, right = (x.astype(jnp.float32) for x in arrays(toy))
    assert sparse.spmm(toy, values, right, by="user").dtype == jnp.float32
    assert sparse.sddmm(toy, left, right).dtype == jnp.float32


def test_a_wrong_shape_side_or_dtype_is_one_clear_error(toy):
    values, left, right = arrays(toy)
    with pytest.raises(ValueError, match="dense must be float64"):
        sparse.spmm(toy, values, left, by="user")
    with pytest.raises(ValueError, match="by must be 'user' or 'item'; got 'row'"):
        sparse.spmm(toy, values, right, by="row")
    with pytest.raises(ValueError, match="values must be"):
        sparse.spmm(toy, values[1:], right, by="user")
    with pytest.raises(ValueError, match="left must be float32"):
        sparse.sddmm(toy, left, right.astype(jnp.float32))


@pytest.mark.parametrize("otherwise", [None, 0.0, np.inf])
def test_what_is_divided_by_an_overflow_is_not_known(otherwise):
    """It was 0: models of large scores seemed identical, and descents converged."""
    a, b = jnp.array([6.0, 6.0, 0.0, 6.0]), jnp.array([3.0, np.inf, np.inf, np.nan])
    found = jax.jit(functools.partial(ratio, otherwise=otherwise))(a, b)
    assert found[0] == 2 and np.isnan(found[1:]).all()


def test_models_and_descents_whose_sizes_overflow_are_not_compared():
    large = Factors(jnp.full((3, 2), 3e9, jnp.float32), jnp.full((4, 2), 3e9, jnp.float32))
    further = Factors(large.users * 1.01, large.items)
    assert np.isnan(metrics.prediction_distance(further, large))
    row = jnp.full((1, 1), 3e6, jnp.float32)
    train = layout.build([0], [0], [1e13])
    train = dataclasses.replace(train, values=train.values.astype(jnp.float32))
    terms = als.explicit(train, jnp.ones(1, jnp.float32), reg=1.0)
    assert np.isnan(als.optimality(Factors(row, row), train, terms))
