"""One ALS model over several devices equals that model on one."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget import als
from jaxforget.als import dealing, mesh, mesh_users
from jaxforget.sparse import layout
from jaxforget.types import Factors


@pytest.fixture(scope="module")
def found():
    """What ``mesh_runs`` found, in a process whose CPU shows itself as four devices."""
    script = Path(__file__).parent / "mesh_runs.py"
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=script.parent.parent
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case, most", [(0, 1e-12), (1, 1e-12), (2, 1e-5), (3, 1e-12)])
def test_training_and_unlearning_on_four_devices_equal_those_on_one(found, case, most):
    """Exact rows and CG, implicit and explicit, Auto and Explicit axes, one axis and two."""
    run = found["runs"][case]
    assert run["fit"] < most and run["unlearn"] < most and run["devices"] == 4


def test_a_pass_holds_two_all_gathers_and_two_all_reduces_and_nothing_else(found):
    assert [run["collectives"] for run in found["runs"]] == [{"all-gather": 2, "all-reduce": 2}] * 4


def test_the_collectives_of_a_pass_carry_the_bytes_that_the_page_on_scaling_says(found):
    """Both tables, padded to the devices, and two Grams; at three sizes, in float64."""
    for run in found["bytes"]:
        rows, dim = sum(-(-size // 4) * 4 for size in run["sizes"]), run["dim"]
        assert run["all-gather"] == 8 * rows * dim
        assert run["all-reduce"] == 8 * 2 * dim**2


def test_users_over_the_devices_with_items_on_each_equal_one_device_and_gather_nothing(found):
    """A pass adds up two Grams' worth at most, and a table of items per step: never the users."""
    assert max(found["users"]["gaps"]) < 1e-12
    assert set(found["users"]["collectives"]) == {"all-reduce"}


def test_users_dealt_to_other_devices_are_refused(toy):
    dealt = dealing.deal_users(toy, 2)
    parts = mesh_users.spread(dealt, als.implicit(toy, jnp.ones(60), reg=1.0, alpha=1.0))
    start, there = Factors(jnp.ones((12, 2)), jnp.ones((10, 2))), jax.make_mesh((1,), ("rows",))
    with pytest.raises(ValueError, match=r"dealt to 2 devices, but the mesh has 1: deal again"):
        mesh_users.descend(start, parts, mesh=there, max_sweeps=1, cg_steps=1)


def test_a_graph_whose_interactions_are_spread_has_the_model_of_one_device(found):
    assert found["edges"] < 1e-12


def test_all_devices_have_like_much_to_do(found):
    assert max(found["loads"]) < 1.05


@pytest.mark.parametrize("n_devices", [1, 2, 3, 7, 20])
def test_every_row_and_every_interaction_is_dealt_once(toy, n_devices):
    """Also to more devices than there are rows."""
    dealt = dealing.deal(toy, n_devices)
    for side, size in zip(dealt, (toy.n_users, toy.n_items), strict=True):
        rows, slots = np.asarray(side.rows), np.asarray(side.slots)
        assert rows.shape[0] == slots.shape[0] == n_devices
        assert sorted(rows[rows < size]) == list(range(size))
        assert sorted(slots[slots < 60]) == list(range(60))
        assert (np.diff(np.where(slots < 60, 0, 1), axis=1) >= 0).all()  # padding is at the end
    sizes = (toy.n_users, toy.n_items)
    factors = Factors(*(jnp.asarray(np.random.default_rng(n).normal(size=(n, 2))) for n in sizes))
    back = mesh.from_tables(dealt, mesh.to_tables(dealt, factors), toy)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), back, factors))


def test_interactions_that_are_none_leave_rows_of_zeros():
    there = jax.make_mesh((1,), ("rows",))
    train = layout.build([], [], np.zeros(0), n_users=3, n_items=2)
    terms = als.implicit(train, jnp.zeros(0), reg=1.0, alpha=1.0)
    dealt = dealing.deal(train, 1)
    tables = mesh.to_tables(dealt, Factors(jnp.ones((3, 2)), jnp.ones((2, 2))))
    out = mesh.descend(tables, mesh.spread(dealt, terms), mesh=there, max_sweeps=1)
    assert not np.asarray(out.users).any() and not np.asarray(out.items).any()


def test_what_was_dealt_to_other_devices_is_refused(toy):
    dealt = dealing.deal(toy, 2)
    terms = als.implicit(toy, jnp.ones_like(toy.values), reg=1.0, alpha=1.0)
    tables = mesh.to_tables(dealt, Factors(jnp.ones((12, 2)), jnp.ones((10, 2))))
    with pytest.raises(ValueError, match=r"dealt to 2 devices, but the mesh has 1: deal again"):
        parts = mesh.spread(dealt, terms)
        mesh.descend(tables, parts, mesh=jax.make_mesh((1,), ("rows",)), max_sweeps=1)
    with pytest.raises(ValueError, match="n_devices"):
        dealing.deal(toy, 0)
