"""A receipt shows that something was forgotten, and nobody can bend it: the library's side."""

import copy
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_certificate import CELLS, I, U, by_hand, draw, factorise, truth

from jaxforget.als import certificate
from jaxforget.als.certificate import evidence, fields, receipt, signing, verifying
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet

TOL, REG, D = 1e-4, 2.0, 11
OBJECTIVE = {"reg": REG, "alpha": 1.0}
TRAIN = draw(1)[0]
ONES = np.ones(len(CELLS))
GONE = np.random.default_rng(2).random(len(CELLS)) < 0.1
FORGET = ForgetSet(jnp.asarray(ONES), jnp.asarray(np.where(GONE, 0.0, 1.0)))
KEPT = layout.build(*CELLS[~GONE].T, np.asarray(TRAIN.values)[~GONE], n_users=U, n_items=I)
REQUEST = (*CELLS[GONE].T, np.asarray(TRAIN.values)[GONE])
FREE = ("version", "promise.seed")  # a receipt with another of these is as true


def best_for(weights, reg=REG):
    return factorise(truth(TRAIN, weights, reg), D)


@pytest.fixture(scope="module")
def models():
    """The optima with the request in the data and without it."""
    return best_for(ONES), best_for(FORGET.after)


def stated(factors, before, **changes):
    given = {"objective": OBJECTIVE, "tol": TOL, "seed": 5, "version": "1"} | changes
    return receipt.state(factors, TRAIN, FORGET, before=before, **given)


@pytest.fixture(scope="module")
def issued(models):
    before, after = models
    return receipt.make(
        after, TRAIN, FORGET, before=before, objective=OBJECTIVE, tol=TOL, seed=5, version="1"
    )


def verify(made, factors, before=None, request=REQUEST):
    return receipt.verify(made, factors, KEPT, fresh_seed=99, request=request, before=before)


def test_an_honest_receipt_shows_that_the_request_is_forgotten(issued, models):
    before, after = models
    found = verify(json.loads(json.dumps(issued)), after, before)
    assert found.wrong == [] and found.forgotten and found.signed_by is None
    assert found.unproved == ["version: the issuer's own word"]
    assert found.factor == issued["before"]["bound"] / issued["certificate"]["bound"] > 100
    assert issued["kept"]["bound"] > 100 * issued["certificate"]["bound"]
    assert issued["before"]["trained"] < 0.01 * issued["before"]["bound"]


def test_the_rows_and_pairs_of_the_request_are_within_their_bounds():
    best = truth(TRAIN, FORGET.after, REG)
    users, items = CELLS[GONE].T
    rng = np.random.default_rng(0)
    for size in (0.0, 1e-3, 0.1, 1.0):
        model = factorise(best + size * rng.normal(size=best.shape), D)
        error = np.asarray(model.users @ model.items.T) - best
        found = evidence.numbers(
            model, TRAIN, FORGET.after, objective=OBJECTIVE, seed=0, request=(users, items)
        )
        rows = np.linalg.norm(error[np.unique(users)])
        assert rows <= found["rows"] <= found["bound"] * (1 + 1e-9)
        assert np.linalg.norm(error[users, items]) <= found["pairs"] <= found["rows"]
        model = np.asarray(model.users @ model.items.T)
        np.testing.assert_allclose(found["rows_size"], np.linalg.norm(model[np.unique(users)]))


def test_what_the_verifier_was_not_given_is_named_and_then_nothing_is_called_forgotten(
    issued, models
):
    before, after = models
    for request, model, words in [
        (None, None, ("request, kept", "before:")),
        (REQUEST[:2], None, ("request.data and kept", "before:")),
        (REQUEST[:2], before, ("request.data and kept", "before.trained")),
        (None, before, ("request, kept", "before.trained")),
    ]:
        found = verify(issued, after, model, request)
        assert found.wrong == [] and not found.forgotten and found.factor is None
        for word in words:
            assert any(line.startswith(word) for line in found.unproved), (request, word)
    found = verify(issued, after, None, REQUEST)
    assert found.forgotten and found.factor is None


def test_no_receipt_where_doing_nothing_meets_the_tolerance(models):
    before, after = models
    loose = 2 * stated(after, before)["before"]["bound"] / 5
    given = {"before": before, "objective": OBJECTIVE, "seed": 5, "version": "1"}
    for model in (before, after):
        with pytest.raises(ValueError, match="doing nothing meets the tolerance"):
            receipt.make(model, TRAIN, FORGET, tol=loose, **given)
        forged = stated(model, before, tol=loose)
        wrong = verify(forged, model, before).wrong
        assert wrong and all("doing nothing meets the tolerance" in line for line in wrong)


def test_another_model_before_does_not_make_an_untouched_model_forget(models):
    before, _ = models
    noise = Factors(before.users + 1.0, before.items)
    loose = stated(before, before)["certificate"]["relative_bound"] * 1.1
    forged = stated(before, noise, tol=loose)
    found = verify(forged, before, noise)
    assert any("with the request still in the data" in line for line in found.wrong)
    assert not found.forgotten


def test_an_untrained_model_before_gives_no_factor(models):
    _, after = models
    noise = Factors(after.users + 1.0, after.items)
    found = verify(stated(after, noise), after, noise)
    if found.factor is not None:  # it may happen to fit the request better; it fits nothing well
        assert found.numbers["relative_bound"] <= TOL
    assert found.forgotten  # of the model after, whatever was before


def test_zero_factors_under_a_huge_ridge_show_nothing():
    zero = Factors(jnp.zeros((U, D)), jnp.zeros((I, D)))
    objective = {"reg": 1e9, "alpha": 1.0}
    with pytest.raises(ValueError, match="doing nothing meets the tolerance"):
        receipt.make(
            zero, TRAIN, FORGET, before=zero, objective=objective, tol=TOL, seed=5, version="1"
        )
    forged = stated(zero, zero, objective=objective)
    assert verify(forged, zero, zero).wrong


def test_the_receipt_has_no_say_in_the_proof(models):
    before, after = models
    one = factorise(np.asarray(after.users @ after.items.T), 1)  # rank 1, far away
    one = Factors(*(jnp.pad(side, ((0, 0), (0, D - 1))) for side in one))
    forged = stated(one, before)
    weak = {"failure": 0.9, "steps": 1, "width": 1}
    for place in ("promise", "certificate"):
        bent = copy.deepcopy(forged)
        bent[place] |= {"settings": weak}
        bent["digest"] = receipt.digest(bent)
        with pytest.raises(ValueError, match="unknown field 'settings'"):
            verify(bent, one, before)
    assert any("over the promised" in line for line in verify(forged, one, before).wrong)
    with pytest.raises(ValueError, match="failure must be in"):
        receipt.verify(
            forged, one, KEPT, fresh_seed=1, settings=evidence.STANDARD | {"failure": 1e12}
        )


def test_a_receipt_of_too_large_a_distance_is_not_issued(models):
    before, after = models
    with pytest.raises(ValueError, match="the certified distance is"):
        receipt.make(
            before, TRAIN, FORGET, before=before, objective=OBJECTIVE, tol=TOL, seed=5, version="1"
        )
    half = FORGET._replace(before=FORGET.before * 0.5, after=FORGET.after * 0.5)
    with pytest.raises(ValueError, match="weights of 0 or 1"):
        receipt.make(
            after, TRAIN, half, before=before, objective=OBJECTIVE, tol=TOL, seed=5, version="1"
        )


def leaves(tree, path=()):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name)


def forge(made, path, value, redigest=True):
    made = copy.deepcopy(made)
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    if redigest and path != ("digest",):
        made["digest"] = receipt.digest(made)
    return made


@pytest.mark.parametrize("path", list(leaves(fields.FIELDS)), ids=".".join)
def test_an_edit_of_any_field_fails_or_the_field_is_free(issued, models, path):
    before, after = models
    inner = issued
    for name in path:
        inner = inner[name]
    if isinstance(inner, str):
        value = "0" * len(inner)
    else:
        value = inner + 1 if isinstance(inner, int) else 0.5 * inner + 1e-6
    if path == ("promise", "tol"):
        value = 1e-9
    if path == ("schema",):
        with pytest.raises(ValueError, match="schema"):
            verify(forge(issued, path, value), after, before)
        return
    for redigest in (False, True):
        try:
            wrong = verify(forge(issued, path, value, redigest), after, before).wrong
        except ValueError as fault:
            wrong = [str(fault)]
        assert wrong or (redigest and ".".join(path) in FREE)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from(
        [10**400, -(2**70), 1e300, -1.0, 0.0, 0.5, float("nan"), float("inf"), "", "x"]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)
PATHS = [*leaves(fields.FIELDS), *((name,) for name in fields.FIELDS), ("signature",), ("more",)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("failure_probability", 0.0), ("gap", 0.0), ("residual", 0.0), ("rank", 4.0), ("bound", 0.0)],
)
def test_a_small_number_is_not_taken_for_nothing(issued, models, name, value):
    forged = copy.deepcopy(issued)
    forged["certificate"][name] = value
    forged["digest"] = receipt.digest(forged)
    assert verify(forged, models[1], models[0]).wrong


@given(st.sampled_from(PATHS), ANYTHING, st.booleans())
def test_random_values_of_fields_never_verify_and_never_raise_anything_else(
    issued, models, path, value, redigest
):
    before, after = models
    forged = copy.deepcopy(issued)
    inner = forged
    for name in path[:-1]:
        inner = inner[name]
    there = inner.get(path[-1], "not there")
    same = not isinstance(value, bool) and there == value
    if isinstance(there, float) and isinstance(value, (int, float)) and abs(value) < 1e9:
        same = same or math.isclose(value, there, rel_tol=1e-3)  # what another machine may find
    inner[path[-1]] = value
    if redigest and path != ("digest",):
        try:
            forged["digest"] = receipt.digest(forged)
        except ValueError:  # NaN is no JSON
            return
    try:
        wrong = verify(forged, after, before).wrong
    except ValueError as fault:
        assert "\n" not in str(fault) and len(str(fault)) < 300
        return
    free = redigest and ".".join(path) in FREE
    weaker = redigest and path == ("promise", "tol") and value == 0.5
    assert wrong or free or weaker or same


@given(st.sampled_from([*fields.FIELDS, *(f"certificate.{name}" for name in fields.NUMBERS)]))
def test_a_receipt_without_a_field_is_none(issued, models, name):
    forged = copy.deepcopy(issued)
    *outer, last = name.split(".")
    del (forged[outer[0]] if outer else forged)[last]
    with pytest.raises(ValueError, match="schema" if name == "schema" else f"has no {last}"):
        verify(forged, models[1])


@pytest.mark.parametrize("old", [None, [], "x", 3, {}, {"request": {}}, {"schema": 1}])
def test_receipts_of_other_schemas_are_refused_with_what_to_do(models, old):
    with pytest.raises(ValueError, match=r"must be an object|issue it again"):
        verify(old, models[1])


def test_other_factors_data_and_requests_fail(issued, models):
    before, after = models
    moved = Factors(after.users.at[0, 0].add(1e-2), after.items)
    assert verify(issued, moved, before).wrong
    hidden = forge(issued, ("factors",), receipt.hash_arrays(*moved))
    assert any("recomputed" in line for line in verify(hidden, moved, before).wrong)
    fewer = layout.build(KEPT.users[1:], KEPT.items[1:], KEPT.values[1:], n_users=U, n_items=I)
    assert receipt.check(issued, after, fewer, fresh_seed=9)
    for request, words in [
        ([ids[1:] for ids in REQUEST], "is not the one of the receipt"),
        ((KEPT.users[:1], KEPT.items[:1]), "still in the retained data"),
        ((*REQUEST[:2], REQUEST[2] + 1), "the values of the request"),
        (([U], [0]), "none of the 14 in the data"),
        (([-1], [0]), "none of the 14 in the data"),
        (([0], [10**20]), "none of the 11 in the data"),
        ([np.append(ids, ids[0]) for ids in REQUEST[:2]], "names a pair twice"),
    ]:
        wrong = receipt.check(issued, after, KEPT, fresh_seed=9, request=request)
        assert any(words in line for line in wrong), words


def test_nothing_is_issued_for_what_proves_nothing(models):
    before, after = models
    given = {"objective": OBJECTIVE, "tol": TOL, "seed": 5, "version": "1"}
    for bad in (jnp.nan, jnp.inf):
        broken = Factors(after.users.at[0, 0].set(bad), after.items)
        for model, earlier in ((broken, before), (after, broken)):
            with pytest.raises(ValueError, match="no receipt: nothing is proved"):
                receipt.make(model, TRAIN, FORGET, before=earlier, **given)
    repeated, n = by_hand(*CELLS.T, np.asarray(TRAIN.values), 2)
    request = ForgetSet(jnp.ones(n), jnp.ones(n))
    with pytest.raises(ValueError, match="a pair is repeated"):
        receipt.make(after, repeated, request, before=before, **given)
    found = evidence.numbers(after, repeated, np.ones(n), objective=OBJECTIVE, seed=0)
    assert found["relative_bound"] == np.inf


def test_a_signature_names_its_key_and_fits_one_receipt(issued, models):
    pytest.importorskip("cryptography")
    before, after = models
    secret, public = signing.generate()
    signed = json.loads(json.dumps(signing.sign(issued, secret)))
    found = verify(signed, after, before)
    assert found.wrong == [] and found.signed_by == signing.fingerprint_of(public)
    other = forge(signed, ("version",), "2")
    assert verify(other, after, before).wrong == ["the signature does not belong to this receipt"]
    for name, length in (("key", 64), ("value", 128)):
        bent = forge(signed, ("signature", name), "1" * length)
        assert "the signature does not belong to this receipt" in verify(bent, after, before).wrong
        with pytest.raises(ValueError, match=f"signature.{name} must be"):
            verify(forge(signed, ("signature", name), "xy"), after, before)
    assert signing.sign(signed, secret) == signed
    with pytest.raises(ValueError, match="not a private key"):
        signing.sign(issued, public)
    with pytest.raises(ValueError, match="not a public key"):
        signing.fingerprint_of(secret)


def test_without_cryptography_a_signature_is_named_as_not_proved(issued, models, monkeypatch):
    pytest.importorskip("cryptography")
    before, after = models
    signed = signing.sign(issued, signing.generate()[0])

    def missing():
        raise ModuleNotFoundError("signatures need the package cryptography")

    monkeypatch.setattr(signing, "_library", missing)
    found = verify(signed, after, before)
    assert found.wrong == [] and found.signed_by is None
    assert any(line.startswith("the signature") for line in found.unproved)


def test_an_empty_request_has_a_receipt_that_calls_nothing_forgotten(models):
    before, _ = models
    nothing = ForgetSet(FORGET.before, FORGET.before)
    made = receipt.make(
        before, TRAIN, nothing, before=before, objective=OBJECTIVE, tol=TOL, seed=5, version="1"
    )
    found = receipt.verify(made, before, TRAIN, fresh_seed=1, request=([], [], []), before=before)
    assert found.wrong == [] and not found.forgotten


def test_everything_can_be_forgotten(models):
    before, _ = models
    zero = Factors(jnp.zeros((U, D)), jnp.zeros((I, D)))
    everything = ForgetSet(FORGET.before, 0 * FORGET.before)
    made = receipt.make(
        zero, TRAIN, everything, before=before, objective=OBJECTIVE, tol=TOL, seed=5, version="1"
    )
    kept = layout.build([], [], np.zeros(0), n_users=U, n_items=I)
    request = (TRAIN.users, TRAIN.items, TRAIN.values)
    found = receipt.verify(made, zero, kept, fresh_seed=1, request=request, before=before)
    assert found.wrong == [] and found.forgotten and found.factor == np.inf


def test_the_numbers_of_a_receipt_are_those_of_the_certificate(issued, models):
    proved = certificate.duality_gap(
        models[1], TRAIN, FORGET.after, **OBJECTIVE, key=jax.random.key(5)
    )
    assert issued["certificate"]["bound"] == float(proved.bound)
    assert set(fields.NUMBERS) == set(issued["certificate"])
    assert verifying.nothing_done(issued) == []
