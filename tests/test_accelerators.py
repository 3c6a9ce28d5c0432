"""What XLA makes of the programs for accelerators that are not here; compiled, never run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.bench import _targets
from jaxforget import _plugins

ROOT = Path(__file__).parents[1]
COMPILERS = ROOT / ".venv" / "accelerators"
CELLS = 20_000 * 15_000  # of the users by items of the test's data
MOST_LOOPS = 40  # compiled loops of a program: not one per row length, nor per user


@pytest.fixture(scope="module", params=sorted(_targets.TARGETS))
def found(request):
    """What the compiled programs hold, by name."""
    if not COMPILERS.is_dir():
        pytest.skip("no compilers for accelerators: make accelerators")
    paths = os.pathsep.join([str(COMPILERS), str(ROOT)])
    # the flags by which the tests compile quickly are of XLA for CPUs; the TPU's knows none of them
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "accelerator_runs.py"), request.param],
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_no_program_calls_the_host_or_holds_users_by_items_or_many_loops(found):
    assert len(found) > 20
    assert not [name for name, program in found.items() if program["calls_host"]]
    assert {n: p["largest"] for n, p in found.items() if p["largest"] >= CELLS // 4} == {}
    assert {n: p["loops"] for n, p in found.items() if p["loops"] > MOST_LOOPS} == {}


def test_every_method_is_compiled_on_a_model_that_it_serves():
    import accelerator_runs

    there = {name for name, *_ in accelerator_runs.built()}
    left_out = {name for name, model in accelerator_runs.SERVED.items() if model is None}
    assert there | left_out == set(_plugins.names(_plugins.DOORS["methods"]))


def test_a_compiler_that_is_not_there_is_said(monkeypatch):
    missing = _targets.TARGETS["h100"]._replace(wheel="no_such.module")
    with pytest.raises(_targets.Refused, match="make accelerators"):
        _targets.device(missing)


def test_what_is_read_in_a_compiled_program():
    assert _targets.elements("2,3,4") == 24
    assert _targets.HOST.search('custom_call_target="xla_ffi_python_gpu_callback"')
    assert not _targets.HOST.search('custom_call_target="cusolver_potrf_ffi"')
