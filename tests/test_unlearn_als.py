"""The variants of Unlearn-ALS: each minimises, and reports, the objective that it names."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxforget import methods, models
from jaxforget.types import ForgetSet

REG, ALPHA = 1.0, 10.0
CASES = {
    "ials": {"dim": 2, "reg": REG, "alpha": ALPHA},
    "explicit_als": {"dim": 2, "reg": REG, "nu": 0.0},
}


def unlearn(train, forget, name="ials", *, variant="finetune", sweeps=5):
    model = models.load(name)(**CASES[name])
    state, _ = model.fit(jax.random.key(0), train, forget.before)
    method = methods.load("unlearn_als")(model, variant=variant, max_sweeps=sweeps)
    return jax.jit(method.unlearn)(jax.random.key(1), state, train, forget)


def resetting_the_preference(train, factors, forget, name):
    """The objective pair by pair: what is left has its target, what is forgotten has 0."""
    before, after = (np.asarray(w) for w in forget)
    where = np.asarray(train.users), np.asarray(train.items)
    scores = np.asarray(factors.users) @ np.asarray(factors.items).T
    values, own = np.asarray(train.values), scores[where]
    ridge = REG * sum((np.asarray(rows) ** 2).sum() for rows in factors)
    if name == "explicit_als":
        return ridge + (after * (values - own) ** 2 + (before - after) * own**2).sum()
    sizes, wanted = ALPHA * np.abs(values), values > 0
    # a pair with weight w counts w times with its confidence, and 1 - w times as never observed
    seen = after * (wanted - own) ** 2 + (before - after) * own**2
    unseen = (scores**2).sum() - (own**2).sum() + ((1 - before) * own**2).sum()
    return ridge + unseen + (sizes * seen).sum()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("left", [0.0, 0.3, 1.0])
def test_finetune_reports_the_objective_that_it_minimises(toy, name, left):
    """It kept the constant of the old preferences, 10 too much for one pair of confidence 10."""
    before = jnp.ones(60).at[5].set(0.5).at[6].set(0.0)
    forget = ForgetSet(before, before.at[jnp.array([0, 5, 9, 22])].multiply(left))
    new, info = unlearn(toy, forget, name)
    want = resetting_the_preference(toy, new, forget, name)
    np.testing.assert_allclose(info["objective"], want, rtol=1e-10)
    for factor in (0.99, 1.01):  # the items were solved last, and are best beside these users
        moved = new._replace(items=factor * new.items)
        assert resetting_the_preference(toy, moved, forget, name) > want


@pytest.mark.parametrize("name", CASES)
def test_finetune_asks_less_of_a_pair_the_more_of_it_is_forgotten(toy, name):
    """A partial request was taken for none."""
    train, scores = toy, []
    row = int(np.argmax(np.asarray(train.values)))
    for left in (1.0, 0.5, 0.01, 0.0):
        forget = ForgetSet(jnp.ones(60), jnp.ones(60).at[row].set(left))
        users, items = unlearn(train, forget, name, sweeps=50)[0]
        scores.append(float(users[train.users[row]] @ items[train.items[row]]))
    assert np.all(np.diff(scores) < -1e-3), scores


@pytest.mark.parametrize("name", CASES)
def test_a_whole_request_to_finetune_keeps_confidences_and_zeroes_preferences(toy, name):
    before = jnp.ones(60).at[6].set(0.0)
    request = oracles.request(toy, (0, 9, 22))
    forget = ForgetSet(before, before * request.after)
    model = models.load(name)(**CASES[name])
    old = model.terms(toy, forget.before)
    want = old._replace(target=jnp.where(forget.after > 0, old.target, 0))
    state, _ = model.fit(jax.random.key(0), toy, forget.before)
    new = jax.jit(model.refine)(jax.random.key(1), toy, want, state, max_sweeps=5)[0]
    got = unlearn(toy, forget, name)[0]
    for x, y in zip(got, new):
        np.testing.assert_array_equal(x, y)
