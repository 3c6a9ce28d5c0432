"""One test for each part of jax that ``_jax`` imports: a failure names the part that changed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxforget import _jax


def traced():
    """What a compiled program says of its argument."""
    seen = []
    jax.jit(lambda x: seen.append(_jax.is_traced(x)) or x)(1.0)
    return seen


SEAMS = {
    "jax.extend.core.Primitive": lambda: _jax.Primitive("probe").bind,
    "jax.extend.core.jaxpr_as_fun": lambda: (
        _jax.jaxpr_as_fun(jax.make_jaxpr(lambda x: 2 * x)(1.0))(3.0) == [6.0]
    ),
    "jax.interpreters.mlir.lower_fun": lambda: _jax.mlir.lower_fun,
    "jax.interpreters.mlir.register_lowering": lambda: _jax.mlir.register_lowering,
    "jax.interpreters.ad.primitive_jvps": lambda: _jax.ad.primitive_jvps[jax.lax.sin_p],
    "jax.interpreters.ad.primitive_transposes": lambda: _jax.ad.primitive_transposes[jax.lax.neg_p],
    "jax.interpreters.ad.is_undefined_primal": lambda: not _jax.ad.is_undefined_primal(1.0),
    "jax.interpreters.ad.Zero": lambda: _jax.ad.Zero,
    "jax.interpreters.batching": lambda: _jax.batching.primitive_batchers is not None,
    "jax.core.Tracer": lambda: traced() == [True] and not _jax.is_traced(1.0, jnp.ones(1)),
    "jax.dtypes.prng_key": lambda: _jax.is_prng_key(jax.random.key(0)),
}


@pytest.mark.parametrize("name", SEAMS)
def test_jax_still_has(name):
    assert SEAMS[name](), f"jax {jax.__version__} changed {name}: repair jaxforget/_jax.py"


def test_jax_still_multiplies_by_compressed_rows():
    matrix = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    data, indices = jnp.array([1.0, 2.0, 3.0]), jnp.array([0, 2, 1], jnp.int32)
    dense = jnp.arange(24.0).reshape(3, 8)
    out = _jax.csr_product(
        data, indices, jnp.array([0, 2, 3], jnp.int32), dense, shape=matrix.shape
    )
    np.testing.assert_allclose(out, matrix @ dense)


def test_jax_still_takes_a_custom_batching_rule():
    @_jax.custom_vmap
    def double(x):
        return 2 * x

    @double.def_vmap
    def rule(size, batched, x):
        return 3 * x, batched[0]

    assert jax.vmap(double)(jnp.ones(2)).tolist() == [3.0, 3.0]
