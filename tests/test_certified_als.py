"""Certified unlearning keeps its promise, and its receipt cannot be bent."""

import copy
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_certificate import CELLS, I, U, draw, truth

from jaxforget.als.certificate import receipt
from jaxforget.methods import certified_als
from jaxforget.metrics import stable
from jaxforget.models import explicit_als, ials
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet

TOL, REG = 1e-4, 2.0
OBJECTIVE = {"reg": REG, "alpha": 1.0}


@pytest.fixture(scope="module")
def method():
    built = certified_als.build(ials.build(dim=8, reg=REG, alpha=1.0), tol=TOL, oversample=3)
    return built._replace(fit=jax.jit(built.fit), unlearn=jax.jit(built.unlearn))


@pytest.fixture(scope="module")
def train():
    return draw(1)[0]


@pytest.fixture(scope="module")
def trained(method, train):
    return method.fit(jax.random.key(0), train, jnp.ones(len(CELLS)))


def matrix(state):
    return np.asarray(state.factors.users @ state.factors.items.T)


def without(mask):
    return jnp.asarray(np.where(mask, 0.0, 1.0))


def requests():
    users, items = CELLS.T
    rng = np.random.default_rng(0)
    yield "one pair", np.arange(len(CELLS)) == 5
    yield "a tenth", rng.random(len(CELLS)) < 0.1
    yield "a user", users == 3
    yield "an item", items == 2
    yield "nothing", np.zeros(len(CELLS), bool)
    yield "everything", np.ones(len(CELLS), bool)


@pytest.mark.parametrize("name, gone", list(requests()))
def test_unlearning_ends_within_the_promised_distance_of_retraining(
    method, train, trained, name, gone
):
    after = without(gone)
    forget = ForgetSet(jnp.ones(len(CELLS)), after)
    state, info = method.unlearn(jax.random.key(1), trained[0], train, forget)
    best = truth(train, after, REG)
    distance = np.linalg.norm(matrix(state) - best)
    assert info["certified"] and info["relative_bound"] <= TOL and not info["rank_short"], name
    assert distance <= info["bound"], name
    assert distance <= TOL * np.linalg.norm(matrix(state)), name
    emptied = np.setdiff1d(np.arange(U), CELLS[~gone, 0])
    assert np.abs(matrix(state)[emptied]).max(initial=0) <= info["bound"], name


def test_two_seeds_and_a_warm_start_agree_within_the_sum_of_their_bounds(method, train, trained):
    gone = np.random.default_rng(1).random(len(CELLS)) < 0.2
    after = without(gone)
    runs = [method.fit(jax.random.key(seed), train, after) for seed in (7, 8)]
    forget = ForgetSet(jnp.ones(len(CELLS)), after)
    runs.append(method.unlearn(jax.random.key(9), trained[0], train, forget))
    for i in range(3):
        for j in range(i):
            apart = np.linalg.norm(matrix(runs[i][0]) - matrix(runs[j][0]))
            assert apart <= runs[i][1]["bound"] + runs[j][1]["bound"]


def test_a_stream_of_requests_ends_where_one_request_for_all_of_them_does(method, train, trained):
    weights, state = np.ones(len(CELLS)), trained[0]
    for k in range(4):
        before = weights.copy()
        weights[k * 7 : k * 7 + 4] = 0
        forget = ForgetSet(jnp.asarray(before), jnp.asarray(weights))
        state, info = method.unlearn(jax.random.key(k), state, train, forget)
    best = truth(train, weights, REG)
    assert info["certified"] and np.linalg.norm(matrix(state) - best) <= info["bound"]


@pytest.mark.slow
def test_a_rank_that_is_too_small_is_not_certified(train):
    small = certified_als.build(ials.build(dim=1, reg=0.5, alpha=1.0), tol=TOL, max_steps=60)
    _, info = small.fit(jax.random.key(0), train, jnp.ones(len(CELLS)))
    assert info["rank_short"] and not info["certified"]


def test_explicit_feedback_has_no_such_certificate():
    with pytest.raises(ValueError, match="objective of implicit ALS"):
        certified_als.build(explicit_als.build(dim=3, reg=1.0), tol=TOL)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="tol"):
        certified_als.build(ials.build(dim=2, reg=1.0, alpha=1.0), tol=0.0)


@pytest.fixture(scope="module")
def issued(method, train, trained):
    """A receipt for a tenth of the pairs, with the factors and the retained data."""
    gone = np.random.default_rng(2).random(len(CELLS)) < 0.1
    forget = ForgetSet(jnp.ones(len(CELLS)), without(gone))
    state, _ = method.unlearn(jax.random.key(1), trained[0], train, forget)
    made = receipt.make(
        state.factors, train, forget, objective=OBJECTIVE, tol=TOL, seed=5, version="1"
    )
    values = np.asarray(train.values)
    kept = layout.build(*CELLS[~gone].T, values[~gone], n_users=U, n_items=I)
    return made, state.factors, kept, CELLS[gone].T


def test_an_honest_receipt_is_verified(issued):
    made, factors, kept, request = issued
    again = json.loads(json.dumps(made))
    assert receipt.check(again, factors, kept, fresh_seed=99, request=request) == []


def forge(made, path, value):
    made = copy.deepcopy(made)
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return made


@pytest.mark.parametrize("redigest", [False, True])
@pytest.mark.parametrize(
    "path, value",
    [
        (("certificate", "relative_bound"), 1e-9),
        (("certificate", "sigma_ratio"), 0.5),
        (("certificate", "residual"), 1e-30),
        (("promise", "tol"), 1e-9),
        (("request", "hash"), "0" * 64),
        (("objective", "reg"), 1.9),
        (("retained",), "0" * 64),
        (("factors",), "0" * 64),
    ],
)
def test_edited_numbers_fail_even_with_a_new_digest(issued, path, value, redigest):
    made, factors, kept, request = issued
    forged = forge(made, path, value)
    if redigest:
        forged["digest"] = receipt.digest(forged)
    assert receipt.check(forged, factors, kept, fresh_seed=99, request=request)


def test_changed_factors_data_and_requests_fail(issued):
    made, factors, kept, request = issued
    moved = Factors(factors.users.at[0, 0].add(1e-2), factors.items)
    assert receipt.check(made, moved, kept, fresh_seed=99)
    hidden = receipt.check(
        made | {"factors": receipt.hash_arrays(*moved)}, moved, kept, fresh_seed=99
    )
    assert any("digest" in line for line in hidden) and any("recomputed" in line for line in hidden)
    fewer = layout.build(kept.users[1:], kept.items[1:], kept.values[1:], n_users=U, n_items=I)
    assert receipt.check(made, factors, fewer, fresh_seed=99)
    assert receipt.check(made, factors, kept, fresh_seed=99, request=[ids[1:] for ids in request])
    asked = np.asarray(kept.users)[:1], np.asarray(kept.items)[:1]
    wrong = receipt.check(made, factors, kept, fresh_seed=99, request=asked)
    assert any("still in the retained data" in line for line in wrong)


def test_repeated_pairs_get_no_receipt(issued):
    _, factors, _, _ = issued
    once = layout.build([0, 0], [1, 2], [2.0, 2.0], n_users=U, n_items=I)
    twice = dataclasses.replace(once, items=jnp.ones_like(once.items))  # by hand: build refuses
    forget = ForgetSet(jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match="distinct"):
        receipt.make(factors, twice, forget, objective=OBJECTIVE, tol=TOL, seed=0, version="1")


def test_the_command_verifies_and_refuses(issued, tmp_path, capsys):
    from experiments.commands import verify
    from experiments.errors import Refused

    made, factors, kept, (users, items) = issued
    verify.save(tmp_path, made, factors, kept, np.ones(len(kept.users)))
    pairs = "\n".join(f"{user},{item}" for user, item in zip(users, items))
    (tmp_path / "request.csv").write_text(f"user,item\n{pairs}\n")
    files = [str(tmp_path / name) for name in ("receipt.json", "factors.npz", "retained.npz")]
    assert verify.main([*files, "--request", str(tmp_path / "request.csv")]) == 0
    assert "verified" in capsys.readouterr().out
    (tmp_path / "receipt.json").write_text(json.dumps(forge(made, ("promise", "tol"), 1e-9)))
    assert verify.main(files) == 1
    assert "FAILED" in capsys.readouterr().out
    (tmp_path / "receipt.json").write_text("{}")
    with pytest.raises(Refused):
        verify.main(files)


def test_stable_items_of_a_certified_model_stay_recommended(method, train, trained):
    state, info = trained
    weights = jnp.ones(len(CELLS))
    items, certain = stable.stable_items(state.factors, train, weights, info["pair_bound"], k=3)
    best = truth(train, weights, REG)
    best[tuple(CELLS.T)] = -np.inf
    assert np.asarray(certain).any()
    for user in range(U):
        top = np.argsort(-best[user])[:3]
        assert set(np.asarray(items)[user][np.asarray(certain)[user]]) <= set(top)
