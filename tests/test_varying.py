"""Loops, conditions and gradients inside ``shard_map``: each device has what it has alone."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import varying_runs

from jaxforget import _varying


@pytest.fixture(scope="module")
def found():
    """What ``varying_runs`` found, in a process whose CPU shows itself as four devices."""
    script = Path(__file__).parent / "varying_runs.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", [case.__name__ for case in varying_runs.CASES])
def test_every_device_has_its_own_result(found, name):
    together, alone = found[name]
    assert together == alone


def test_elsewhere_they_are_those_of_jax():
    """The same program, to the letter."""

    def ours(x):
        y = _varying.fori_loop(0, 3, lambda k, y: y + k, x)
        return _varying.cond(y > 2, lambda y: y, lambda y: 2 * y, y)

    def theirs(x):
        y = jax.lax.fori_loop(0, 3, lambda k, y: y + k, x)
        return jax.lax.cond(y > 2, lambda y: y, lambda y: 2 * y, y)

    assert str(jax.make_jaxpr(ours)(jnp.ones(()))) == str(jax.make_jaxpr(theirs)(jnp.ones(())))
