"""Every public function of the traced library: compiled, mapped and differentiated directly."""

import functools
import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from public_table import CASES, EXEMPT, LOOP, SLOW, WHOLE

STEP = 1e-6  # of the finite difference
PACKAGES = ("als", "sparse", "gradient", "shards", "metrics", "prepare")


def public():
    """The dotted names of all public functions, without ``jaxforget``, by inspection."""
    for package in PACKAGES:
        top = importlib.import_module(f"jaxforget.{package}")
        for found in pkgutil.walk_packages(top.__path__, f"{top.__name__}."):
            if "._" in found.name:  # what it offers is public where ``__all__`` names it
                continue
            module = importlib.import_module(found.name)
            offered = () if found.ispkg else getattr(module, "__all__", ())
            for name, value in vars(module).items():
                home = getattr(value, "__module__", None) or ""
                own = home == found.name or (name in offered and "._" in home)
                own = own and callable(value)
                if own and not name.startswith("_") and not inspect.isclass(value):
                    yield f"{found.name.partition('.')[2]}.{name}"


def test_every_public_function_is_walked_or_named_with_a_reason():
    found = set(public())
    covered = CASES.keys() | {n for n in found if n in EXEMPT or n.rpartition(".")[0] in EXEMPT}
    assert not found - covered, "neither in CASES nor in EXEMPT of public_table.py"
    assert not CASES.keys() - found, "no such public function"
    assert not CASES.keys() & EXEMPT.keys()
    named = found | {name.rpartition(".")[0] for name in found}
    assert not EXEMPT.keys() - named, "nothing to exempt"


def other(x):
    """A second value of an argument: smaller numbers, another key, entries in another order."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.fold_in(x, 1)
    if jnp.issubdtype(x.dtype, jnp.floating):
        return 0.75 * x
    return jnp.flip(x, 0) if x.ndim else x


def floating(tree):
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]


def first_of(case, argument):
    """The sum of the first floating output, the scalar that is differentiated."""
    return jnp.sum(floating(case.call(argument, *case.args[1:]))[0])


def cosines(x):
    """A direction in which to differentiate."""
    return jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)


def equal(got, want, what):
    assert jax.tree.structure(got) == jax.tree.structure(want), what
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        if jnp.issubdtype(b.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert a.dtype == b.dtype and a.shape == b.shape, what
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9, err_msg=what)


WALK = [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES]


@pytest.mark.parametrize("name", WALK)
def test_a_public_function_can_be_compiled_mapped_and_differentiated(name):
    """All in one program; what an eager call gives is compared below."""
    case = CASES[name]
    first = case.args[0]
    second = jax.tree.map(other, first)
    both = jax.tree.map(lambda *x: jnp.stack(x), first, second)

    def mapped(_, *rest):
        return jax.vmap(lambda x: case.call(x, *rest))(both)

    ways = {"one": case.call, "vmap": mapped}
    numbers, others = case.slope is True, [second]
    if numbers:
        along = jax.tree.map(lambda x: cosines(x), first)
        others += [jax.tree.map(lambda x, d, s=s: x + s * d, first, along) for s in (STEP, -STEP)]
        ways["grad"] = lambda first, *_: jax.grad(functools.partial(first_of, case))(first)
    points = jax.tree.map(lambda *x: jnp.stack(x), *others)  # one by one, by one piece of code
    ways["others"] = lambda _, *rest: jax.lax.map(lambda x: case.call(x, *rest), points)
    found = jax.jit(lambda *args: {how: way(*args) for how, way in ways.items()})(*case.args)
    assert all(np.isfinite(x).all() for x in floating(found)), "finite"
    two, *ends = (jax.tree.map(lambda x, n=n: x[n], found["others"]) for n in range(len(others)))
    for row, one in enumerate((found["one"], two)):
        equal(jax.tree.map(lambda x, row=row: x[row], found["vmap"]), one, f"vmap, row {row}")
    if numbers:
        pairs = zip(jax.tree.leaves(found["grad"]), jax.tree.leaves(along))
        slope = sum(jnp.vdot(a, b) for a, b in pairs)
        up, down = (np.sum(floating(end)[0]) for end in ends)
        np.testing.assert_allclose(slope, (up - down) / (2 * STEP), rtol=1e-4, atol=1e-6)
    elif case.slope != WHOLE:
        with pytest.raises((ValueError, NotImplementedError), match=case.slope):
            jax.eval_shape(jax.grad(functools.partial(first_of, case)), first)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_public_function_gives_the_same_called_plainly_and_with_jit_disabled(name):
    case = CASES[name]
    want = jax.jit(case.call)(*case.args)
    equal(case.call(*case.args), want, "plain")
    if case.plain and case.slope != LOOP:  # loops in Python take too long
        with jax.disable_jit():
            equal(case.call(*case.args), want, "disable_jit")
