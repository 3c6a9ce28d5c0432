"""``plan --memory`` says what programs will take, and runs none of them."""

import pytest
import toy_runs

from experiments import cli
from experiments.lab import memory

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
