"""Models that stop early, flipped labels and released recipes, through the runner."""

import json

import pytest
import toy_runs

TEXT = """# Flipped labels.
seeds = [0]
ks = []
[data]
[request]
kind = "flipped"
ratio = 0.1
[models.mf]
dim = 3
init_scale = 0.1
lr = 0.05
batch_size = 64
n_epochs = 40
patience = 2
[methods.retrain]
[methods.ifru]
[methods.released]
use = "ifru_released"
lr = 5.0
patience = 2
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """One cell per method on small data with labels of both kinds."""
    folder = tmp_path_factory.mktemp("influence")
    path = toy_runs.small(folder, TEXT)
    with open(path, "r+") as file:
        text = file.read()
        steps = 'steps = [{use = "binarise", threshold = 3.0, negatives = "keep"}]\n[request]'
        file.seek(0)
        file.write(text.replace("[request]", steps))
    done = toy_runs.within("run", path, "--results", folder)
    assert done.returncode == 0, done.stderr + done.stdout
    rows = (json.loads(path.read_text()) for path in (folder / "toy/cells").glob("*.json"))
    return {row["spec"]["method"]["use"]: row for row in rows}


def test_recipes_that_stop_on_validation_find_it(found):
    assert {row["status"] for row in found.values()} == {"ok"}
    for row in found.values():
        assert 1 <= row["info"]["fit"]["epochs"] < 40 and 0 < row["info"]["fit"]["score"] < 1
    assert 0 < found["ifru_released"]["info"]["unlearn"]["score"] < 1


def test_without_ks_no_ranking_is_made_and_labels_are_still_judged(found):
    names = {metric for _, _, metric, *_ in found["ifru"]["metrics"]}
    assert {"auc", "auc_or", "auc_and", "distance", "loss"} <= names
    assert not {"ndcg", "overlap", "auc_unseen"} & names


def test_false_labels_fit_worse_once_they_are_forgotten(found):
    """The mean loss of the forgotten, labels as learnt, is low before and higher when retrained."""
    rows = {(stage, cells, m): v for stage, cells, m, _, v in found["ifru"]["metrics"]}
    losses = [rows[stage, "forgotten", "loss"] for stage in ("before", "after", "reference")]
    assert 0 < losses[0] < losses[2] and losses[0] < losses[1]
