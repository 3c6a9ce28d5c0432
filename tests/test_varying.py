"""Loops, conditions and gradients inside ``shard_map``: each device has what it has alone."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import varying_runs
from jax.sharding import AxisType, PartitionSpec

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


def test_a_loop_within_loops_is_traced_twice_for_each():
    """Once to find the marks of its start, and once with them: what is traced last is the loop."""
    traced = []

    def loops(depth, x):
        def step(k, total):
            if depth == 1:
                traced.append(k)
                return total + x
            return total + loops(depth - 1, x)

        return _varying.fori_loop(0, jnp.int32(2), step, jnp.zeros(()))

    def on_device(x):
        return loops(3, x[0])[None]

    mesh, rows = jax.make_mesh((1,), ("x",), axis_types=(AxisType.Auto,)), PartitionSpec("x")
    run = jax.jit(jax.shard_map(on_device, mesh=mesh, in_specs=rows, out_specs=rows))
    assert run(jnp.full(1, 0.5)) == 2**3 * 0.5
    assert len(traced) == 2**3
    assert all(k.dtype == jnp.int32 for k in traced)  # as in the loops of jax
