"""Shilling attacks: what a profile holds, what the request forgets, and exposure by hand."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget import metrics, models
from jaxforget.metrics import ranking
from jaxforget.prepare import shilling
from jaxforget.sparse import layout, serving
from jaxforget.types import Factors, Split

N_USERS, N_ITEMS = 30, 20


def parts(seed=0, labels=False):
    """Popularity falls with the item's id; the last item has no interaction."""
    rng = np.random.default_rng(seed)
    chance = np.linspace(0.9, 0.1, N_ITEMS - 1)
    cells = np.argwhere(rng.random((N_USERS, N_ITEMS - 1)) < chance)
    values = rng.integers(0, 2, len(cells)) if labels else rng.integers(1, 6, len(cells))
    cut = rng.permutation(len(cells))
    return Split(
        *(
            layout.build(*cells[rows].T, values[rows] / 1.0, n_users=N_USERS, n_items=N_ITEMS)
            for rows in (cut[:-40], cut[-40:-20], cut[-20:])
        )
    )


def inject(seed=0, split=None, **more):
    settings = {"kind": "random", "count": 7, "fillers": 5, "unpopular": 0.3} | more
    return shilling.inject(jax.random.key(seed), split or parts(), **settings)


def profiles(attack):
    """{injected user: {item: value}}"""
    train, by_user = attack.split.train, {}
    for user, item, value in zip(
        train.users.tolist(), train.items.tolist(), train.values.tolist(), strict=True
    ):
        if not attack.genuine[user]:
            by_user.setdefault(user, {})[item] = value
    return by_user


@pytest.mark.parametrize("kind", ["random", "bandwagon"])
def test_a_profile_is_the_target_and_its_fillers(kind):
    attack, clean = inject(kind=kind), parts()
    target, best = int(attack.target), float(clean.train.values.max())
    met = Counter(clean.train.items.tolist())
    popular = [i for i, _ in met.most_common() if i != target][:2]
    assert list(profiles(attack)) == list(range(N_USERS, N_USERS + 7))
    for profile in profiles(attack).values():
        assert len(profile) == 6 and profile[target] == best
        if kind == "bandwagon":  # 5 // 2 of the fillers; no tie at this seed
            assert met[popular[1]] > sorted(met.values())[-4]
            assert all(profile.get(item) == best for item in popular)
    assert len({tuple(p) for p in profiles(attack).values()}) > 1  # drawn for each anew


def test_random_fillers_are_uniform_and_their_values_are_those_of_the_data():
    attack = inject(count=1500, fillers=4)
    filled = [(i, v) for p in profiles(attack).values() for i, v in p.items()]
    filled = [(i, v) for i, v in filled if i != int(attack.target)]
    counts = Counter(i for i, _ in filled)
    expected = 1500 * 4 / (N_ITEMS - 1)
    assert set(counts) == set(range(N_ITEMS)) - {int(attack.target)}
    assert all(abs(n - expected) < 5 * expected**0.5 for n in counts.values())
    given = parts().train.values
    assert np.mean([v for _, v in filled]) == pytest.approx(float(given.mean()), abs=0.1)


def test_the_target_is_among_the_least_popular_items_and_varies_with_the_key():
    clean = parts()
    met = np.bincount(clean.train.items, minlength=N_ITEMS)
    allowed = set(np.argsort(met)[1:][:6].tolist())  # 30 % of the 19 items that were met, upward
    worst = max(met[list(allowed)])
    found = {int(inject(seed).target) for seed in range(12)}
    assert len(found) > 2 and all(0 < met[item] <= worst for item in found)


def test_popularity_counts_positive_labels_alone():
    clean = parts(labels=True)
    positive = np.bincount(clean.train.items, np.asarray(clean.train.values), minlength=N_ITEMS)
    attack = inject(split=clean, kind="bandwagon", fillers=2)
    first = int(np.argmax(positive))
    assert np.sort(positive)[-2] < positive[first]
    assert all(profile.get(first) == 1.0 for profile in profiles(attack).values())


def test_genuine_rows_stay_and_every_part_counts_the_new_users():
    clean, attack = parts(), inject()
    for before, after in zip(clean, attack.split, strict=True):
        n = len(before.users)
        assert after.n_users == N_USERS + 7 and after.n_items == N_ITEMS
        for name in ("users", "items", "values"):
            assert getattr(after, name)[:n].tolist() == getattr(before, name).tolist()
    assert len(attack.split.test.users) == len(clean.test.users)
    assert attack.genuine.tolist() == [True] * N_USERS + [False] * 7


def test_forgetting_the_profiles_is_training_without_them():
    clean, attack = parts(), inject()
    train = attack.split.train
    request = shilling.request(train, attack.genuine)
    assert int(request.before.sum() - request.after.sum()) == 7 * 6
    model = models.load("ials")(dim=3, reg=1.0, alpha=3.0)
    never, _ = model.fit(jax.random.key(1), clean.train, jnp.ones(len(clean.train.users)))
    start = Factors(jnp.ones((N_USERS + 7, 3)), jnp.asarray(never.items))
    without, _ = model.fit(jax.random.key(1), train, request.after, start)
    padded = Factors(jnp.ones((N_USERS, 3)), jnp.asarray(never.items))
    again, _ = model.fit(jax.random.key(1), clean.train, jnp.ones(len(clean.train.users)), padded)
    np.testing.assert_allclose(without.users[:N_USERS], again.users, atol=1e-9)
    np.testing.assert_allclose(without.users[N_USERS:], 0, atol=1e-12)
    np.testing.assert_allclose(without.items, again.items, atol=1e-9)


def test_a_share_of_the_users_is_rounded_up():
    assert int((~inject(count=None, ratio=0.1).genuine).sum()) == 3
    assert int((~inject(count=None, ratio=0.11).genuine).sum()) == 4


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"kind": "average"}, "kind must be one of 'random', 'bandwagon'; got 'average'"),
        ({"fillers": 0}, "inject: fillers must be an integer, 1 or more; got 0"),
        ({"fillers": 1.5}, "fillers must be an integer, 1 or more; got 1.5"),
        ({"fillers": N_ITEMS}, "fillers must lie in"),
        ({"unpopular": 0.0}, r"unpopular must be in \(0, 1\]; got 0.0"),
        ({"unpopular": "0.5"}, r"unpopular must be in \(0, 1\]; got '0.5'"),
        ({"count": 0}, "count must be an integer"),
        ({"count": True}, "inject: count must be an integer, 1 or more; got True"),
        ({"ratio": 0.1}, "ratio or a count"),
        ({"count": None, "ratio": 1.5}, "ratio must be in"),
        ({"count": None, "ratio": "0.5"}, "ratio must be in"),
    ],
)
def test_a_setting_out_of_range_is_named(more, words):
    with pytest.raises(ValueError, match=words):
        inject(**more)


@pytest.mark.parametrize("cells", [1, 40, 1 << 21])
def test_exposure_equals_hand_arithmetic(cells, monkeypatch):
    """Users 0..3 see item 2, the target, at ranks 0, 1, 1 or 2, hidden; user 4 does not count."""
    monkeypatch.setattr(serving, "SCORES_AT_ONCE", cells)
    scores = [[1, 2, 9, 0], [3, 0, 2, 1], [3, 2, 2, 0], [0, 0, 9, 0], [0, 0, 9, 0]]
    factors = Factors(jnp.asarray(scores, float), jnp.eye(4))
    seen = layout.build([0, 3], [1, 2], [1.0, 1.0], n_users=5, n_items=4)
    where = jnp.arange(5) < 4

    def at(weights):
        found = ranking.exposure(
            factors, jnp.int32(2), where, [(seen, jnp.asarray(weights))], ks=(1, 2, 3)
        )
        return [round(float(found[k]), 6) for k in (1, 2, 3)]

    assert at([1.0, 1.0]) == [round(1 / 3, 6), round(2.5 / 3, 6), 1.0]
    assert at([1.0, 0.0]) == [2 / 4, 3.5 / 4, 1.0]  # forgotten, so user 3 may see it again
    nobody = ranking.exposure(
        factors, jnp.int32(2), where & (jnp.arange(5) == 3), [(seen, jnp.ones(2))], ks=(1,)
    )
    assert np.isnan(nobody[1])


@pytest.mark.slow
def test_an_attack_raises_the_targets_exposure_and_retraining_undoes_it():
    clean = parts()
    attack = inject(count=25, fillers=6)
    train, model = attack.split.train, models.load("ials")(dim=4, reg=1.0, alpha=5.0)
    request = shilling.request(train, attack.genuine)
    hidden = [(train, request.after)]
    found = {}
    for name, weights in (("attacked", request.before), ("retrained", request.after)):
        factors, _ = model.fit(jax.random.key(0), train, weights)
        shown = ranking.exposure(factors, attack.target, attack.genuine, hidden, ks=(5,))
        found[name] = float(shown[5])
    assert found["attacked"] > found["retrained"] + 0.2
    assert len(clean.test.users) == len(attack.split.test.users)
    assert np.isfinite(metrics.evaluate(factors, attack.split, request, ks=(5,))["ndcg@5"])


def test_a_bandwagon_has_as_many_popular_items_as_it_promises_or_is_refused():
    """With two items that anybody likes, four of five popular fillers were drawn at random."""
    part = layout.build([0, 1, 2, 0], [0, 0, 1, 5], [1.0, 1.0, 1.0, 0.0], n_items=20)
    split = Split(part, part, part)
    with pytest.raises(ValueError, match=r"half of 10 fillers from .* of which there are 1: give"):
        inject(split=split, kind="bandwagon", fillers=10, unpopular=1.0)
    found = inject(split=split, kind="bandwagon", fillers=3, unpopular=1.0)
    for profile in profiles(found).values():
        assert {0, 1} <= set(profile)
    assert inject(split=split, kind="random", fillers=10, unpopular=1.0).split.train.n_users == 10
