"""Bounds are never below the true distance, and small only at the optimum."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget import als
from jaxforget.als import certificate
from jaxforget.als.certificate import guarantees, lanczos
from jaxforget.metrics import stable
from jaxforget.sparse import layout
from jaxforget.types import Factors

U, I, D = 14, 11, 4
CELLS = np.array([(u, i) for u in range(U) for i in range(I) if (3 * u + 5 * i) % 7 < 3])


def draw(seed, *, low=1.0):
    """One layout, so one compilation; confidences, weights and ridge differ."""
    rng = np.random.default_rng(seed)
    train = layout.build(*CELLS.T, rng.uniform(low, 6, len(CELLS)), n_users=U, n_items=I)
    weights = (rng.random(len(CELLS)) < 0.8).astype(float)
    return train, jnp.asarray(weights), float(rng.uniform(0.5, 5))


def optimum(train, weights, ridge_users, ridge_items, n=3000):
    """Dense float64 truth: accelerated proximal gradient with full SVDs."""
    seen = np.asarray(weights) > 0
    users, items = np.asarray(train.users)[seen], np.asarray(train.items)[seen]
    c, p = np.ones((train.n_users, train.n_items)), np.zeros((train.n_users, train.n_items))
    c[users, items], p[users, items] = np.asarray(train.values)[seen], 1
    return dense_optimum(c, p, ridge_users, ridge_items, n)


def dense_optimum(c, p, ridge_users, ridge_items, n=3000):
    """The same, from confidences and preferences of all cells."""
    scale = np.sqrt(np.outer(ridge_users, ridge_items))
    high, low = (c / scale**2).max(), (c / scale**2).min()
    beta = (1 - (low / high) ** 0.5) / (1 + (low / high) ** 0.5)
    m = ahead = np.zeros_like(p)
    for _ in range(n):
        u, s, v = np.linalg.svd(ahead + c * (p - ahead / scale) / scale / high, full_matrices=False)
        new = u * np.maximum(s - 1 / high, 0) @ v
        if np.abs(new - m).max() <= 1e-15 * np.abs(new).max():
            break
        m, ahead = new, new + beta * (new - m)
    return m / scale


def truth(train, weights, reg):
    return optimum(train, weights, np.full(U, reg), np.full(I, reg))


def factorise(m, dim):
    u, s, v = np.linalg.svd(m)
    root = np.sqrt(s[:dim])
    return Factors(jnp.asarray(u[:, :dim] * root), jnp.asarray(v[:dim].T * root))


@functools.partial(jax.jit, static_argnames="n")
def sweeps(factors, train, weights, reg, n):
    step = functools.partial(als.sweep, train=train, weights=weights, reg=reg, alpha=1.0)
    return jax.lax.fori_loop(0, n, lambda _, f: step(f), factors)


def iterates(train, weights, reg, best, seed):
    """Everything somebody could hand in: noise, nothing, rank-deficient, scaled, near, optimal."""
    rng = np.random.default_rng(seed)
    noise = Factors(jnp.asarray(rng.normal(size=(U, D))), jnp.asarray(rng.normal(size=(I, D))))
    yield "noise", noise
    yield "zero", Factors(jnp.zeros((U, D)), jnp.zeros((I, D)))
    yield "one-sided", Factors(noise.users, jnp.zeros((I, D)))
    yield "repeated", Factors(noise.users[:, :1].repeat(D, 1), noise.items[:, :1].repeat(D, 1))
    yield "als", sweeps(noise, train, weights, reg, 3)
    yield "als long", sweeps(noise, train, weights, reg, 200)
    near = factorise(best, D)
    yield "optimal, cut", near
    yield "scaled", Factors(1.3 * near.users, near.items)
    yield "perturbed", Factors(near.users + 1e-3 * noise.users, near.items)


@pytest.mark.parametrize("seed", range(24))
def test_the_bound_is_at_least_the_true_distance(seed):
    train, weights, reg = draw(seed, low=0.3 if seed % 3 == 0 else 1.0)
    best = truth(train, weights, reg)
    for name, factors in iterates(train, weights, reg, best, seed):
        error = np.asarray(factors.users @ factors.items.T) - best
        proved = certificate.duality_gap(
            factors, train, weights, reg=reg, alpha=1.0, key=jax.random.key(seed)
        )
        assert np.linalg.norm(error) <= proved.bound, name
        assert proved.gap >= 0, name
        terms = als.implicit(train, weights, reg=reg, alpha=1.0)
        persons = certificate.people(factors, train, terms, key=jax.random.key(seed))
        assert (np.linalg.norm(error, axis=1) <= persons).all(), name
        # two computations, whose sums a GPU takes in an order of its own
        assert (persons <= proved.bound * (1 + 1e-9) + 1e-7).all(), name
        confidence = 1 + terms.curvature
        on_pairs = np.abs(error[train.users, train.items])
        assert (on_pairs <= proved.pair_bound / np.sqrt(confidence)).all(), name


@pytest.mark.parametrize("proof", ["lanczos", "cholesky"])
def test_the_bound_vanishes_at_the_optimum(proof):
    train, weights, reg = draw(1)
    best = truth(train, weights, reg)
    factors = factorise(best, I)
    proved = certificate.duality_gap(
        factors, train, weights, reg=reg, alpha=1.0, key=jax.random.key(0), proof=proof
    )
    assert proved.relative_bound < 1e-5
    assert abs(proved.sigma_ratio - 1) < 1e-6
    assert proved.rank == np.linalg.matrix_rank(best, tol=1e-9)
    assert proved.failure_probability == (0 if proof == "cholesky" else 1e-9)


@pytest.mark.parametrize("nu", [0.5, 1.0])
def test_the_bound_holds_for_ridges_that_depend_on_counts(nu):
    train, weights, reg = draw(2)
    reg = reg / 3**nu
    terms = als.implicit(train, weights, reg=reg, alpha=1.0, nu=nu)
    best = optimum(train, weights, terms.ridge_users, terms.ridge_items, n=20000)
    for name, factors in iterates(train, weights, reg, best, 2):
        proved = certificate.certify(factors, train, terms, key=jax.random.key(0))
        error = np.linalg.norm(np.asarray(factors.users @ factors.items.T) - best)
        assert error <= proved.bound, name
    exact = certificate.certify(factorise(best, I), train, terms, key=jax.random.key(0))
    assert exact.relative_bound < 1e-4


def test_the_certificate_refuses_a_plateau_where_the_loss_has_stopped_moving():
    train, weights, reg = draw(3)
    reg = 1.0
    best = truth(train, weights, reg)
    rank = np.linalg.matrix_rank(best, tol=1e-9)
    terms = als.implicit(train, weights, reg=reg, alpha=1.0)
    noise = np.random.default_rng(0).normal(size=(I, rank - 1))
    start = Factors(jnp.zeros((U, rank - 1)), jnp.asarray(noise))
    stuck, _ = als.descend(start, train, terms, max_sweeps=3000, tol=1e-12)
    stuck = Factors(*(jnp.pad(x, ((0, 0), (0, 1))) for x in stuck))  # one zero column
    before = als.cost(stuck, train, terms)
    after = als.cost(als.sweep(stuck, train, weights, reg=reg, alpha=1.0), train, terms)
    proved = certificate.certify(stuck, train, terms, key=jax.random.key(0))
    distance = np.linalg.norm(np.asarray(stuck.users @ stuck.items.T) - best)
    assert abs(before - after) / before < 1e-9 and als.optimality(stuck, train, terms) < 1e-9
    assert proved.sigma_ratio > 1.001
    assert 1e-3 * np.linalg.norm(best) < distance <= proved.bound


def test_the_bound_holds_for_every_key():
    train, weights, reg = draw(4)
    best = truth(train, weights, reg)
    factors = factorise(best * 1.01, D)
    error = np.linalg.norm(np.asarray(factors.users @ factors.items.T) - best)
    for seed in range(20):
        key = jax.random.key(seed)
        proved = certificate.duality_gap(
            factors, train, weights, reg=reg, alpha=1.0, key=key, steps=2, width=1, deflate=1
        )
        assert error <= proved.bound


@pytest.mark.parametrize("kind", ["good", "noise", "repeated", "zero"])
def test_the_bound_holds_for_any_directions_and_good_ones_do_not_loosen_it(kind):
    train, weights, reg = draw(5)
    best = truth(train, weights, reg)
    factors = factorise(best * 1.001, D)
    error = np.linalg.norm(np.asarray(factors.users @ factors.items.T) - best)
    terms = als.implicit(train, weights, reg=reg, alpha=1.0)
    rng = np.random.default_rng(0)
    directions = {
        "good": np.linalg.qr(np.c_[factors.items, rng.normal(size=(I, I - D))])[0],
        "noise": rng.normal(size=(I, 3)),
        "repeated": np.repeat(rng.normal(size=(I, 1)), 6, axis=1),
        "zero": np.zeros((I, 2)),
    }[kind]
    run = functools.partial(certificate.certify, factors, train, terms, key=jax.random.key(0))
    proved = run(directions=jnp.asarray(directions))
    assert error <= proved.bound
    if kind == "good":
        assert proved.bound <= 1.01 * run().bound


def test_an_extension_spans_the_block_even_where_its_first_columns_add_nothing():
    rng = np.random.default_rng(0)
    basis = jnp.asarray(np.linalg.qr(rng.normal(size=(9, 3)))[0])
    block = jnp.concatenate([basis, jnp.asarray(rng.normal(size=(9, 4)))], axis=1)
    both = jnp.concatenate([basis, lanczos.extension(block, basis)], axis=1)
    np.testing.assert_allclose(both @ (both.T @ block), block, atol=1e-12)
    assert (jnp.sum(both**2, axis=0) > 0.5).sum() == 7


def spectra():
    n = 400
    yield "clustered top", np.r_[np.linspace(1, 1 + 1e-6, 40), np.linspace(0, 1, n - 40)]
    yield "one above a plateau", np.r_[np.full(n - 1, 1.0), 1.01]
    yield "flat", np.ones(n)
    yield "geometric", 0.9 ** np.arange(n)
    yield "zero", np.zeros(n)


@pytest.mark.parametrize("name, values", list(spectra()))
def test_the_upper_bound_of_an_eigenvalue_holds_on_every_spectrum(name, values):
    del name
    n = len(values)
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))[0])
    matrix = (turn * jnp.asarray(values)[None]) @ turn.T
    run = jax.jit(
        lambda key: lanczos.top_eigenvalue(
            key, lambda x: matrix @ x, n, steps=6, width=4, failure=1e-6
        )
    )
    for seed in range(20):
        low, high = run(jax.random.key(seed))
        assert low <= values.max() + 1e-12
        assert high >= values.max() - 1e-12


def test_the_failure_probability_of_lanczos_is_not_exceeded():
    # a hard spectrum for Lanczos and a failure rate large enough to be counted
    n, failure, steps = 300, 0.2, 4
    values = jnp.asarray(np.r_[np.full(n - 1, 0.6), 1.0])

    def upper_bound(key):
        return lanczos.top_eigenvalue(
            key, lambda x: values[:, None] * x, n, steps=steps, width=1, failure=failure
        )[1]

    upper = jax.jit(jax.vmap(upper_bound))(jax.random.split(jax.random.key(0), 400))
    assert (upper < 1).mean() <= failure


def test_an_objective_without_unobserved_pairs_gets_no_certificate():
    train, weights, reg = draw(5)
    terms = als.explicit(train, weights, reg=reg)
    factors = Factors(jnp.ones((U, D)), jnp.ones((I, D)))
    assert certificate.certify(factors, train, terms, key=jax.random.key(0)).bound == jnp.inf


def test_float32_and_unknown_proofs_are_refused():
    train, weights, _ = draw(6)
    small = Factors(jnp.ones((U, D), jnp.float32), jnp.ones((I, D), jnp.float32))
    call = functools.partial(
        certificate.duality_gap,
        train=train,
        weights=weights,
        reg=1.0,
        alpha=1.0,
        key=jax.random.key(0),
    )
    with pytest.raises(ValueError, match="float64"):
        call(small)
    with pytest.raises(ValueError, match="proof"):
        call(Factors(jnp.ones((U, D)), jnp.ones((I, D))), proof="hope")


def test_stable_items_are_in_the_optimal_list():
    marked = 0
    for seed in range(6):
        train, weights, reg = draw(seed)
        best = truth(train, weights, reg)
        noise = 1e-3 * np.random.default_rng(seed).normal(size=best.shape)
        factors = factorise(best + noise, I)
        proved = certificate.duality_gap(
            factors, train, weights, reg=reg, alpha=1.0, key=jax.random.key(0)
        )
        items, certain = stable.stable_items(factors, train, weights, proved.pair_bound, k=3)
        best[np.asarray(train.users)[weights > 0], np.asarray(train.items)[weights > 0]] = -np.inf
        for user in range(U):
            top = set(np.argsort(-best[user])[:3].tolist())
            chosen = np.asarray(items)[user][np.asarray(certain)[user]]
            assert set(chosen.tolist()) <= top
            marked += len(chosen)
    assert marked > 0


def test_scores_nearer_than_their_rounding_are_not_called_stable():
    """Single precision puts some items in the wrong order; their true scores are in double."""
    rng, dim, n_items = np.random.default_rng(0), 64, 8
    items = rng.normal(size=(1, dim)) + 1e-7 * rng.normal(size=(n_items, dim))
    items[0] = 1.01 * items[1]  # for some users far above the others, for some far below
    factors = Factors(*(np.float32(x) for x in (rng.normal(size=(40, dim)), items)))
    scores = factors.users.astype(float) @ factors.items.astype(float).T
    train = layout.build([0], [0], [1.0], n_users=40, n_items=n_items)
    nothing, order = jnp.zeros(1), np.argsort(-scores, axis=1)
    found = {}
    for kind in (jnp.float32, jnp.float64):
        pair = Factors(*(jnp.asarray(x, kind) for x in factors))
        top, certain = stable.stable_items(pair, train, nothing, jnp.zeros((), kind), k=1)
        right = np.asarray(top)[:, 0] == order[:, 0]
        found[kind] = right, np.asarray(certain)[:, 0]
    right, certain = found[jnp.float32]
    assert not right.all() and (right | ~certain).all()  # where it errs, nothing is claimed
    leads = np.diff(np.sort(scores, axis=1)[:, -2:])[:, 0]
    assert certain[leads > 5e-3].all() and (leads > 5e-3).any() and not certain[leads < 1e-5].any()
    right, certain = found[jnp.float64]
    assert right.all() and certain.all()


@pytest.mark.slow
def test_the_local_certificate_finds_the_smallest_curvature_off_the_rotations():
    train, weights, _ = draw(7)
    terms = als.implicit(train, weights, reg=0.5, alpha=1.0)
    rng = np.random.default_rng(0)
    start = Factors(jnp.zeros((U, 2)), jnp.asarray(rng.normal(size=(I, 2))))
    factors, _ = als.descend(start, train, terms, max_sweeps=5000, tol=1e-13)
    flat, unravel = jax.flatten_util.ravel_pytree(factors)
    hessian = jax.hessian(lambda x: als.cost(unravel(x), train, terms))(flat)
    values = np.linalg.eigvalsh(hessian)  # rank 2: one direction rotates, of curvature 0
    estimate = guarantees.local(jax.random.key(0), factors, train, terms, steps=60)
    assert abs(values[0]) < 1e-6 < values[1]
    np.testing.assert_allclose(estimate.curvature, values[1], rtol=1e-6)
    assert estimate.residual < 1e-10
    moved = Factors(factors.users * 1.0001, factors.items)
    estimate = guarantees.local(jax.random.key(0), moved, train, terms, steps=60)
    assert estimate.distance > 0.5 * np.linalg.norm(moved.users - factors.users) / 2


def by_hand(users, items, values, repeats):
    """Interactions that hold every pair several times, which ``layout.build`` may refuse."""
    once = layout.build(users, items, values, n_users=U, n_items=I)
    n, count = len(once.users), repeats

    def side(of):
        order = (np.asarray(of.order)[:, None] * count + np.arange(count)).reshape(-1)
        widths = tuple(width * count for width in of.widths)
        return dataclasses.replace(
            of,
            order=jnp.asarray(order, jnp.int32),
            indptr=of.indptr * count,
            indices=jnp.repeat(of.indices, count),
            widths=widths,
        )

    return dataclasses.replace(
        once,
        **{name: jnp.repeat(getattr(once, name), count) for name in ("users", "items", "values")},
        by_user=side(once.by_user),
        by_item=side(once.by_item),
    ), n * count


def test_repeated_pairs_prove_nothing_and_weights_of_all_but_one_mend_it():
    train, n = by_hand(*CELLS.T, np.full(len(CELLS), 2.0), 3)
    rng = np.random.default_rng(0)
    factors = Factors(jnp.asarray(rng.normal(size=(U, D))), jnp.asarray(rng.normal(size=(I, D))))
    key, settings = jax.random.key(0), {"reg": 2.0, "alpha": 1.0}
    proved = certificate.duality_gap(factors, train, jnp.ones(n), key=key, **settings)
    assert proved.bound == proved.relative_bound == proved.pair_bound == jnp.inf
    terms = als.implicit(train, jnp.ones(n), **settings)
    assert (certificate.people(factors, train, terms, key=key) == jnp.inf).all()
    for counted in (0, 1, 2):  # which row of each pair counts; the first and last are no neighbours
        once = jnp.asarray((np.arange(n) % 3 == counted).astype(float))
        proved = certificate.duality_gap(factors, train, once, key=key, **settings)
        plain = layout.build(*CELLS.T, np.full(len(CELLS), 2.0), n_users=U, n_items=I)
        want = certificate.duality_gap(factors, plain, jnp.ones(len(CELLS)), key=key, **settings)
        np.testing.assert_allclose(proved.bound, want.bound, rtol=1e-9)
    around = jnp.asarray((np.arange(n) % 3 != 1).astype(float))
    proved = certificate.duality_gap(factors, train, around, key=key, **settings)
    assert proved.bound == jnp.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_factors_that_are_not_finite_prove_nothing(bad):
    train, weights, reg = draw(4)
    factors = Factors(jnp.ones((U, D)).at[3, 1].set(bad), jnp.ones((I, D)))
    proved = certificate.duality_gap(
        factors, train, weights, reg=reg, alpha=1.0, key=jax.random.key(0)
    )
    assert proved.bound == proved.relative_bound == proved.pair_bound == jnp.inf


@pytest.mark.parametrize("value", [-3.0, -1.0, 0.0])
def test_negative_values_are_certified_as_disliked_and_a_value_of_zero_is_not(value):
    train, weights, reg = draw(5)
    values = train.values.at[::3].set(value)
    train = dataclasses.replace(train, values=values)
    c, p = np.ones((U, I)), np.zeros((U, I))
    seen = np.asarray(weights) > 0
    users, items = np.asarray(train.users)[seen], np.asarray(train.items)[seen]
    c[users, items], p[users, items] = np.abs(values)[seen], np.asarray(values)[seen] > 0
    best = dense_optimum(c, p, np.full(U, reg), np.full(I, reg)) if value else None
    noise = np.random.default_rng(0).normal(size=(U, I))
    for size in (0.0, 1e-3, 1.0):
        near = factorise((0 if best is None else best) + size * noise, I)
        proved = certificate.duality_gap(
            near, train, weights, reg=reg, alpha=1.0, key=jax.random.key(0)
        )
        if best is None:
            assert proved.bound == jnp.inf
        else:
            error = np.asarray(near.users @ near.items.T) - best
            assert np.linalg.norm(error) <= proved.bound
            assert size or proved.relative_bound < 1e-5


@pytest.mark.parametrize(
    "setting, value",
    [
        ("failure", 5.0),
        ("failure", 1e12),
        ("failure", 0.0),
        ("failure", 1.0),
        ("failure", float("nan")),
        ("steps", 0),
        ("steps", 2.5),
        ("width", 0),
        ("deflate", -1),
        ("proof", "hope"),
    ],
)
def test_settings_of_a_certificate_out_of_range_are_refused(setting, value):
    train, weights, _ = draw(6)
    zero = Factors(jnp.zeros((U, D)), jnp.zeros((I, D)))
    terms = als.implicit(train, weights, reg=1.0, alpha=1.0)
    for function in (certificate.certify, certificate.people):
        with pytest.raises(ValueError, match=f"{setting} must be"):
            function(zero, train, terms, key=jax.random.key(0), **{setting: value})
