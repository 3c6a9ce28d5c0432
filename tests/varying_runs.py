"""Loops, conditions and gradients on four devices and on one, as a script: prints what it found.

JAX decides once how many devices a CPU shows itself as, so ``test_varying`` runs this in a process
of its own.
"""

import json

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxforget import _varying


def zero():
    """A constant: the same on all devices."""
    return jnp.zeros(())


def halvings(x):
    def step(carry):
        n, left = carry
        return n + 1, left / 2 + 0 * x

    return _varying.while_loop(lambda carry: carry[1] > 1 / x, step, (zero(), zero() + 1))[0]


def repeated(x):
    return _varying.fori_loop(0, jnp.round(x).astype(jnp.int32), lambda k, n: n + k + 1, zero())


def added(x):
    return _varying.fori_loop(0, 3, lambda k, total: total + x * k, zero())


def either(x):
    return _varying.cond(x > 2, lambda: zero(), lambda: x)


def chosen(x):
    return _varying.switch(jnp.int32(1), [lambda y: y, lambda y: zero() + 1, lambda y: 2 * y], x)


def chooses(x):
    return _varying.switch(jnp.round(x).astype(jnp.int32) % 2, [lambda: zero(), lambda: zero() + 1])


def slope(x):
    return _varying.grad(lambda t, y: t * t * y)(zero() + 1, x)


def value_and_slope(x):
    return sum(_varying.value_and_grad(lambda t: t * t * x)(zero() + 1))


def nested(x):
    def outer(_, total):
        return total + _varying.while_loop(lambda n: n < x, lambda n: n + 1, zero())

    return _varying.fori_loop(0, 2, outer, zero())


CASES = (halvings, repeated, added, either, chosen, chooses, slope, value_and_slope, nested)


def main():
    mesh, found = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Auto,)), {}
    values = jnp.array([1.0, 2.0, 3.0, 9.0])
    for case in CASES:
        spread = jax.shard_map(
            lambda x, case=case: case(x[0])[None], mesh=mesh, in_specs=P("x"), out_specs=P("x")
        )
        alone = [float(case(x)) for x in values]
        found[case.__name__] = [jax.jit(spread)(values).tolist(), alone]
    print(json.dumps(found))


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 4)
    main()
