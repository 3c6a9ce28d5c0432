"""``plan --memory`` says what programs will take, and runs none of them."""

import jax
import pytest
import toy_runs

from experiments import cli
from experiments.lab import batches, jobs, memory

SMALL = toy_runs.TOML.partition("[methods.unlearn_als]")[0]
IFRU = SMALL + "[methods.ifru]\ndamping = 1.0\n"


def planned(path, capsys, *words):
    """The lines after the list of cells, and what went to stderr."""
    code = cli.main(["plan", path, "--memory", "seeds=0", "request.ratio=0.1", *words])
    out, err = capsys.readouterr()
    assert code == 0
    return out.partition("MiB of cpu")[2].splitlines()[1:], err


@pytest.mark.slow
def test_every_stage_takes_at_least_its_factors_and_nothing_is_stored(tmp_path, capsys):
    path = toy_runs.small(tmp_path, SMALL)
    words = ("models.ials.dim=512", "--results", str(tmp_path / "out"))
    lines, err = planned(path, capsys, *words)
    stages, numbers, total = lines
    assert stages.split() == list(memory.STAGES)
    needed = [float(number) for number in numbers.split()[:4]]
    assert min(needed) > (40 + 25) * 512 * 4 / 2**20
    assert f"at most {max(needed):.0f} MiB; free: " in total and not err
    assert not (tmp_path / "out").exists()


def test_a_program_that_does_not_fit_and_a_method_that_does_not_serve_are_said(
    tmp_path, capsys, monkeypatch
):
    path = toy_runs.small(tmp_path, IFRU)
    monkeypatch.setattr(memory, "host_memory", lambda: 1)
    lines, err = planned(path, capsys, "--results", str(tmp_path))
    assert any('use hessian="full"' in line for line in lines), lines
    assert "the largest program does not fit" in err


def test_cells_wait_for_each_other_as_far_as_their_states_fit(tmp_path):
    """A model of items on items holds a matrix of items by items in each state."""
    from experiments.config import grid, reading
    from experiments.lab import setup

    path = toy_runs.small(tmp_path, SMALL + '[models.ease]\nuse = "ease"\nreg = 5.0\n')
    loaded = reading.read(path, ())
    lab = setup.laboratory(loaded.experiment, None, None)
    cells = {cell.axes["model"]: cell for cell in grid.cells(loaded)}
    train = lab.materials.prepared(cells["ease"]).split.train
    held = {name: memory.of_states(lab, [cell]) for name, cell in cells.items()}
    assert held["ease"] >= 6 * 4 * train.n_items**2
    rows = train.n_users + train.n_items
    assert 6 * 4 * 4 * rows <= held["ials"] < 1.1 * 6 * 4 * 4 * rows
    room = batches.WAITING * memory.host_memory()
    together = batches.Batches(jobs.Shelf(), jax.devices())
    assert together.cells_at_once(train, int(room / 3)) in (2, 3)
    assert together.cells_at_once(train, int(2 * room)) == 1


@pytest.mark.parametrize(
    ("limit", "left"), [("max", None), (str(10 << 20), 5 << 20), (str(1 << 60), None), (None, None)]
)
def test_a_container_has_no_more_memory_than_its_limit(tmp_path, monkeypatch, limit, left):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    monkeypatch.setattr(memory.os, "sysconf", lambda name: 2**20)
    if limit:
        (tmp_path / "memory.max").write_text(limit + "\n")
        (tmp_path / "memory.current").write_text(f"{8 << 20}\n")
        (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {3 << 20}\n")
    assert memory.host_memory() == (2**40 if left is None else left)
