"""What tools of jax ask of the library: debugging of NaNs, and programs written to bytes."""

import jax
import jax.export
import numpy as np
import pytest
from oracles import factors, request

from jaxforget import metrics, sparse
from jaxforget.sparse import layout
from jaxforget.types import Split


def split_of(train):
    """Held out: the cells that training leaves free, but for user 3 and item 7, who have none."""
    seen = set(zip(np.asarray(train.users).tolist(), np.asarray(train.items).tolist()))
    every = {(u, i) for u in range(9) for i in range(10) if u != 3 and i != 7}
    free = np.array(sorted(every - seen))  # the last users have nothing held out
    labels = np.arange(len(free)) // 2 % 2 * 1.0
    parts = [(free[part::2], labels[part::2]) for part in (0, 1)]
    held = [layout.build(*cells.T, values, n_users=12, n_items=10) for cells, values in parts]
    return Split(train, *held)


@pytest.mark.parametrize("compiled", [True, False])
def test_measuring_a_healthy_model_makes_no_nan_on_the_way(labelled, compiled):
    """User 3 and item 7 have nothing, and most users have nothing held out."""
    split, asked = split_of(labelled), request(labelled, list(range(0, 60, 5)))
    model, other = factors(labelled, 2), factors(labelled, 2)

    def measure(f):
        return metrics.evaluate(f, split, asked, ks=(2,), reference=other)

    want = jax.jit(measure)(model)
    assert not [name for name, value in want.items() if np.isnan(value)]
    jax.config.update("jax_debug_nans", True)
    try:
        found = (jax.jit(measure) if compiled else measure)(model)
    finally:
        jax.config.update("jax_debug_nans", False)
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, err_msg=name)


def test_a_program_over_interactions_comes_back_from_bytes_with_the_same_numbers(labelled):
    """``Interactions`` hold a ``Side`` each way; both and ``Factors`` are registered."""
    pytest.importorskip("flatbuffers")  # by which jax writes them

    def program(f, train, side):
        return f, sparse.sddmm(train, *f), side

    args = (factors(labelled, 2), labelled, labelled.by_item)
    blob = jax.export.export(jax.jit(program))(*args).serialize()
    again = jax.export.deserialize(bytearray(blob)).call(*args)
    want = program(*args)
    assert jax.tree.structure(again) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(want)):
        np.testing.assert_allclose(a, b, rtol=1e-12)
