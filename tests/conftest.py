"""Every test runs in 64 bits, without silent promotion of dtypes or ranks."""

import dataclasses
import gc
import itertools
import os
from pathlib import Path

from compiling import FLAGS

os.environ.setdefault("XLA_FLAGS", FLAGS)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as ``python -m experiments`` does

# most of the time here is compiling: the workers share it, and a second run finds it done
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import hypothesis
import jax
import numpy as np
import pytest

# few examples, the same in every run, beside the other tests; ``make test-all`` asks for thorough
hypothesis.settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True)
hypothesis.settings.register_profile("thorough", max_examples=10_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# tracing makes objects by the million that live on: looking through them is 6 % of the time here
gc.set_threshold(20_000, 10, 10)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

from experiments.lab import clock  # noqa: E402  (after the settings above)
from jaxforget.sparse import layout  # noqa: E402

clock.KEPT_BY_JAX = 10**9  # ``programs_are_let_go`` lets programs go here


@pytest.fixture(autouse=True)
def in_64_bits():
    """A command that runs inside a test sets the precision of its config: it ends with the test."""
    yield
    jax.config.update("jax_enable_x64", True)


MAPPED = Path("/proc/self/maps")  # a line for each piece of memory that the process has mapped
tests_since = itertools.count(1)


@pytest.fixture(autouse=True)
def programs_are_let_go():
    """Compiled programs stay mapped: past 65,530 pieces of memory the process would crash."""
    yield
    if next(tests_since) % 5 == 0 and MAPPED.exists():
        with MAPPED.open("rb") as lines:
            if sum(1 for _ in lines) > 35_000:
                jax.clear_caches()
                gc.collect()  # programs that only each other hold


@pytest.fixture
def toy():
    """60 interactions of 12 users and 10 items; user 3 and item 7 have none."""
    rng = np.random.default_rng(0)
    cells = np.array([(u, i) for u in range(12) for i in range(10) if u != 3 and i != 7])
    users, items = cells[rng.permutation(len(cells))[:60]].T
    return layout.build(users, items, rng.integers(1, 6, 60) / 2, n_users=12, n_items=10)


@pytest.fixture
def labelled(toy):
    """The toy set with 0/1 labels."""
    labels = np.random.default_rng(1).integers(0, 2, 60).astype(float)
    return dataclasses.replace(toy, values=jax.numpy.asarray(labels))


@pytest.fixture
def real_data():
    """The folder of real data sets; a test that needs one is skipped where there is none."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("JAXFORGET_DATA", beside))
    if not root.is_dir():
        pytest.skip("real data not present: set JAXFORGET_DATA")
    return root
