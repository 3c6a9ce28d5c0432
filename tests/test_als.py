"""Alternating least squares equals dense normal equations, row by row and pass by pass."""

import dataclasses
import functools
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxforget import als, models, sparse
from jaxforget.als import chunking, confidence, row_chunks, rows
from jaxforget.sparse import dense, layout
from jaxforget.types import Factors

REG, ALPHA, D = 0.7, 4.0, 3


factors = functools.partial(oracles.factors, dim=D)


def some(train, seed=5):
    weights = np.random.default_rng(seed).integers(0, 2, len(train.users)).astype(float)
    return jnp.asarray(weights)


def close(a, b, tol=1e-10):
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


def converge(train, weights, start, *, reg, sweeps=4000):
    terms = als.implicit(train, weights, reg=reg, alpha=ALPHA)
    return als.descend(start, train, terms, max_sweeps=sweeps, tol=1e-13)[0]


def scores(f):
    return np.asarray(f.users) @ np.asarray(f.items).T


def planted(seed=0, shape=(30, 24)):
    """A low-rank pattern with noise, as unlearn_als experiments use: 15 % positives."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(shape[0], 4)) @ rng.normal(size=(4, shape[1])) + rng.normal(size=shape)
    users, items = np.nonzero(truth > np.quantile(truth, 0.85))
    return layout.build(
        users, items, rng.uniform(5, 9, len(users)) / ALPHA, n_users=shape[0], n_items=shape[1]
    )


# --- rows and sweeps -----------------------------------------------------------------------------


def test_one_row_equals_the_dense_solve(toy):
    fixed = np.asarray(factors(toy).items)
    c, p = oracles.implicit_dense(toy, np.ones(60), ALPHA)
    slots = np.flatnonzero(np.asarray(toy.users) == 5)
    got = als.solve_row(
        jnp.asarray(fixed),
        jnp.asarray(fixed.T @ fixed),
        toy.items[slots],
        jnp.ones(len(slots)),
        ALPHA * toy.values[slots],
        REG,
    )
    close(got, oracles.implicit_row(fixed, c[5], p[5], REG))


@pytest.mark.parametrize("budget", [chunking.Budget(4, 1), chunking.Budget(20, 3), chunking.CPU])
def test_all_rows_equal_the_dense_solves_whatever_the_chunks(toy, budget, monkeypatch):
    monkeypatch.setattr(chunking, "CPU", budget)  # 4 slots are fewer than the longest history
    jax.clear_caches()
    start, weights = factors(toy), some(toy)
    c, p = oracles.implicit_dense(toy, weights, ALPHA)
    users, items = oracles.implicit_sweep(*map(np.asarray, start), c, p, REG)
    got = als.sweep(start, toy, weights, reg=REG, alpha=ALPHA)
    close(got.users, users)
    close(got.items, items)
    jax.clear_caches()


@pytest.mark.parametrize("by", ["user", "item"])
def test_the_accelerator_body_equals_the_cpu_body(toy, by):
    f, terms = factors(toy), als.implicit(toy, some(toy), reg=REG, alpha=ALPHA)
    side, fixed = (toy.by_user, f.items) if by == "user" else (toy.by_item, f.users)
    targets = sparse.spmm(toy, terms.target, fixed, by=by)
    weights = (terms.curvature[side.order], terms.target[side.order])
    ridge = terms.ridge_users if by == "user" else terms.ridge_items
    rest = (targets, ridge, fixed.T @ fixed, side, fixed)
    want = row_chunks.on_accelerator(weights[0], *rest)
    for n_short in range(len(side.widths) + 1):
        close(row_chunks.on_cpu(*weights, *rest, n_short), want)


def skewed(n_users=2000, n_items=300, n=30_000):
    """A few rows have most interactions, as in every real data set."""
    rng = np.random.default_rng(0)
    weights = [(np.arange(size) + 3.0) ** -1.0 for size in (n_users, n_items)]
    drawn = [rng.choice(len(w), n, p=w / w.sum()) for w in weights]
    users, items = np.divmod(np.unique(drawn[0] * n_items + drawn[1]), n_items)
    return layout.build(users, items, np.ones(len(users)), n_users=n_users + 5, n_items=n_items)


@pytest.mark.parametrize("by", [pytest.param("user", marks=pytest.mark.slow), "item"])
def test_groups_of_an_accelerator_that_walk_along_many_tiles_equal_the_dense_solves(
    by, monkeypatch
):
    """One by one and batched; five users without interactions stay exactly 0."""
    monkeypatch.setattr(chunking, "BANDS", ((8, 64, 4), (64, 64, 16), (layout.LIMIT, 4, 32)))
    train = skewed()
    side, n_fixed = (train.by_user, 300) if by == "user" else (train.by_item, train.n_users)
    rng = np.random.default_rng(1)
    fixed = jnp.asarray(rng.normal(size=(2, n_fixed, 5)))
    weights = jnp.asarray(rng.integers(0, 3, (2, len(train.users))).astype(float))
    rhs = jax.vmap(lambda w, y: sparse.spmm(train, w, y, by=by))(weights, fixed)
    ridge = jnp.full(len(side.ranked), 0.3)
    grams = jnp.einsum("bnd,bne->bde", fixed, fixed)

    def solve(w, b, gram, y):
        return row_chunks.on_accelerator(w[side.order], b, ridge, gram, side, y)

    got = jax.jit(jax.vmap(solve))(weights, rhs, grams, fixed)
    for b in range(2):
        dense = oracles.dense(train, weights[b])
        for row, w in enumerate(dense if by == "user" else dense.T):
            lhs = grams[b] + (fixed[b].T * w[None]) @ fixed[b] + 0.3 * np.eye(5)
            close(got[b, row], np.linalg.solve(lhs, rhs[b, row]), 1e-9)
        close(got[b], solve(weights[b], rhs[b], grams[b], fixed[b]), 1e-12)
    assert by == "item" or np.all(np.asarray(got[:, -5:]) == 0)


@pytest.mark.parametrize("by", ["user", "item"])
def test_an_accelerator_computes_little_for_padding(by):
    """Entries read per interaction, and matrices factorised per row."""
    train = skewed(6000, 4000, 600_000)
    side = train.by_user if by == "user" else train.by_item
    lengths = np.diff(side.indptr)[np.asarray(side.ranked)]
    slots = matrices = loops = 0
    for band in chunking.bands(side, 64):
        first, end = (int(side.starts[k]) for k in (band.classes.start, band.classes.stop))
        loops += 2
        for start in range(first, end, band.rows):
            longest = lengths[start : min(end, start + band.rows)].max()
            slots += band.rows * band.step * -(-longest // band.step)
            matrices += band.rows
    assert loops <= 4
    assert slots / len(train.users) < 9 and matrices / len(lengths) < 1.3


@pytest.mark.parametrize("alpha", [0.05, 1.0, 40.0])  # of values up to 3: curvature of either sign
@pytest.mark.parametrize("build", [als.implicit, als.explicit])
def test_short_rows_equal_the_dense_solves_whatever_their_length(build, alpha):
    rng = np.random.default_rng(0)
    lengths = [0, 1, 2, 4, 5, 8, 11, 16, 17, 24, 32, 33]  # every width, full and not
    users = np.repeat(np.arange(12), lengths)
    items = np.concatenate([rng.permutation(60)[:n] for n in lengths])
    values = rng.uniform(1, 3, len(users))
    train = layout.build(users, items, values, n_users=12, n_items=60)
    fixed = rng.normal(size=(60, 66))  # rows of up to 33 interactions are short
    weights = jnp.asarray(rng.integers(0, 2, len(users)).astype(float))
    options = {"alpha": alpha} if build is als.implicit else {}
    terms = build(train, weights, reg=0.3, nu=0.5, **options)
    got = als.half_sweep(jnp.asarray(fixed), train, terms, by="user")
    curvature, target = (oracles.dense(train, x) for x in (terms.curvature, terms.target))
    gram = float(terms.unobserved) * fixed.T @ fixed
    for user, ridge in enumerate(terms.ridge_users.tolist()):
        lhs = gram + fixed.T @ np.diag(curvature[user]) @ fixed + ridge * np.eye(66)
        close(got[user], np.linalg.solve(lhs, fixed.T @ target[user]), 1e-9)
    assert np.all(np.asarray(got[0]) == 0)


@pytest.mark.parametrize(("reg", "alpha"), [(1e-3, 40.0), (10.0, 2.0)])
def test_short_rows_are_at_least_as_exact_in_float32_as_normal_matrices(reg, alpha, monkeypatch):
    rng = np.random.default_rng(0)
    items = np.concatenate([rng.permutation(300)[:20] for _ in range(40)])
    train = layout.build(np.repeat(np.arange(40), 20), items, np.ones(800), n_items=300)
    fixed = jnp.asarray(rng.random((train.n_items, 64)))  # ill-conditioned: all of one sign
    terms = als.implicit(train, jnp.ones(800), reg=reg, alpha=alpha)
    want = als.half_sweep(fixed, train, terms, by="user")
    narrow = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == float else x, terms)

    def error():
        jax.clear_caches()
        got = als.half_sweep(fixed.astype(jnp.float32), train, narrow, by="user")
        return np.linalg.norm(np.asarray(got, float) - want) / np.linalg.norm(want)

    short = error()
    monkeypatch.setattr(rows, "LONGEST_SHORT", 0)
    assert short <= 1.5 * error()
    jax.clear_caches()


def test_many_cg_steps_equal_cholesky_and_an_emptied_row_is_zero(toy):
    f = factors(toy)
    terms = als.implicit(toy, some(toy), reg=REG, alpha=ALPHA)
    exact = als.half_sweep(f.items, toy, terms, by="user")
    steps = als.half_sweep(f.items, toy, terms, by="user", cg_steps=D + 1, start=f.users)
    close(steps, exact, 1e-8)
    assert np.all(np.asarray(steps[3]) == 0) and np.all(np.asarray(exact[3]) == 0)


def test_cg_steps_without_rows_to_start_from_are_refused(toy):
    terms = als.implicit(toy, some(toy), reg=REG, alpha=ALPHA)
    with pytest.raises(ValueError, match="give start"):
        als.half_sweep(factors(toy).items, toy, terms, by="user", cg_steps=2)


@pytest.mark.parametrize("by", ["user", "item"])
@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_each_cg_step_is_that_of_a_dense_loop(toy, by, n_steps):
    f, weights = oracles.factors(toy, dim=6), some(toy)
    terms = als.implicit(toy, weights, reg=REG, alpha=ALPHA)
    fixed, start = (f.items, f.users) if by == "user" else (f.users, f.items)
    got = als.half_sweep(fixed, toy, terms, by=by, cg_steps=n_steps, start=start)
    c, p = oracles.implicit_dense(toy, weights, ALPHA)
    confidence, preference = (c, p) if by == "user" else (c.T, p.T)
    fixed = np.asarray(fixed)
    for row, first in enumerate(np.asarray(start)):
        matrix = (fixed.T * confidence[row]) @ fixed + REG * np.eye(6)
        target = fixed.T @ (confidence[row] * preference[row])
        x = first if np.any(target) else 0 * first
        r = p = target - matrix @ x
        for _ in range(n_steps if np.any(target) else 0):
            length = r @ r / (p @ matrix @ p)
            x, old, r = x + length * p, r, r - length * matrix @ p
            p = r + r @ r / (old @ old) * p
        close(got[row], x, 1e-9)


def test_vmap_of_a_row_solve_is_a_loop_of_single_solves(toy):
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(2, 5, D, D))
    matrices = jnp.asarray(roots @ roots.swapaxes(-1, -2) + np.eye(D))
    rhs = jnp.asarray(rng.normal(size=(2, 5, D)))
    want = np.linalg.solve(matrices, np.asarray(rhs)[..., None])[..., 0]
    close(jax.vmap(jax.vmap(dense.solve_spd))(matrices, rhs), want)
    shared = jax.vmap(dense.solve_spd, (None, 0))(matrices[0, 0], rhs[0])
    close(shared, np.linalg.solve(matrices[0, 0], np.asarray(rhs[0]).T).T)
    text = jax.jit(jax.vmap(dense.solve_spd)).lower(matrices[0], rhs[0]).as_text()
    assert f"tensor<5x{D}x{D}xf64>" not in "".join(x for x in text.splitlines() if "potrf" in x)


def test_the_result_of_an_exact_sweep_does_not_depend_on_the_users_passed_in(toy):
    start = factors(toy)
    other = start._replace(users=100 * start.users)
    one, two = (als.sweep(f, toy, some(toy), reg=REG, alpha=ALPHA) for f in (start, other))
    assert np.array_equal(one.users, two.users) and np.array_equal(one.items, two.items)


def test_explicit_rows_equal_ridge_regressions_with_counted_penalties(toy):
    f, weights = factors(toy), some(toy)
    terms = als.explicit(toy, weights, reg=REG, nu=1.0)
    got = np.asarray(als.half_sweep(f.items, toy, terms, by="user"))
    ratings, seen = oracles.dense(toy, weights * toy.values), oracles.dense(toy, weights)
    for user in range(12):
        rated = np.asarray(f.items)[seen[user] > 0]
        ridge = REG * max(len(rated), 1) * np.eye(D)
        want = np.linalg.solve(rated.T @ rated + ridge, rated.T @ ratings[user][seen[user] > 0])
        close(got[user], want)


@pytest.mark.parametrize(("nu", "unobserved"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.3)])
def test_ridges_follow_the_counts_of_what_is_remembered(toy, nu, unobserved):
    weights = some(toy)
    terms = als.implicit(toy, weights, reg=REG, alpha=ALPHA, nu=nu, unobserved=unobserved)
    counts = oracles.dense(toy, weights).sum(1) + unobserved * 10
    want = np.where(counts > 0, REG * np.maximum(counts, 1e-300) ** nu, REG)
    close(terms.ridge_users, want if nu else np.full(12, REG))


# --- objective, residual, invariances ------------------------------------------------------------


def test_the_objective_equals_the_dense_sum_over_all_cells(toy):
    f, weights = factors(toy), some(toy)
    want = oracles.implicit_objective(*f, *oracles.implicit_dense(toy, weights, ALPHA), REG)
    close(als.objective(f, toy, weights, reg=REG, alpha=ALPHA), want)


def test_a_masked_objective_is_that_of_the_retained_data(toy):
    f, weights = factors(toy), some(toy)
    kept = oracles.without(toy, weights, layout.build)
    ones = jnp.ones(len(kept.users))
    for measure in (als.objective, als.residual):
        got = measure(f, toy, weights, reg=REG, alpha=ALPHA)
        close(got, measure(f, kept, ones, reg=REG, alpha=ALPHA))


@pytest.mark.parametrize("nu", [0.0, 1.0])
@pytest.mark.parametrize("build", [als.implicit, als.explicit])
def test_weight_zero_equals_never_loaded(toy, build, nu):
    options = {"reg": REG, "nu": nu} | ({"alpha": ALPHA} if build is als.implicit else {})
    weights, start = some(toy), factors(toy)
    kept = oracles.without(toy, weights, layout.build)
    ones = jnp.ones(len(kept.users))
    for cg_steps in (0, 2):
        masked, _ = als.descend(
            start, toy, build(toy, weights, **options), max_sweeps=5, cg_steps=cg_steps
        )
        loaded, _ = als.descend(
            start, kept, build(kept, ones, **options), max_sweeps=5, cg_steps=cg_steps
        )
        close(masked.users, loaded.users)
        close(masked.items, loaded.items)


def test_the_gradient_by_autodiff_is_twice_the_gap_of_the_normal_equations(toy):
    f, weights = factors(toy), some(toy)
    gradient = jax.grad(lambda f: als.objective(f, toy, weights, reg=REG, alpha=ALPHA))(f)
    c, p = oracles.implicit_dense(toy, weights, ALPHA)
    users, items = map(np.asarray, f)
    for u in range(12):
        lhs = items.T @ np.diag(c[u]) @ items + REG * np.eye(D)
        close(gradient.users[u], 2 * (lhs @ users[u] - items.T @ (c[u] * p[u])))
    size = sum(
        np.sum((m @ (c * p if k else (c * p).T).T) ** 2) for k, m in ((1, items.T), (0, users.T))
    )
    norm = np.sqrt(sum(np.sum(np.asarray(g) ** 2) for g in gradient)) / 2
    close(als.residual(f, toy, weights, reg=REG, alpha=ALPHA), norm / np.sqrt(size))


def test_the_objective_never_increases_over_exact_half_sweeps(toy):
    terms = als.implicit(toy, some(toy), reg=REG, alpha=ALPHA)
    f = factors(toy)
    costs = [als.cost(f, toy, terms)]
    for _ in range(6):
        f = f._replace(users=als.half_sweep(f.items, toy, terms, by="user"))
        costs.append(als.cost(f, toy, terms))
        f = f._replace(items=als.half_sweep(f.users, toy, terms, by="item"))
        costs.append(als.cost(f, toy, terms))
    assert np.all(np.diff(costs) <= 1e-10)


def test_an_orthogonal_turn_changes_neither_objective_nor_residual(toy):
    f, weights = factors(toy), some(toy)
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(3).normal(size=(D, D)))[0])
    turned = Factors(f.users @ turn, f.items @ turn)
    for measure in (als.objective, als.residual):
        close(*(measure(x, toy, weights, reg=REG, alpha=ALPHA) for x in (f, turned)))


@pytest.mark.slow
def test_factors_are_balanced_at_convergence():
    train = planted()
    f = converge(train, jnp.ones(len(train.users)), factors(train, dim=8), reg=8.0)
    close(f.users.T @ f.users, f.items.T @ f.items, 1e-7)


# --- what makes unlearning exact --------------------------------------------------------------


@pytest.mark.slow
def test_warm_and_cold_starts_reach_one_optimum_where_the_rank_is_large_enough():
    train = planted()
    weights = jnp.asarray((np.random.default_rng(1).random(len(train.users)) > 0.1).astype(float))
    full = converge(train, jnp.ones(len(train.users)), factors(train, dim=24), reg=14.0)
    warm = converge(train, weights, full, reg=14.0)
    cold = converge(train, weights, factors(train, dim=24, seed=7), reg=14.0)
    assert np.linalg.norm(scores(warm) - scores(cold)) < 1e-8 * np.linalg.norm(scores(cold))
    c, p = oracles.implicit_dense(train, weights, ALPHA)
    top = np.linalg.svd(c * (p - scores(cold)), compute_uv=False)[0]
    close(top / 14.0, 1.0, 1e-8)  # sigma_max(G) = reg: the optimum over all matrices


@pytest.mark.slow
def test_two_requests_in_turn_equal_both_at_once_where_the_rank_is_large_enough():
    train = planted()
    drawn = np.random.default_rng(2).random(len(train.users))
    first, both = (jnp.asarray((drawn > share).astype(float)) for share in (0.05, 0.1))
    full = converge(train, jnp.ones(len(train.users)), factors(train, dim=24), reg=14.0)
    in_turn = converge(train, both, converge(train, first, full, reg=14.0), reg=14.0)
    at_once = converge(train, both, full, reg=14.0)
    assert np.linalg.norm(scores(in_turn) - scores(at_once)) < 1e-8 * np.linalg.norm(
        scores(at_once)
    )


def test_an_emptied_user_is_zero_and_the_others_are_those_of_a_model_without_the_row(toy):
    weights = (toy.users != 5).astype(float)
    f, _ = als.run(factors(toy), toy, weights, n_sweeps=7, reg=REG, alpha=ALPHA)
    assert np.all(np.asarray(f.users[5]) == 0)
    users = np.asarray(toy.users)
    rest = users[users != 5]
    renumbered = rest - (rest > 5)
    smaller = layout.build(
        renumbered,
        *(np.asarray(x)[users != 5] for x in (toy.items, toy.values)),
        n_users=11,
        n_items=10,
    )
    start = factors(toy)
    start = start._replace(users=jnp.delete(start.users, 5, axis=0))
    g, _ = als.run(start, smaller, jnp.ones(len(rest)), n_sweeps=7, reg=REG, alpha=ALPHA)
    close(jnp.delete(f.users, 5, axis=0), g.users)
    close(f.items, g.items)


@pytest.mark.parametrize("removed", [[1], [0, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize("explicit", [False, True])
def test_a_downdated_row_equals_the_row_solved_anew(removed, explicit):
    rng = np.random.default_rng(0)
    y, values = rng.normal(size=(5, D)), rng.uniform(2, 5, 5)
    gram = np.zeros((D, D)) if explicit else (items := rng.normal(size=(9, D))).T @ items
    a = np.ones(5) if explicit else values - 1

    def solve(kept):
        lhs = gram + y[kept].T @ np.diag(a[kept]) @ y[kept] + REG * np.eye(D)
        return np.linalg.inv(lhs), np.linalg.solve(lhs, y[kept].T @ values[kept])

    inverse, x = solve(list(range(5)))
    want = solve([k for k in range(5) if k not in removed])
    args = (inverse, x, y[removed], a[removed], values[removed])
    got = als.downdate_row(*(jnp.asarray(v) for v in args))
    close(got[0], want[0])
    close(got[1], want[1])


def test_bm25_equals_implicit_and_forgets_the_statistics_of_what_is_forgotten(toy):
    weights = some(toy)
    got = confidence.bm25(toy, weights, b=0.9, k1=100.0)
    users, items, values = (np.asarray(x) for x in (toy.users, toy.items, toy.values))
    kept = np.asarray(weights) > 0
    lengths = np.bincount(items[kept], values[kept], minlength=10)
    idf = np.log(10) - np.log1p(np.bincount(users[kept], minlength=12))
    norm = 0.1 + 0.9 * lengths / lengths.mean()
    close(got, values * 101 / (100 * norm[items] + values) * idf[users])
    loaded = oracles.without(toy, weights, layout.build)
    close(got[kept], confidence.bm25(loaded, jnp.ones(kept.sum()), b=0.9, k1=100.0))
    before = confidence.bm25(toy, jnp.ones(60), b=0.9, k1=100.0)
    assert np.max(np.abs(before[kept] / got[kept] - 1)) > 0.01  # the old statistics do differ


def test_bm25_equals_the_function_of_implicit():
    nearest = pytest.importorskip("implicit.nearest_neighbours")
    train = planted()
    ones = jnp.ones(len(train.users))
    matrix = oracles.dense(train, train.values).T  # the release weighs the item x user matrix
    import scipy.sparse

    want = nearest.bm25_weight(scipy.sparse.csr_matrix(matrix), K1=100, B=0.9).toarray().T
    got = oracles.dense(train, confidence.bm25(train, ones, b=0.9, k1=100.0))
    close(got, want, 1e-8)


def test_one_half_sweep_equals_the_exact_solver_of_implicit_in_float32():
    solver = pytest.importorskip("implicit.cpu._als")
    import scipy.sparse

    train = planted(shape=(60, 50))
    f = Factors(*(x.astype(jnp.float32) for x in factors(train, dim=16)))
    values = train.values.astype(jnp.float32)
    train32 = layout.build(train.users, train.items, values, n_users=60, n_items=50)
    matrix = scipy.sparse.csr_matrix(oracles.dense(train, ALPHA * train.values).astype(np.float32))
    users, items = (np.array(x) for x in f)
    solver._least_squares(
        items.T @ items, matrix.indptr, matrix.indices, matrix.data, users, items, REG, 1
    )
    ones = jnp.ones(len(values), jnp.float32)
    got = als.solve_rows(f.items, train32, ones, by="user", reg=REG, alpha=ALPHA)
    assert got.dtype == jnp.float32
    assert np.linalg.norm(got - users) < 1e-4 * np.linalg.norm(users)


# --- compilation ---------------------------------------------------------------------------------


def test_one_trace_serves_all_requests_of_a_training_set(toy):
    traces = []

    @jax.jit
    def unlearn(f, train, weights):
        traces.append(1)
        return als.sweep(f, train, weights, reg=REG, alpha=ALPHA)

    for seed in range(4):
        unlearn(factors(toy), toy, some(toy, seed))
    assert len(traces) == 1


# rows of 3 factors have no short histories; rows of 12 have
@pytest.mark.parametrize(
    ("dim", "nu"), [(D, 0.0), pytest.param(12, 0.0, marks=pytest.mark.slow), (12, 0.5)]
)
def test_vmap_over_requests_equals_one_after_the_other(toy, dim, nu):
    many, start = jnp.stack([some(toy, seed) for seed in range(3)]), oracles.factors(toy, dim=dim)

    def run(weights):
        return als.alternate(start, toy, als.implicit(toy, weights, reg=REG, alpha=ALPHA, nu=nu))

    got, want = jax.vmap(run)(many), jax.lax.map(run, many)
    close(got.users, want.users)
    close(got.items, want.items)


def test_independent_half_sweeps_in_one_program_do_not_deadlock():
    """Eight independent batches of Cholesky solves once hung jaxlib 0.10.2 on two cores.

    Batches of this size hang it at once where LAPACK is called on them as they are.
    """
    program = """
        import jax, jax.numpy as jnp
        jax.config.update("jax_enable_x64", True)
        from jaxforget.sparse import dense
        from jaxforget.als import woodbury
        roots = jax.random.normal(jax.random.key(0), (8, 50, 48, 48))
        matrices = roots @ roots.mT + 48 * jnp.eye(48)
        def one(x):
            shared = jax.vmap(woodbury.decompose)(x, x[..., 0] ** 2)  # ridges that differ: eigh
            return jax.vmap(dense.solve_spd)(x, x[..., 0]).sum() + abs(shared.basis).sum()
        solve = jax.jit(lambda m: sum(one(x) for x in m))
        for _ in range(5):
            print(solve(matrices))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        timeout=120,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 5


def test_bm25_turns_no_like_into_a_dislike():
    """User 0 likes all three items, user 1 all but one: their weights were negative, and 0."""
    train = layout.build([0, 0, 0, 1, 1, 2], [0, 1, 2, 0, 1, 2], np.full(6, 5.0))
    model = models.load("ials")(dim=3, reg=0.01, alpha=40.0, weighting="bm25")
    for dtype in (jnp.float32, jnp.float64):
        part = dataclasses.replace(train, values=train.values.astype(dtype))
        ones = jnp.ones(6, dtype)
        values = confidence.bm25(part, ones, b=0.9, k1=100.0)
        assert (values[:3] == 0).all() and (values >= 0).all() and values[5] > 0
        for terms in (model.terms(part, ones), jax.jit(model.terms)(part, ones)):
            assert (terms.target[:3] == 0).all() and (terms.curvature >= -1).all()
            np.testing.assert_allclose(terms.target, terms.curvature + 1, atol=1e-6)  # all likes
    less = confidence.bm25(train, jnp.ones(6).at[0].set(0).at[1].set(0), b=0.9, k1=100.0)
    assert less[2] > 0  # with one item left they are as others are
