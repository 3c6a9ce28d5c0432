"""Compiled programs of the runner: settings that are numbers share one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from experiments.lab import clock
from experiments.lab.programs import forgotten_loss, plug, program
from jaxforget import methods, models
from jaxforget.types import ForgetSet

SETTINGS = {"dim": 3, "reg": 2.0, "alpha": 4.0, "max_sweeps": 3}


def test_a_sweep_over_numbers_compiles_once_and_gives_what_the_plug_in_itself_gives(
    toy, monkeypatch
):
    monkeypatch.setattr(clock, "_programs", clock.Recent(64))
    ials, unlearn_als = models.load("ials"), methods.load("unlearn_als")
    ones = jnp.ones_like(toy.values)
    forget = ForgetSet(ones, ones.at[:5].set(0.0))
    key = jax.random.key(0)
    for reg, max_sweeps in ((2.0, 1), (2.0, 4), (5.0, 2)):
        settings = SETTINGS | {"reg": reg}
        model = plug(ials, settings)
        fit = program("fit", model)
        state = clock.timed(fit, key, toy, ones)[0][0]
        unlearn = program("unlearn", model, plug(unlearn_als, {"max_sweeps": max_sweeps}))
        (got, info), _ = clock.timed(unlearn, key, state, toy, forget)

        model = ials(**settings)
        want, _ = unlearn_als(model, max_sweeps=max_sweeps).unlearn(
            key, model.fit(key, toy, ones)[0], toy, forget
        )
        np.testing.assert_allclose(got.users, want.users, rtol=1e-9)
        assert info["sweeps"] == max_sweeps
    assert len(clock._programs.entries) == 2  # one fit, one unlearn


def test_a_setting_that_is_not_a_number_is_a_constant_of_its_own_program(toy):
    ials = models.load("ials")
    shells = {
        program("fit", plug(ials, SETTINGS | {"weighting": w})).shell for w in ("constant", "bm25")
    }
    assert len(shells) == 2
    assert plug(ials, SETTINGS).numbers == {"reg": 2.0, "alpha": 4.0, "max_sweeps": 3}


def test_programs_that_nobody_keeps_give_their_memory_back(monkeypatch):
    """JAX has caches of its own; a long sweep would run out of memory maps."""
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(True))
    monkeypatch.setattr(clock, "_programs", clock.Recent(1))
    monkeypatch.setattr(clock, "KEPT_BY_JAX", 2)
    for number in range(6):
        clock.compiled(lambda x, n=number: x + n, jnp.float32(1.0))
    assert len(cleared) == 3


@pytest.mark.parametrize("loss", ["bce", "bpr"])
def test_the_loss_of_the_forgotten_is_the_mean_of_their_outcomes_without_any_penalty(
    labelled, loss
):
    """By a loop over the forgotten rows; the opponents of BPR are those before the request."""
    mf, rows = models.load("mf"), range(0, 60, 3)
    settings = {"dim": 3, "loss": loss, "reg": 0.5, "nu": 0.5, "init_scale": 0.1, "lr": 0.1}
    program = forgotten_loss(plug(mf, settings | {"n_epochs": 1}))
    f, forget = oracles.factors(labelled, 3), oracles.request(labelled, list(rows))
    nothing = ForgetSet(forget.before, forget.before)
    got, empty = (clock.timed(program, f, labelled, x, forget.after)[0] for x in (forget, nothing))
    scores = np.asarray(f.users @ f.items.T)
    users, items, values = map(np.asarray, (labelled.users, labelled.items, labelled.values))
    liked = oracles.dense(labelled, values > 0) > 0
    opponents = mf(**settings, n_epochs=1).margins._opponents(labelled) if loss == "bpr" else items
    total = 0.0
    for n in rows:
        u, own, other = users[n], scores[users[n], items[n]], scores[users[n], opponents[n]]
        if loss == "bce":
            total += np.log1p(np.exp(own)) - values[n] * own
        elif values[n] > 0 and not liked[u, opponents[n]]:
            total += np.log1p(np.exp(other - own))
    np.testing.assert_allclose(got, total / len(rows), rtol=1e-12)
    assert total > 0 and np.isnan(empty)
