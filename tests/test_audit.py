"""The audit: leaks injected on purpose are caught, and their clean versions pass."""

import dataclasses
import functools
import importlib
import inspect
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import toy_runs
from oracles import tally

from experiments import cli
from experiments.commands import _report_tables
from experiments.commands import audit as runner
from jaxforget import _plugins, methods, models, shards
from jaxforget.als import confidence
from jaxforget.metrics import audit, claims, variations
from jaxforget.shards import attention, partition
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet, Method, watch

KEY = jax.random.key(2)
METHODS = _plugins.names(_plugins.DOORS["methods"])
ALS = {"dim": 3, "reg": 1.0, "alpha": 3.0, "max_sweeps": 5}
ROUNDING = 1e-9


def toy_request():
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(12 * 10)[:60], 10)
    train = layout.build(users, items, rng.integers(1, 6, 60) / 2, n_users=12, n_items=10)
    train = watch(train, layout.build(*np.divmod(np.arange(0, 120, 2), 10), np.arange(60) % 2.0))
    ones = jnp.ones_like(train.values)
    return train, ForgetSet(ones, ones.at[jnp.array([3, 8, 30])].set(0))


@functools.cache
def measured(make, stale):
    """The audit of one leak or of its clean version, run once for all tests."""
    return audit.exactness(KEY, make(stale=stale), *toy_request())


def judged(make, stale, claim, given=None):
    """The verdict on a claim, and what it judges."""
    found = measured(make, stale)
    return audit.verdict(found, claim, rounding=ROUNDING, given=given), found


# --- leak 1: confidence weights that were computed before the deletion


def bm25_retrain(*, stale):
    plain = tally()

    def weighted(train, weights):
        values = confidence.bm25(train, weights, b=0.9, k1=100.0)
        return dataclasses.replace(train, values=values)

    def fit(key, train, weights):
        return plain.fit(key, weighted(train, weights), weights)

    def unlearn(key, state, train, forget):
        del state
        statistics = forget.before if stale else forget.after
        return plain.fit(key, weighted(train, statistics), forget.after)

    return Method(fit, unlearn, plain.factors)


# --- leak 2: a partition that was computed from the deleted rows too


def dealt_in_turn(*, stale):
    def divide(key, train, weights):  # round robin over the remembered rows: deletion moves others
        del key, train
        return jnp.cumsum(weights > 0, dtype=jnp.int32) % 2

    return shards.method(tally(), n_shards=2, divide=divide, redivide=not stale)


# --- leak 3: an aggregator that was trained on the deleted rows too


def attentive(*, stale):
    def train(key, parts, loss):  # attention, scaled by what the data say instead of trained
        drawn = attention.start(key, 2, 2, parts.users.dtype)
        level = loss(Factors(*(jnp.sum(x, axis=0) for x in parts)))
        return drawn._replace(transfer=drawn.transfer / (1 + level)), {}

    def divide(key, train, weights):
        del weights
        return partition.random(key, train, n_shards=2)

    aggregation = shards.Aggregation(train, renew=not stale)
    return shards.method(tally(), n_shards=2, divide=divide, aggregation=aggregation)


# --- leak 4: a warm start with a fixed number of passes, called exact


def warm(*, stale):
    """Ten factors hold the optimum's rank; with three, other deleted pairs lead to another one."""
    build = methods.load("unlearn_als")
    settings = {"max_sweeps": 3} if stale else claims.of(build, {}).settings
    wide = ALS | {"dim": 10} | ({} if stale else settings)
    return build(models.load("ials")(**wide), **settings)


# --- leak 5: old parameters, kept in the state and served from the second request on, or never


class Kept(NamedTuple):
    now: Factors
    past: Factors
    requests: jax.Array


def remembering(*, stale, serving=2):
    plain = tally()

    def fit(key, train, weights):
        params, info = plain.fit(key, train, weights)
        return Kept(params, params, jnp.zeros((), jnp.int32)), info

    def unlearn(key, state, train, forget):
        del state
        params, info = plain.fit(key, train, forget.after)
        return Kept(params, params, jnp.zeros((), jnp.int32)), info

    def keep(key, state, train, forget):
        params, info = plain.fit(key, train, forget.after)
        return Kept(params, state.past, state.requests + 1), info

    def serve(state, train, weights):
        del train, weights
        old = state.requests >= serving
        return jax.tree.map(lambda now, past: jnp.where(old, past, now), state.now, state.past)

    return Method(fit, keep if stale else unlearn, serve)


def hoarding(*, stale):
    return remembering(stale=stale, serving=99)


# --- leak 6: who asked can be read back from the served rows, by a factor that few digits show


def marking(*, stale):
    plain = tally()

    def unlearn(key, state, train, forget):
        del state
        params, info = plain.fit(key, train, forget.after)
        asked = jnp.zeros(train.n_users, bool).at[train.users].max(forget.before > forget.after)
        marked = params.users * jnp.where(asked, 1 + 1.5e-4, 1)[:, None]
        return Factors(marked if stale else params.users, params.items), info

    return Method(plain.fit, unlearn, plain.factors)


# --- leak 7: popularity that counts rows of weight 0 too


def popular(*, stale):
    plain = tally()

    def factors(params, train, weights):
        counts = jnp.zeros(train.n_items).at[train.items].add(1.0 if stale else weights)
        return Factors(params.users, params.items + 0.01 * counts[:, None])

    return methods.load("retrain")(plain._replace(factors=factors))


# --- leak 8: a scale that is the number of rows ever loaded


def normalised(*, stale):
    plain = tally()

    def factors(params, train, weights):
        n = len(train.users) if stale else jnp.sum(weights)
        return Factors(params.users / n, params.items)

    return methods.load("retrain")(plain._replace(factors=factors))


# --- leak 9: validation rows of a deleted user that still choose what is served


def choosing(*, stale):
    plain = tally()

    def fit(key, train, weights):
        params, info = plain.fit(key, train, weights)
        left = [
            jnp.zeros(n, bool).at[ids].max(weights > 0)
            for n, ids in ((train.n_users, train.users), (train.n_items, train.items))
        ]
        counted = left[0][train.valid.users] & left[1][train.valid.items]
        counted = jnp.ones_like(counted) if stale else counted
        level = jnp.sum(jnp.where(counted, train.valid.values, 0))
        return Factors(params.users * (1 + level), params.items), info

    return methods.load("retrain")(plain._replace(fit=fit))


# --- leak 10: a damping that was read off the loss of all that had been learnt


def damped(*, stale):
    plain = tally()

    def trained(key, train, weights, judged):
        params, info = plain.fit(key, train, weights)
        ridge = jnp.sum(judged * train.values**2) / jnp.sum(judged)
        return Factors(params.users / (1 + ridge), params.items), info

    def fit(key, train, weights):
        return trained(key, train, weights, weights)

    def unlearn(key, state, train, forget):
        return trained(key, train, forget.after, forget.before if stale else forget.after)

    return Method(fit, unlearn, plain.factors)


LEAKS = {  # the parts of the state that it moves, and the checks that show it
    bm25_retrain: ({"users", "items"}, {"values", "retrained", "pairs"}),
    dealt_in_turn: ({"params.users", "params.items", "shards"}, {"retrained", "pairs"}),
    attentive: ({"aggregator.transfer"}, {"values", "retrained", "pairs"}),
    warm: ({"users", "items"}, {"values", "retrained", "pairs"}),
    remembering: ({"past.users", "past.items"}, {"values", "retrained", "pairs"}),
    hoarding: ({"past.users", "past.items"}, {"values", "retrained", "pairs"}),
    marking: ({"users"}, {"retrained"}),
    popular: (set(), {"pairs", "padding"}),
    normalised: (set(), {"padding"}),
    choosing: ({"users"}, {"validation"}),
    damped: ({"users"}, {"values", "retrained", "pairs"}),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_caught_and_named(leak):
    verdict, found = judged(leak, True, claims.exact())
    moved, shown = LEAKS[leak]
    assert (verdict.startswith("broken") and not found.bitwise) or not found.rounded <= ROUNDING
    assert {name for name in audit.CHECKS if f"{name} " in verdict} >= shown
    assert moved <= {name for name, gap in found.state.items() if gap}


@pytest.mark.parametrize("clean", [leak for leak in LEAKS if leak is not warm])
def test_the_clean_version_passes_bit_for_bit(clean):
    verdict, found = judged(clean, False, claims.exact())
    assert verdict.startswith("kept: exact, bit for bit")
    assert found.bitwise and found.worst <= ROUNDING and found.rounded <= ROUNDING
    assert all(gap <= ROUNDING for gap in found.state.values())
    assert found.undeleted > 1e-3 and found.noise > 1e-3  # there was something to tell apart


@pytest.mark.slow
def test_the_warm_start_passes_under_the_tolerance_its_claim_names():
    claim = claims.of(methods.load("unlearn_als"), {})
    assert claim.kind == "exact_given"
    verdict, _ = judged(warm, True, claim, given=measured(warm, False))
    assert verdict.startswith("kept: exact given the residual is small") and "as it is" in verdict
    with pytest.raises(ValueError, match="needs the method under"):
        judged(warm, True, claim)


def test_a_claim_about_one_optimum_is_open_where_retrainings_disagree():
    claim = claims.of(methods.load("unlearn_als"), {})
    far = measured(warm, True)
    verdict = audit.verdict(far, claim, rounding=ROUNDING, given=far._replace(noise=0.5))
    assert verdict.startswith("open") and "two retrainings 0.5" in verdict
    verdict = audit.verdict(far, claim, rounding=ROUNDING, given=far._replace(noise=1e-6))
    assert verdict.startswith("broken")
    assert audit.verdict(far, claims.exact(), rounding=ROUNDING).startswith("broken")


def climbing(*, stale):
    del stale
    return methods.load("gradient_ascent")(tally(), lr=1e-4, n_steps=2)


def test_an_approximate_method_has_its_difference_reported():
    verdict, found = judged(climbing, True, claims.of(methods.load("gradient_ascent"), {}))
    assert verdict == f"no claim: {found.worst:.2g} apart" and found.worst > 1e-3


def test_other_content_is_other_and_touches_no_retained_row():
    train, forget = toy_request()
    watched = watch(train, train)
    rows, kept = np.array([3, 8, 30]), np.asarray(forget.after) > 0
    for values in (train.values, jnp.ones_like(train.values)):
        varied = dataclasses.replace(train, values=values)
        changed = variations.other_values(varied, (forget,))
        assert (np.asarray(changed.values)[rows] != np.asarray(values)[rows]).all()
        assert np.array_equal(np.asarray(changed.values)[kept], np.asarray(values)[kept])
    other, (request,), _ = variations.other_pairs(KEY, watched, (forget,))
    assert other.valid is watched.valid and other.values.dtype == train.values.dtype
    table = [
        np.stack([np.asarray(x) for x in (t.users, t.items, t.values)], 1) for t in (train, other)
    ]
    left = np.asarray(request.after) > 0
    assert np.array_equal(table[0][kept], table[1][left])
    old, new = ({tuple(row[:2]) for row in t} for t in table)
    assert len(new) == 60 and len({tuple(r[:2]) for r in table[1][~left]} & old) == 0


def test_a_request_without_enough_other_pairs_is_refused():
    full = layout.build([0, 0, 1, 1], [0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0])
    forget = ForgetSet(jnp.ones(4), jnp.array([0.0, 1.0, 1.0, 1.0]))
    method = methods.load("retrain")(tally())
    with pytest.raises(ValueError, match="padding needs a pair that does not occur"):
        audit.exactness(KEY, method, dataclasses.replace(full, values=full.values), forget)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_declares_a_claim_and_its_derived_state(name):
    build = methods.load(name)
    module = importlib.import_module(f"jaxforget.methods.{name}")
    claim = claims.of(build, getattr(module, "TOY", {}))
    assert claim.kind in ("exact", "exact_given", "approximate") and claim.derived
    assert set(claim.derived.values()) <= {"recomputed", "kept", "moved"}
    assert bool(claim.given) == (claim.kind == "exact_given")
    taken = set(inspect.signature(build).parameters)
    limits = {"max_sweeps", "tol"}  # of models trained by least squares too
    assert set(claim.settings) <= taken | limits


def test_claims_follow_the_settings():
    sisa, receraser = (methods.load(name) for name in ("sisa", "receraser"))
    assert claims.of(sisa, {}).kind == "exact"
    kept = {"aggregation": "attention", "aggregator": "kept"}
    assert claims.of(sisa, kept).settings == {"aggregator": "recomputed"}
    assert claims.of(receraser, {}).settings == {"partition": "random"}
    assert claims.of(receraser, {"partition": "recomputed"}).kind == "exact"
    assert claims.of(methods.load("unlearn_als"), {"variant": "drop"}).kind == "approximate"
    with pytest.raises(ValueError, match="declares no EXACTNESS"):
        claims.of(layout.build, {})


def dealt_by_likeness(*, stale):
    how = {"n_shards": 2, "attention_lr": 0.02, "attention_steps": 2, "n_rounds": 3}
    return methods.load("receraser")(tally(), **how, partition="kept" if stale else "recomputed")


@pytest.mark.slow
@pytest.mark.parametrize("stale", [True, False])
def test_receraser_is_exact_only_if_it_deals_anew(stale):
    verdict, found = judged(dealt_by_likeness, stale, claims.exact())
    assert verdict.startswith("broken" if stale else "kept")
    assert (found.state["shards"] > 0) == stale


def test_the_command_prints_a_verdict_per_method_and_writes_a_table(tmp_path):
    text = toy_runs.TOML.partition("[methods.unlearn_als]")[0]
    text += (
        "[methods.unlearn_als]\nmax_sweeps = [1, 2]\n[methods.ifru]\n[methods.sisa]\nn_shards = 2\n"
    )
    path = toy_runs.small(tmp_path, text)
    done = toy_runs.within("audit", path, "--results", tmp_path, "--only", "method=retrain,ifru")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "toy" / "audit.csv").set_index("method")
    assert table.loc["retrain", "verdict"] == "kept: exact, bit for bit"
    assert table.loc["ifru", "verdict"].startswith("not audited")
    assert "id maps kept" in table.loc["retrain", "declared"]
    assert all(f"ials {name}: {table.loc[name, 'verdict']}" in done.stdout for name in table.index)


def test_a_part_of_the_methods_leaves_the_lines_of_the_others(tmp_path, monkeypatch):
    def row(lab, cell, shared):
        return {name: cell.axes[name] for name in runner.KEY} | {"verdict": verdict}

    monkeypatch.setattr(runner, "row", row)
    path = toy_runs.small(tmp_path, toy_runs.TOML.partition("[methods.ladder]")[0])
    words, verdict = ["audit", path, "--results", str(tmp_path)], "broken: it leaks"
    assert cli.main([*words, "--only=method=unlearn_als"]) == 1
    verdict = "kept: exact"
    assert cli.main([*words, "--only=method=retrain"]) == 0
    table = pd.read_csv(tmp_path / "toy" / "audit.csv").set_index("method")["verdict"]
    assert table["unlearn_als"] == "broken: it leaks" and table["retrain"] == "kept: exact"
    assert cli.main(words) == 0
    table = pd.read_csv(tmp_path / "toy" / "audit.csv").set_index("method")["verdict"]
    assert (table == "kept: exact").all()
    assert cli.main([*words, "--shard=0/2"]) == 2


def test_the_report_shows_an_audit_that_is_there(tmp_path):
    assert _report_tables.audit(tmp_path) == ""
    head = ",".join(runner.COLUMNS)
    line = dict.fromkeys(runner.COLUMNS, "") | {"method": "sisa", "verdict": "kept: exact"}
    line = ",".join((line | {"pairs": "1e-07"}).values())
    (tmp_path / "audit.csv").write_text(f"{head}\n{line}\n")
    page = _report_tables.audit(tmp_path)
    assert "<h2>Exactness</h2>" in page and "kept: exact" in page and "1e-07" in page
