"""Models, interactions and ids that do not belong together are refused, never read past the end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget import metrics
from jaxforget.metrics import canaries, distance, exposure, labels, rank_measures, ranking, stable
from jaxforget.sparse import layout
from jaxforget.types import Factors

U, I = 6, 8
KS = (2,)
TRAIN = layout.build([0, 1, 3, 5], [0, 1, 4, 7], [1.0] * 4, n_users=U, n_items=I)
ONES = jnp.ones(4)
ALL, SOME = jnp.ones(U, bool), jnp.ones(I, bool)
PAIR = jnp.array([0]), jnp.array([3])


def model(n_users=U, n_items=I):
    draw = np.random.default_rng(0)
    return Factors(*(jnp.asarray(draw.normal(size=(n, 2))) for n in (n_users, n_items)))


class Few:
    """Scores on demand, of three users."""

    n_users, n_items, dtype = 3, I, jnp.float64

    def scores(self, users):
        return jnp.ones((len(users), I))


def measured(f, hidden=TRAIN, weights=ONES):
    """Every measure of lists, by name, of a model and of what is hidden from its users."""
    hide = [(hidden, weights)]
    return {
        "over_users": lambda: ranking.over_users(
            lambda r: {"hit": rank_measures.hit(r, k=2)}, f, TRAIN, hide
        ),
        "overlap": lambda: ranking.overlap(model(), f, hide, ks=KS),
        "exposure": lambda: ranking.exposure(f, jnp.array(3), ALL, hide, ks=KS),
        "exposure.of_items": lambda: exposure.of_items(f, SOME, ALL, hide, ks=KS),
        "exposure.of_pairs": lambda: exposure.of_pairs(f, TRAIN, ONES > 0, hide, ks=KS),
        "rank_exposure": lambda: canaries.rank_exposure(f, *PAIR, SOME, hidden, weights),
        "stable_items": lambda: stable.stable_items(f, hidden, weights, jnp.array(0.1), k=2),
    }


UNFIT = {
    "users": {"f": model(n_users=3)},
    "items": {"f": model(n_items=9)},
    "hidden": {"hidden": layout.build([0], [0], [1.0], n_users=U, n_items=3), "weights": ONES[:1]},
    "weights": {"weights": ONES[:1]},
}


@pytest.mark.parametrize("name", measured(None))
@pytest.mark.parametrize("what", UNFIT)
def test_a_measure_of_lists_refuses_what_is_not_of_its_model(name, what):
    words = r"weight" if what == "weights" else r"must be of the model's \d users and \d items; got"
    with pytest.raises(ValueError, match=f"^{name}: .*{words}"):
        measured(**{"f": model()} | UNFIT[what])[name]()


def test_scores_of_pairs_and_distances_are_of_one_set_of_users_and_items():
    for served in (model(n_users=3), Few()):
        with pytest.raises(ValueError, match="scores_of: cells must be of the model's 3 users"):
            labels.label_auc(served, TRAIN)
        with pytest.raises(ValueError, match="prediction_distance: b must be of the model's 6"):
            distance.prediction_distance(model(), served)
        with pytest.raises(ValueError, match="overlap: b must be of the model's 6"):
            ranking.overlap(model(), served, [], ks=KS)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f: exposure.of_items(f, SOME[:1], ALL, [], ks=KS), r"items must be \[8\]; got"),
        (lambda f: exposure.of_items(f, SOME, ALL[:3], [], ks=KS), r"people must be \[6\]; got"),
        (lambda f: exposure.of_pairs(f, TRAIN, ALL[:1], [], ks=KS), r"where must be \[4\]; got"),
        (lambda f: ranking.exposure(f, 3, ALL[:3], [], ks=KS), r"where must be \[6\]; got \[3\]"),
        (lambda f: ranking.over_users(dict, f, TRAIN, [], ALL[:1]), r"counts must be \[4\]; got"),
        (
            lambda f: canaries.rank_exposure(f, *PAIR, SOME[:1], TRAIN, ONES),
            r"pool must be \[8\]; got \[1\]",
        ),
    ],
)
def test_marks_of_users_items_or_pairs_are_one_for_each(call, words):
    with pytest.raises(ValueError, match=words):
        call(model())


@pytest.mark.parametrize("target", [-1, I, 99])
def test_an_item_that_is_none_is_refused_and_traced_it_has_no_exposure(target):
    def shown(target):
        return ranking.exposure(model(), target, ALL, [(TRAIN, ONES)], ks=KS)[2]

    with pytest.raises(ValueError, match=rf"target must hold ids in \[0, 8\); got {target}"):
        shown(target)
    found = jax.jit(jax.vmap(shown))(jnp.array([target, 3]))
    assert np.isnan(found[0]) and np.isclose(found[1], shown(3))


@pytest.mark.parametrize(("user", "item"), [(99, 3), (-1, 3), (0, 99), (0, -1)])
def test_a_planted_pair_that_is_none_is_refused_and_traced_it_tells_nothing(user, item):
    def bits(users, items):
        return canaries.rank_exposure(model(), users, items, SOME, TRAIN, ONES)

    bad = jnp.array([0, user]), jnp.array([3, item])
    with pytest.raises(ValueError, match=r"rank_exposure: (users|items) must hold ids in"):
        bits(*bad)
    assert np.isnan(jax.jit(bits)(*bad)) and np.isfinite(bits(*PAIR))


def test_factors_that_do_not_fit_are_refused_by_evaluate_in_the_same_words():
    asked = metrics.evaluation.ForgetSet(ONES, ONES)
    parts = metrics.evaluation.Split(TRAIN, TRAIN, TRAIN)
    with pytest.raises(ValueError, match="must be of the model's 3 users and 8 items; got 6 and 8"):
        metrics.evaluate(model(n_users=3), parts, asked)
