"""Requests one after another: files of RecBole, lists that still show what was forgotten, steps."""

import gzip

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import toy_runs

from experiments import cli
from experiments.commands import sequence as command
from experiments.errors import Refused
from experiments.lab import sequence, tables
from jaxforget.metrics import exposure
from jaxforget.prepare import interop, requests
from jaxforget.sparse import layout
from jaxforget.types import Factors, ForgetSet, Split

HEAD = "user_id:token\titem_id:token\n"
USERS, ITEMS = np.array(["ann", "bob", "cid"]), np.array([70, 71, 72])
PARTS = Split(
    layout.build([0, 0, 1, 2], [0, 1, 1, 2], np.ones(4), n_users=3, n_items=3),
    layout.build([0], [2], [1.0], n_users=3, n_items=3),
    layout.build([1], [0], [1.0], n_users=3, n_items=3),
)


# Files


def test_pairs_and_lists_are_read_from_recbole_files_further_fields_are_not(tmp_path):
    text = 'item_id:token\tuser_id:token\twhy:token_seq\trating:float\n71\tann\t"moved on\t-\n'
    (tmp_path / "r.inter").write_text(text + "72\tcid\t\tx\n")
    (tmp_path / "r.inter.gz").write_bytes(gzip.compress((text + "72\tcid\t\tx\n").encode()))
    for path in (tmp_path / "r.inter", tmp_path / "r.inter.gz"):
        users, items = interop.read_pairs(path, USERS, ITEMS)
        assert (users.tolist(), items.tolist()) == ([0, 2], [1, 2])
        found = requests.listed(path, PARTS, USERS, ITEMS)
        assert (found.users.tolist(), found.items.tolist()) == ([0, 2], [1, 2])
    (tmp_path / "u.inter").write_text("user_id:token\nann\n")
    whole = requests.listed(tmp_path / "u.inter", PARTS, USERS, ITEMS)
    assert whole.items is None and whole.counts["train"] == 2 and whole.counts["valid"] == 1


@pytest.mark.parametrize(
    "text, fault",
    [
        ("", "line 1: the file is empty"),
        ("user,item\nann,70\n", "line 1: the header must have"),
        ("user_id:token\tuser_id:token\titem_id:token\n", "line 1: the header must have"),
        (HEAD.replace("\t", " ") + "ann 70\n", "line 1: spaces between the fields"),
        (HEAD.replace("item_id:token", "item_id:token_seq") + "ann\t70\n", "line 1: item_id:token"),
        (HEAD, "line 2: no "),
        (HEAD + "ann\n", "line 2: expected 2 columns"),
        (HEAD + "ann\t70\nbob\tx\n", "line 3: item must be an integer"),
        (HEAD + "\t70\n", "line 2: user is empty"),
    ],
)
def test_a_bad_recbole_file_is_refused_with_its_line(tmp_path, text, fault):
    path = tmp_path / "r.inter"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"r.inter, {fault}"):
        interop.read_pairs(path, USERS, ITEMS)
    with pytest.raises(ValueError, match=f"r.inter, {fault}"):
        requests.listed(path, PARTS, USERS, ITEMS)


# Measures


def shares(scores, shown, k):
    """The chance of each item to be among the first k, over all orders of ties."""
    chance = np.zeros(len(scores))
    values = np.where(shown, scores, -np.inf)
    for item in np.flatnonzero(shown):
        above, level = (values > values[item]).sum(), (values == values[item]).sum()
        chance[item] = np.clip((k - above) / level, 0, 1)
    return chance


@pytest.mark.parametrize("seed", range(3))
def test_exposure_equals_a_loop_over_people_with_ties_and_short_lists(seed):
    rng = np.random.default_rng(seed)
    n_users, n_items, ks = 9, 7, (1, 3, 6)
    scores = rng.integers(0, 3, (n_users, n_items)).astype(float)
    model = Factors(jnp.asarray(scores), jnp.eye(n_items))
    cells = np.sort(rng.permutation(n_users * n_items)[:40])
    train = layout.build(cells // n_items, cells % n_items, np.ones(40), n_users=9, n_items=7)
    held, gone = rng.random(40) < 0.6, rng.random(40) < 0.5
    weights = jnp.asarray(held.astype(float))
    items, people = rng.random(n_items) < 0.5, rng.random(n_users) < 0.7
    shown = np.ones((n_users, n_items), bool)
    shown[cells[held] // n_items, cells[held] % n_items] = False
    of_items = exposure.of_items(
        model, jnp.asarray(items), jnp.asarray(people), [(train, weights)], ks=ks
    )
    of_pairs = exposure.of_pairs(model, train, jnp.asarray(gone), [(train, weights)], ks=ks)
    for k in ks:
        lists = [shares(scores[u], shown[u], k) for u in range(n_users)]
        wanted = [
            lists[u][items].sum() / min(k, shown[u].sum())
            for u in np.flatnonzero(people & shown.any(axis=1))
        ]
        assert float(of_items[k]) == pytest.approx(np.mean(wanted))
        asked = [divmod(cell, n_items) for cell in cells[gone & ~held]]
        wanted = [lists[u][i] for u, i in asked]
        assert float(of_pairs[k]) == pytest.approx(np.mean(wanted))


def test_scores_that_are_no_numbers_and_nobody_at_all_give_no_number():
    model = Factors(jnp.array([[1.0], [jnp.nan]]), jnp.array([[2.0], [1.0]]))
    pairs, items = layout.build([0, 1], [0, 1], [1.0, 1.0]), jnp.array([True, False])
    for people, known in (([True, False], True), ([True, True], False), ([False, False], False)):
        people = jnp.array(people)
        of_items = exposure.of_items(model, items, people, [], ks=(1,))[1]
        of_pairs = exposure.of_pairs(model, pairs, people, [], ks=(1,))[1]
        assert (float(of_items), float(of_pairs)) == (1, 1) if known else True
        assert bool(jnp.isnan(of_items)) == bool(jnp.isnan(of_pairs)) == (not known)
    nothing = layout.build([], [], [], n_users=2, n_items=2)
    assert jnp.isnan(exposure.of_pairs(model, nothing, jnp.zeros(0, bool), [], ks=(1,))[1])
    for call in (
        lambda: exposure.of_items(model, items, items, [], ks=(0,)),
        lambda: exposure.of_pairs(model, pairs, items, [], ks=(0,)),
    ):
        with pytest.raises(ValueError, match="must be an integer, 1 or more"):
            call()


# The order, and the checkpoints


def test_people_ask_in_turn_each_for_all_that_is_theirs():
    users, items = np.repeat(np.arange(6), 3), np.tile(np.arange(3), 6)
    train = layout.build(users, items, np.ones(18), n_users=6, n_items=4)
    gone = (users > 0) & (items < 2)
    request = ForgetSet(jnp.ones(18), jnp.asarray(1.0 - gone))
    turns = sequence.turns(train, request, 0, None)
    assert turns.n_people == 5 and sorted(turns.order) == [0, 1, 2, 3, 4, 6]
    assert turns.items.tolist() == [True, True, False, False]
    steps = np.stack([turns.after(n) for n in range(6)])
    assert (steps[0] == 1).all() and (steps[-1] == request.after).all()
    for n, lost in enumerate(steps[:-1] - steps[1:]):
        assert set(users[lost > 0]) == {int(np.flatnonzero(turns.order == n)[0])}
        assert lost.sum() == 2
    few = sequence.turns(train, request, 0, 2)
    assert few.n_people == 2 and (few.after(2) == turns.after(2)).all()
    assert (few.items == turns.items).all()
    orders = {tuple(sequence.turns(train, request, seed, None).order) for seed in range(5)}
    assert len(orders) > 1
    with pytest.raises(Refused, match="names no interaction"):
        sequence.turns(train, ForgetSet(request.before, request.before), 0, None)


@pytest.mark.parametrize(
    "n, wanted", [(1, [0, 1]), (2, [0, 1, 2]), (6, [0, 2, 3, 5, 6]), (8, [0, 2, 4, 6, 8])]
)
def test_checkpoints_are_quarters_of_the_people_rounded_up(n, wanted):
    found = sequence.checkpoints(n)
    assert list(found) == wanted and found[0] == 0 and found[n] == 1


def test_what_is_measured_hides_what_a_person_still_holds_and_not_what_is_forgotten():
    # ann (held 70, 71; forgets 71), bob (held 71, forgets it), cid (held 72, has not asked)
    request = ForgetSet(jnp.ones(4), jnp.array([1.0, 0.0, 0.0, 1.0]))
    scores = jnp.array([[9.0, 2.0, 1.0], [3.0, 1.0, 1.0], [1.0, 2.0, 3.0]])
    model, people = Factors(scores, jnp.eye(3)), jnp.array([True, True, False])
    items = jnp.array([False, True, True])  # 72 is asked for by somebody later
    found = sequence._measure((1, 2))(model, model, PARTS, request, people, items)
    # lists of one: ann 71; bob 70. Of two: ann 71, 72; bob 70 and one of 71, 72
    assert float(found["sensitive@1"]) == pytest.approx(1 / 2)
    assert float(found["sensitive@2"]) == pytest.approx((1 + 1 / 2) / 2)
    assert float(found["exposure@1"]) == pytest.approx(1 / 2)
    assert float(found["exposure@2"]) == pytest.approx((1 + 1 / 2) / 2)
    assert float(found["distance"]) < 1e-12 and float(found["distance_forgotten"]) < 1e-12
    assert set(found) >= {"ndcg@1", "ndcg@2"}


# The command

CONFIG = """
seeds = [0, 1]
ks = [3]

[data]
[request]
kind = "users"
count = 6

[models.ease]
reg = 5.0

[methods.retrain]

[methods.closed_form]
"""


@pytest.fixture
def folder(tmp_path):
    toy_runs.small(tmp_path, CONFIG)
    return tmp_path


def ask(folder, request):
    """Writes another request into the config."""
    path = folder / "toy.toml"
    path.write_text(path.read_text().replace('kind = "users"\ncount = 6', request))


def run(folder, *more):
    code = cli.main(["sequence", str(folder / "toy.toml"), "--results", str(folder), *more])
    path = folder / "toy" / "sequence.csv"
    words = {"cell": str, "data_hash": str}  # an id of digits alone is no number
    return code, pd.read_csv(path, dtype=words) if path.exists() else None


def test_exact_methods_are_at_every_checkpoint_where_retraining_is(folder, capsys):
    code, rows = run(folder)
    assert code == 0 and list(rows) == command.COLUMNS and rows["cell"].nunique() == 4
    for _, cell in rows.groupby("cell"):
        looks = cell[~cell["metric"].str.startswith("latency")]
        assert sorted(looks["n"].unique()) == [0, 2, 3, 5, 6]
        assert dict(zip(looks["n"], looks["checkpoint"]))[5] == 0.75
        latencies = cell[cell["metric"].str.startswith("latency")]
        by = latencies.pivot(index="checkpoint", columns="metric", values="value")
        assert len(latencies) == 12 and list(by.index) == [0.25, 0.5, 0.75, 1]
        assert (by["latency_min"] <= by["latency_mean"]).all()
        assert (by["latency_mean"] <= by["latency_max"]).all()
        assert latencies.groupby("metric")["n"].sum().tolist() == [6, 6, 6]
    distance = rows[rows["metric"] == "distance"].pivot_table(
        index=["cell", "n"], columns="stage", values="value"
    )
    assert (distance["unlearnt"] < 1e-4).all()  # also of 0, as ease draws nothing
    assert (distance.query("n == 0")["undeleted"] < 1e-6).all()
    assert (distance.query("n > 0")["undeleted"] > 0.01).all()
    for name in ("sensitive", "exposure", "ndcg"):
        some = rows[rows["metric"] == name].pivot_table(
            index=["cell", "n"], columns="stage", values="value"
        )
        np.testing.assert_allclose(some["unlearnt"], some["retrained"], atol=1e-5)
        assert len(some) == (20 if name == "ndcg" else 16)  # before anyone asks, of nobody
    shown = capsys.readouterr().out
    assert "6 people" in shown and "exposure@3" in shown and "latency_mean" in shown


def test_people_over_the_cap_do_not_ask_and_one_person_is_enough(folder):
    code, rows = run(folder, "--requests=3", "--only=method=closed_form,seed=0")
    assert code == 0 and sorted(rows["n"].unique()) == [0, 1, 2, 3]
    code, rows = run(folder, "--requests=1", "--only=method=closed_form,seed=0")
    assert code == 0 and sorted(rows["checkpoint"].unique()) == [0, 1]
    assert (rows["metric"] == "latency_max").sum() == 1


def test_a_part_of_the_cells_leaves_the_others_in_the_table(folder, capsys):
    one, two = ("--only=method=closed_form,seed=0", "--only=method=closed_form,seed=1")
    _, first = run(folder, "--requests=2", one)
    _, both = run(folder, "--requests=2", two)
    assert both["cell"].nunique() == 2 and set(both["people"]) == {2}
    kept = both[both["cell"].isin(first["cell"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, first)
    capsys.readouterr()
    _, again = run(folder, "--requests=2", two)
    assert "already there" in capsys.readouterr().out
    pd.testing.assert_frame_equal(again, both)
    _, more = run(folder, "--requests=3", one)  # of other people: computed, and the old rows go
    assert more.groupby("cell")["people"].nunique().eq(1).all() and set(more["people"]) == {2, 3}


def test_a_table_of_other_data_is_refused_before_anything_is_computed(folder, capsys):
    one, two = ("--only=method=closed_form,seed=0", "--only=method=closed_form,seed=1")
    _, first = run(folder, "--requests=2", one)
    assert first["data_hash"].astype(str).str.fullmatch("[0-9a-f]{16}").all()
    table, data = folder / "toy" / "sequence.csv", folder / "small.csv"
    was, whole = table.read_bytes(), data.read_text()
    lines = whole.splitlines()
    lines[0] = lines[0][:-1] + ("2" if lines[0].endswith("1") else "1")
    data.write_text("\n".join(lines) + "\n")
    for chosen in (one, two):  # nothing is put beside rows of other data either
        code, _ = run(folder, "--requests=2", chosen)
        told = capsys.readouterr().err
        assert code == 2 and "was computed on other data" in told and "restore the data" in told
        assert table.read_bytes() == was
    data.write_text(whole)
    assert run(folder, "--requests=2", one)[0] == 0
    assert "already there" in capsys.readouterr().out and table.read_bytes() == was


def test_a_table_of_other_settings_is_refused_before_anything_is_computed(folder, capsys):
    one = "--only=method=closed_form,seed=0"
    run(folder, "--requests=1", one)
    was = (folder / "toy" / "sequence.csv").read_bytes()
    assert run(folder, "--requests=1", one, "models.ease.reg=77")[0] == 2
    assert "are of other settings" in capsys.readouterr().err
    assert (folder / "toy" / "sequence.csv").read_bytes() == was


def test_a_table_that_does_not_say_of_which_data_it_is_is_refused(folder, capsys):
    run(folder, "--requests=1", "--only=method=closed_form,seed=0")
    path = folder / "toy" / "sequence.csv"
    pd.read_csv(path).drop(columns="data_hash").to_csv(path, index=False)
    code, _ = run(folder, "--requests=1", "--only=method=closed_form,seed=0")
    assert code == 2 and "move it away" in capsys.readouterr().err


def test_ids_and_hashes_of_digits_alone_stay_words(tmp_path):
    lines = [["0012345678901234", "12e4567890123456", 1.0]]
    (tmp_path / "t.csv").write_bytes(tables.csv(["cell", "data_hash", "value"], lines))
    (row,) = tables.there(tmp_path / "t.csv", ["cell", "data_hash", "value"])
    assert list(row.values()) == lines[0]


def test_methods_that_train_in_their_own_way_go_on_from_their_own_state(folder):
    text = (folder / "toy.toml").read_text().partition("[models.ease]")[0]
    model = "[models.ials]\ndim = 2\nreg = 1.0\nalpha = 1.0\nmax_sweeps = 2\n"
    (folder / "toy.toml").write_text(f"{text}{model}[methods.sisa]\nn_shards = 2\n")
    code, rows = run(folder, "--only=seed=0", "--requests=2")
    assert code == 0
    by = rows[rows["metric"] == "exposure"].pivot(index="n", columns="stage", values="value")
    np.testing.assert_allclose(by["unlearnt"], 3 / 25)  # by chance: of who asked nothing is left
    assert not np.isclose(by["undeleted"], 3 / 25).any()


def test_a_recbole_request_is_written_and_met(folder):
    table = pd.read_csv(folder / "small.csv", header=None)
    (folder / "items.inter").write_text("item_id:token\n" + "\n".join(map(str, range(5))) + "\n")
    words = ["requests", str(folder / "toy.toml"), "--results", str(folder), "--kind=sensitive"]
    words += [f"--items={folder / 'items.inter'}", "--only=seed=0"]
    labels = np.arange(40), np.arange(25)
    found = {}
    for name in ("r.csv", "r.csv.gz", "r.inter", "r.inter.gz"):
        assert cli.main([*words, "--ratio=0.1", f"--out={folder / name}"]) == 0
        found[name] = np.stack(interop.read_pairs(folder / name, *labels)).tolist()
    assert all(pairs == found["r.csv"] for pairs in found.values())
    assert (folder / "r.inter").read_text().startswith(HEAD)
    known = set(zip(table[0], table[1]))
    assert set(zip(*found["r.inter"])) <= known and max(found["r.inter"][1]) < 5
    assert cli.main([*words, "--ratio=1e-6", f"--out={folder / 'one.inter'}"]) == 0
    users, _ = interop.read_pairs(folder / "one.inter", *labels)
    assert len(users) >= 1 and len(set(users.tolist())) == 1
    ask(folder, f'kind = "pairs"\npath = "{folder / "r.inter"}"')
    code, rows = run(folder, "split.seed=0", "--only=method=retrain")
    assert code == 0 and (rows["kind"] == "pairs").all()
    assert rows["n"].max() == len(set(found["r.inter"][0]))
    assert rows[rows["metric"] == "sensitive"]["value"].between(0, 1).all()


ONCE = """
from jaxforget.metrics import claims
from jaxforget.types import Method

EXACTNESS = claims.approximate(parameters="moved")


def build(model):
    def unlearn(key, state, train, forget):
        return {"old": state.matrix}, {}

    return Method(model.fit, unlearn, lambda state, train, weights: state["old"])
"""


def test_what_cannot_be_followed_is_refused_in_one_line(folder, capsys, monkeypatch):
    (folder / "empty.inter").write_text(HEAD)
    (folder / "goes_once.py").write_text(ONCE)
    monkeypatch.syspath_prepend(str(folder))
    for more, fault in (
        (["--requests=0"], "--requests must be 1 or more; got 0"),
        (["methods.closed_form.use=local_als", "--only=method=closed_form"], "no method of this"),
        (
            [
                "methods.closed_form.use=goes_once:build",
                "--allow-code",
                "--only=method=closed_form",
            ],
            "cannot meet one request after another",
        ),
    ):
        refused(folder, capsys, fault, *more)
    whole = (folder / "toy.toml").read_text()
    for request, fault in (
        ('kind = "none"', "the request names no interaction"),
        (f'kind = "pairs"\npath = "{folder / "empty.inter"}"', "empty.inter, line 2: no "),
    ):
        (folder / "toy.toml").write_text(whole)
        ask(folder, request)
        refused(folder, capsys, fault)


def refused(folder, capsys, fault, *more):
    code, rows = run(folder, *more)
    told = capsys.readouterr().err
    assert code == 2 and rows is None and fault in told and told.count("\n") == 1
